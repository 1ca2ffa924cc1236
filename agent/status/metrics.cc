#include "agent/status/metrics.h"

#include "agent/status/exposition.h"
#include "agent/status/path_metrics.h"

#include <algorithm>
#include <string_view>

namespace homeport::agent {
namespace {

double seconds(std::uint64_t ms) {
  return static_cast<double>(ms) / 1e3;
}

double unix_seconds(SystemTime time) {
  auto ms = std::chrono::floor<std::chrono::milliseconds>(time.time_since_epoch());
  return static_cast<double>(ms.count()) / 1e3;
}

void write_agent(Exposition& out, const StatusModel& model) {
  out.family("homeport_build_info", "gauge",
             "Version of the agent and name of its host; always 1.");
  out.sample({{"host", model.host}, {"version", model.version}}, 1);
  out.single("homeport_ready", "gauge", "1 when the agent can take part in moves.",
             model.ready() ? 1 : 0);
  out.single("homeport_database_synchronized", "gauge",
             "1 while the copy of the control database is complete and current.",
             model.database.state == DatabaseState::synchronized ? 1 : 0);
  out.single("homeport_database_disconnections_total", "counter",
             "How often the copy of the control database has ceased to be current.",
             model.database.disconnections);
  out.family("homeport_log_lines_total", "counter", "Lines of the log, by level.");
  for (const auto& [level, count] : model.log.written) out.sample({{"level", level}}, count);
  out.single("homeport_log_suppressed_lines_total", "counter",
             "Lines left out of the log because their place in the code had written too many.",
             model.log.suppressed);

  out.family("homeport_peer_up", "gauge", "1 when the database says that the peer host is alive.");
  for (const PeerSnapshot& peer : model.peers) {
    if (peer.alive) out.sample({{"peer", peer.host}}, *peer.alive ? 1 : 0);
  }
}

/// By the names that Prometheus' own client libraries give them.
void write_process(Exposition& out, const StatusModel& model) {
  const ProcessSnapshot& process = model.process;
  out.single("process_start_time_seconds", "gauge", "When the agent was started, as Unix time.",
             unix_seconds(model.started));
  out.single("process_cpu_seconds_total", "counter", "Processor time of the agent.",
             process.cpu_seconds);
  out.single("process_resident_memory_bytes", "gauge", "Resident memory of the agent.",
             process.resident_bytes);
  out.single("process_virtual_memory_bytes", "gauge", "Virtual memory of the agent.",
             process.virtual_bytes);
  out.single("process_open_fds", "gauge", "Open file descriptors of the agent.", process.open_fds);
  out.single("process_max_fds", "gauge", "Most file descriptors that it may have open.",
             process.max_fds);
}

void write_applications(Exposition& out, const StatusModel& model) {
  out.family("homeport_application_info", "gauge",
             "Where an application is and what it does there; always 1.");
  for (const ApplicationSnapshot& app : model.applications) {
    out.sample({{"application", app.name}, {"location", app.location}, {"state", app.state}}, 1);
  }
  out.family("homeport_application_generation", "gauge",
             "How many times moves and roll-backs have written the application's bindings.");
  for (const ApplicationSnapshot& app : model.applications) {
    out.sample({{"application", app.name}}, app.generation);
  }

  struct Counter {
    std::string_view name;
    std::string_view help;
    std::uint64_t PortTraffic::*value;
  };
  static constexpr Counter counters[] = {
      {"homeport_port_delivered_packets_total", "Frames delivered to the application.",
       &PortTraffic::delivered_packets},
      {"homeport_port_delivered_bytes_total", "Bytes of frames delivered to the application.",
       &PortTraffic::delivered_bytes},
      {"homeport_port_received_packets_total", "Frames received from the application.",
       &PortTraffic::received_packets},
      {"homeport_port_received_bytes_total", "Bytes of frames received from the application.",
       &PortTraffic::received_bytes},
  };
  for (const Counter& counter : counters) {
    out.family(counter.name, "counter", counter.help);
    for (const ApplicationSnapshot& app : model.applications) {
      for (const PortSnapshot& port : app.ports) {
        if (!port.traffic) continue;
        out.sample({{"application", app.name}, {"binding", port.binding}},
                   *port.traffic.*counter.value);
      }
    }
  }
}

void write_datapath(Exposition& out, const DatapathSnapshot& datapath) {
  out.single("homeport_datapath_ports", "gauge", "Application ports programmed on this host.",
             datapath.ports);
  out.single("homeport_datapath_addresses", "gauge", "Address entries programmed on this host.",
             datapath.addresses);
  out.single("homeport_datapath_relayed_addresses", "gauge",
             "Address entries that have left, and for which this host still sends on.",
             datapath.relayed_addresses);
  out.single("homeport_datapath_problems", "gauge",
             "What should be programmed and could not be; /v1/status says what.",
             datapath.problems.size());
  out.family("homeport_datapath_packets_total", "counter",
             "Frames that something out of the ordinary was done with, by what it was.");
  for (const auto& [event, count] : datapath.packets) out.sample({{"event", event}}, count);
  out.family("homeport_datapath_dropped_packets_total", "counter", "Frames dropped, by reason.");
  for (const auto& [reason, count] : datapath.dropped_packets) {
    out.sample({{"reason", reason}}, count);
  }
}

void write_moves(Exposition& out, const StatusModel& model) {
  const MoveHistory& moves = model.moves;
  auto found = moves.ended.find("succeeded");
  std::uint64_t succeeded = found == moves.ended.end() ? 0 : found->second;

  out.family("homeport_moves_total", "counter",
             "Moves away from this host that have ended, by outcome.");
  for (const auto& [state, count] : moves.ended) out.sample({{"outcome", state}}, count);
  out.single("homeport_move_sent_bytes_total", "counter", "Bytes sent by moves that have ended.",
             moves.bytes_sent);
  out.family("homeport_move_duration_seconds", "summary", "Duration of succeeded moves.");
  out.sample({}, seconds(moves.total_ms), "_sum");
  out.sample({}, succeeded, "_count");
  out.family("homeport_move_downtime_seconds", "summary",
             "How long succeeded moves stopped the application.");
  out.sample({}, seconds(moves.downtime_ms), "_sum");
  out.sample({}, succeeded, "_count");

  out.family("homeport_move_phase_duration_seconds", "summary",
             "How long the phases of succeeded moves took.");
  for (const auto& [phase, took] : moves.phases) {
    out.sample({{"phase", phase}}, seconds(took.total_ms), "_sum");
    out.sample({{"phase", phase}}, took.count, "_count");
  }

  const auto in_doubt = std::count_if(model.tasks.begin(), model.tasks.end(),
                                      [](const auto& task) { return task.state == "in-doubt"; });
  out.single("homeport_tasks_in_doubt", "gauge", "Tasks that wait for a person's decision.",
             in_doubt);
  out.family("homeport_task_running", "gauge", "1 for each task that has not ended.");
  for (const TaskSnapshot& task : model.tasks) {
    if (task.finished) continue;
    out.sample({{"task", task.id},
                {"kind", task.kind},
                {"application", task.application},
                {"phase", task.phase}},
               1);
  }
  out.family("homeport_task_sent_bytes", "gauge",
             "Bytes that a task which has not ended has sent.");
  for (const TaskSnapshot& task : model.tasks) {
    if (!task.finished) out.sample({{"task", task.id}}, task.bytes_sent);
  }
}

}  // namespace

std::string to_metrics(const StatusModel& model) {
  Exposition out;
  write_agent(out, model);
  write_process(out, model);
  write_applications(out, model);
  write_datapath(out, model.datapath);
  write_paths(out, model.paths);
  write_moves(out, model);
  return out.take();
}

}  // namespace homeport::agent
