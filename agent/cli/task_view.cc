#include "agent/cli/task_view.h"

#include "agent/cli/lookup.h"
#include "agent/status/json.h"

#include <boost/json/value.hpp>

namespace homeport::agent {
namespace {

std::optional<std::uint64_t> count(const std::optional<std::chrono::milliseconds>& duration) {
  if (!duration) return std::nullopt;
  return static_cast<std::uint64_t>(duration->count());
}

std::optional<SystemTime> known_time(WallTime time) {
  if (time == WallTime{}) return std::nullopt;
  return time;
}

}  // namespace

TaskSnapshot view_task(const Contents& contents, const Task& task) {
  TaskSnapshot view;
  view.id = to_string(task.uuid);
  view.kind = to_string(task.kind);
  view.application = task.application;
  if (auto to = task.arguments.find("destination"); to != task.arguments.end()) {
    view.destination = to->second;
  }
  const TaskStatus* status = status_of(contents, task.uuid);
  if (!status) {
    view.state = task.cancel ? "cancelled" : "requested";
    view.source = ownership(contents, task.application).location;
    return view;
  }
  view.host = status->host;
  view.state = to_string(status->state);
  view.phase = status->phase;
  view.source = status->source;
  if (!status->destination.empty()) view.destination = status->destination;
  view.error = status->error;
  view.started = known_time(status->started);
  if (status->finished) view.finished = *status->finished;
  view.bytes_sent = static_cast<std::uint64_t>(status->bytes_sent);
  view.bytes_total = static_cast<std::uint64_t>(status->bytes_total);
  view.ram_bytes = static_cast<std::uint64_t>(status->ram_bytes);
  view.rounds = static_cast<std::uint64_t>(status->rounds);
  view.rate = static_cast<std::uint64_t>(status->bytes_per_second);
  view.eta_ms = count(status->eta);
  view.total_ms = count(status->total);
  view.downtime_ms = count(status->downtime);
  return view;
}

boost::json::object task_to_json(const Contents& contents, const Task& task) {
  boost::json::object json = to_json(view_task(contents, task));
  json["priority"] = task.priority;
  json["requested_by"] = task.requested_by;
  json["requested_at"] = to_rfc3339(task.requested_at);
  json["cancel"] = task.cancel;
  json["resolution"] = nullptr;
  if (task.resolution) json["resolution"] = to_string(*task.resolution);
  boost::json::object figures;
  if (const TaskStatus* status = status_of(contents, task.uuid)) {
    for (const auto& [name, value] : status->figures) figures[name] = value;
  }
  json["figures"] = std::move(figures);
  return json;
}

ExitCode exit_code_of(const TaskSnapshot& task) {
  if (task.state == "succeeded") return kExitDone;
  return task.state == "in-doubt" ? kExitInDoubt : kExitFailed;
}

bool has_ended(const TaskSnapshot& task) {
  return task.state != "requested" && task.state != "running";
}

}  // namespace homeport::agent
