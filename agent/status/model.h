// What one agent knows at one instant, as plain values: the input of the JSON, of the metrics
// and of the web server, filled by snapshot() (agent/snapshot.h) on the control executor.
//
// Counters are totals since the datapath was set up or the agent was started, times are points
// of the system clock, durations are milliseconds, sizes are bytes, rates are bytes per second.
#pragma once

#include "agent/status/path_model.h"
#include "policy/address.h"

#include <array>
#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace homeport::agent {

/// The session with the control database.
enum class DatabaseState { disconnected, synchronized };

struct DatabaseSnapshot {
  DatabaseState state = DatabaseState::disconnected;
  std::string remote;  ///< e.g. "ssl:192.0.2.1:6642"
  std::uint64_t disconnections = 0;
};

struct PeerSnapshot {
  std::string host;
  std::optional<bool> alive;  ///< None where its signs of life are not followed.
  std::vector<policy::IpAddress> vteps;
  std::optional<SystemTime> last_seen;
};

struct NetworkSnapshot {
  std::string name;
  policy::Vni vni = 0;
  std::vector<std::string> subnets;  ///< CIDR
  std::optional<std::uint32_t> mtu;
};

/// Frames of one application port. "Delivered" goes to the application, "received" comes from it.
struct PortTraffic {
  std::uint64_t delivered_packets = 0;
  std::uint64_t delivered_bytes = 0;
  std::uint64_t received_packets = 0;
  std::uint64_t received_bytes = 0;
};

/// One binding: a port of an application in a network.
struct PortSnapshot {
  std::string binding;
  std::string network;
  std::string device;  ///< Empty unless the port is on this host.
  policy::MacAddress mac;
  std::vector<policy::IpAddress> prior_addresses;
  std::vector<policy::IpAddress> current_addresses;
  bool held = false;                   ///< Waits at the destination of a move.
  std::optional<PortTraffic> traffic;  ///< Only for a port on this host.
};

/// What an application's state may be, as seen from this host.
inline constexpr std::array<std::string_view, 8> kApplicationStates{
    "running",   ///< Its guest runs here.
    "stopped",   ///< It belongs here and its guest does not run.
    "attached",  ///< It is here as a network device, which is all this host knows of it.
    "detached",  ///< It belongs here and its network device is not here.
    "moving",    ///< It is being moved away from here.
    "incoming",  ///< It is being moved to here.
    "remote",    ///< It is on another host.
    "nowhere"};

struct ApplicationSnapshot {
  std::string name;
  std::string driver;    ///< "qemu" or "netdev"
  std::string location;  ///< The host that owns it; empty when nowhere.
  policy::Generation generation = 0;
  std::string state;  ///< One of kApplicationStates.
  std::vector<PortSnapshot> ports;
};

/// What a task's state may be: the words of the control database.
inline constexpr std::array<std::string_view, 6> kTaskStates{
    "running", "succeeded", "failed", "cancelled", "rolled-back", "in-doubt"};

/// A lane of a move, or what has become of one.
struct LaneSnapshot {
  std::string local;   ///< Address; empty: wherever the kernel routes.
  std::string remote;  ///< Address and port.
  std::string state;   ///< "open", "given-up" or "closed"
  std::uint64_t bytes_sent = 0;
  std::uint64_t rate = 0;  ///< Lately.
  bool operator==(const LaneSnapshot&) const = default;
};

struct TaskSnapshot {
  std::string id;  ///< UUID of the task's row.
  std::string kind;
  std::string application;
  std::string host;   ///< The host that executes it.
  std::string state;  ///< One of kTaskStates.
  std::string phase;
  std::string source;
  std::string destination;
  std::string error;  ///< Empty unless it went wrong.
  std::optional<SystemTime> started;
  std::optional<SystemTime> finished;
  std::uint64_t bytes_sent = 0;
  std::uint64_t bytes_total = 0;
  std::uint64_t ram_bytes = 0;
  std::uint64_t rounds = 0;
  std::uint64_t rate = 0;
  std::optional<std::uint64_t> eta_ms;
  std::optional<std::uint64_t> total_ms;
  std::optional<std::uint64_t> downtime_ms;
  std::vector<LaneSnapshot> lanes;
  bool operator==(const TaskSnapshot&) const = default;
};

struct DatapathSnapshot {
  std::string kind;  ///< "ebpf" or "ovs"
  std::uint64_t ports = 0;
  std::uint64_t addresses = 0;
  std::uint64_t relayed_addresses = 0;  ///< that have left, and are sent on
  std::vector<std::string> problems;    ///< What could not be programmed, as sentences.
  // By the names of overlay::TotalCounters, those of the drops without "drop_".
  std::map<std::string, std::uint64_t> packets;
  std::map<std::string, std::uint64_t> dropped_packets;
  /// How what is programmed differs from a recompute, as sentences. Only when asked for by itself.
  std::vector<std::string> differences = {};
};

/// The agent's own process.
struct ProcessSnapshot {
  double cpu_seconds = 0;
  std::uint64_t resident_bytes = 0;
  std::uint64_t virtual_bytes = 0;
  std::uint64_t open_fds = 0;
  std::uint64_t max_fds = 0;
};

/// Lines of the agent's log.
struct LogSnapshot {
  std::map<std::string, std::uint64_t> written;  ///< By level.
  std::uint64_t suppressed = 0;
};

/// How long something took that has happened several times.
struct Durations {
  std::uint64_t count = 0;
  std::uint64_t total_ms = 0;
};

/// Moves that this host was the source of and that have ended since the agent was started.
struct MoveHistory {
  std::map<std::string, std::uint64_t> ended;  ///< By final task state.
  std::uint64_t bytes_sent = 0;
  std::uint64_t total_ms = 0;     ///< Sum over succeeded moves.
  std::uint64_t downtime_ms = 0;  ///< Sum over succeeded moves.
  std::optional<std::uint64_t> last_downtime_ms;
  std::optional<std::uint64_t> worst_downtime_ms;
  std::map<std::string, Durations> phases;  ///< Of succeeded moves.
};

/// What of it somebody asks for. Host, version, times and readiness are always there; of the lists,
/// the datapath, the paths and the history those that are not asked for may be left empty. Events
/// are made of the tasks and `path_events`, which nothing else has.
enum class StatusPart { all, readiness, applications, tasks, datapath, paths, events };

struct StatusWanted {
  StatusPart part = StatusPart::all;
  /// The host that everything about the paths to is wanted, if it is there: of the others, and of
  /// all if this is empty, as much as a summary has.
  std::string peer = {};
};

struct StatusModel {
  std::string host;
  std::string version;
  SystemTime now;
  SystemTime started;
  DatabaseSnapshot database;
  std::vector<std::string> not_ready;  ///< One sentence per reason; empty: ready for moves.
  std::vector<PeerSnapshot> peers;
  std::vector<NetworkSnapshot> networks;
  std::vector<ApplicationSnapshot> applications;
  std::vector<TaskSnapshot> tasks;
  DatapathSnapshot datapath;
  PathsSnapshot paths;
  std::vector<PathEvent> path_events;  ///< One of each class and peer at most.
  MoveHistory moves;
  ProcessSnapshot process;
  LogSnapshot log;

  bool ready() const { return not_ready.empty(); }
};

inline std::string_view to_string(DatabaseState state) {
  switch (state) {
    case DatabaseState::disconnected:
      return "disconnected";
    case DatabaseState::synchronized:
      return "synchronized";
  }
  return "unknown";
}

}  // namespace homeport::agent
