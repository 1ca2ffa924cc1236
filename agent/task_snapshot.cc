#include "agent/task_snapshot.h"

namespace homeport::agent {

std::optional<SystemTime> known(WallTime time) {
  if (time == WallTime{}) return std::nullopt;
  return time;
}

std::optional<std::uint64_t> milliseconds(const std::optional<std::chrono::milliseconds>& time) {
  if (!time) return std::nullopt;
  return static_cast<std::uint64_t>(time->count());
}

// No amount is negative: parse() refuses such a row.
TaskSnapshot to_snapshot(const TaskStatus& status) {
  TaskSnapshot task;
  task.id = to_string(status.task);
  task.kind = to_string(status.kind);
  task.application = status.application;
  task.host = status.host;
  task.state = to_string(status.state);
  task.phase = status.phase;
  task.source = status.source;
  task.destination = status.destination;
  task.error = status.error;
  task.started = known(status.started);
  if (status.finished) task.finished = known(*status.finished);
  task.bytes_sent = static_cast<std::uint64_t>(status.bytes_sent);
  task.bytes_total = static_cast<std::uint64_t>(status.bytes_total);
  task.ram_bytes = static_cast<std::uint64_t>(status.ram_bytes);
  task.rounds = static_cast<std::uint64_t>(status.rounds);
  task.rate = static_cast<std::uint64_t>(status.bytes_per_second);
  task.eta_ms = milliseconds(status.eta);
  task.total_ms = milliseconds(status.total);
  task.downtime_ms = milliseconds(status.downtime);
  for (const TaskLane& lane : status.lanes) {
    task.lanes.push_back({lane.local, lane.remote, to_string(lane.state),
                          static_cast<std::uint64_t>(lane.bytes_sent),
                          static_cast<std::uint64_t>(lane.bytes_per_second)});
  }
  return task;
}

}  // namespace homeport::agent
