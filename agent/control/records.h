// The rows of the control database as typed values: one struct per table of
// deploy/homeport.ovsschema (docs/control-database.md says what each column means).
//
// parse(row) checks everything the schema cannot express (addresses, MACs, names); what it refuses
// is named by table, row and column and never reaches the rest of the agent. Of a row that says
// several things which stand by themselves, what is wrong is left out and named in its `problem`.
// columns() is the way back, for the columns this side may write.
#pragma once

#include "overlay/ovsdb/session.h"
#include "policy/address.h"
#include "policy/error.h"
#include "policy/path/class_policy.h"
#include "policy/port_rule.h"
#include "policy/shared_text.h"
#include "policy/traffic_class.h"

#include <boost/asio/ip/network_v4.hpp>
#include <boost/asio/ip/network_v6.hpp>

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace homeport::agent {

using overlay::ovsdb::Row;
using overlay::ovsdb::Uuid;
using policy::Endpoint;
using policy::parse_endpoint;
using policy::to_string;
/// Wall-clock time, milliseconds since 1970 in the database; the epoch itself stands for "not yet".
using WallTime = std::chrono::time_point<std::chrono::system_clock, std::chrono::milliseconds>;
using StringMap = std::map<std::string, std::string>;
using IntegerMap = std::map<std::string, std::int64_t>;

/// An IPv4 or IPv6 prefix such as 192.0.2.0/24.
struct Subnet {
  policy::IpAddress address;  ///< The network address: host bits are zero.
  unsigned prefix_length = 0;
  bool contains(const policy::IpAddress& other) const;
  std::string to_string() const;
  /// nullopt for anything that is not ADDRESS/LENGTH with host bits of zero.
  static std::optional<Subnet> parse(std::string_view text);
  bool operator==(const Subnet&) const = default;
};

struct Host {
  static constexpr const char* kTable = "Host";
  Uuid uuid{};
  std::string name;
  std::vector<Endpoint> control_endpoints, lane_endpoints;
  std::vector<policy::IpAddress> vteps;
  std::string certificate_sha256;  ///< 64 lower-case hexadecimal digits; empty: not known yet.
  std::string version;
  IntegerMap capacity;  ///< "memory_mib", "vcpus", ...
  bool relays = false;  ///< it carries what others send each other through it
  bool operator==(const Host&) const = default;
};

enum class HostState { starting, ready, draining, stopping };
struct HostStatus {
  static constexpr const char* kTable = "Host_Status";
  Uuid uuid{};
  std::string host;
  WallTime started{}, last_seen{};
  std::int64_t agent_pid = 0;
  HostState state = HostState::starting;
  bool operator==(const HostStatus&) const = default;
};

inline constexpr std::int64_t kMostCost = 65535;           ///< of an interface
inline constexpr std::int64_t kMostBulkLimit = 1'000'000;  ///< of an interface, Mbit/s

/// absent: the address is not there (any more); the row stays for what the controller says of it.
enum class LinkState { up, down, unknown, absent };
struct Interface {
  static constexpr const char* kTable = "Interface";
  Uuid uuid{};
  std::string host, name;
  policy::IpAddress address;
  std::int64_t speed_mbps = 0;  ///< 0: not known.
  std::int64_t mtu = 0;
  LinkState state = LinkState::unknown;
  // The controller's say; agents never write these.
  std::int64_t cost = 0;  ///< 0 to kMostCost
  std::string label;
  std::optional<bool> allowed = {};  ///< None: as the configuration of the host says.
  std::int64_t bulk_limit_mbps = 0;  ///< Of bulk traffic that leaves by it; 0: none.
  std::string problem = {};
  bool operator==(const Interface&) const = default;
};

/// Of a network, in bytes: the least is IPv4's (RFC 791), the most leaves room for the tunnel.
inline constexpr std::int64_t kMtuMin = 576;
inline constexpr std::int64_t kMtuMax = 65465;

enum class UnknownDestination { drop, normal };
struct Network {
  static constexpr const char* kTable = "Network";
  Uuid uuid{};
  std::string name;
  policy::Vni vni = 0;
  std::vector<Subnet> subnets;  ///< Empty: any address.
  std::optional<std::int64_t> mtu;
  UnknownDestination unknown = UnknownDestination::drop;
  std::vector<policy::IpAddress> gateways = {};  ///< of the router that every host is
  bool host_access = false;                      ///< hosts' own processes reach it
  bool operator==(const Network&) const = default;
};

struct Binding {
  static constexpr const char* kTable = "Binding";
  Uuid uuid{};
  // There may be 100,000 of these.
  std::string name, application;
  policy::SharedText network;
  policy::MacAddress mac;
  std::vector<policy::IpAddress> prior_addresses, current_addresses;
  policy::SharedText traffic_class;
  policy::SharedText location;  ///< A host's name; empty: nowhere yet.
  policy::Generation generation = 0;
  bool operator==(const Binding&) const = default;
};

enum class Driver { qemu, netdev };
struct Application {
  static constexpr const char* kTable = "Application";
  Uuid uuid{};
  std::string name;
  Driver driver = Driver::qemu;
  std::string qmp_socket;      ///< Absolute path; empty: the agent's own place for it.
  std::string launch_profile;  ///< The name of a file in /etc/homeport/launch.d, without .toml.
  std::optional<std::string> policy;
  StringMap properties;  ///< "memory_mib", "vcpus", "device" (netdev), ...
  bool operator==(const Application&) const = default;
};

enum class Convergence { force, rollback };
enum class Compression { automatic, off, zstd };
struct Policy {
  static constexpr const char* kTable = "Policy";
  Uuid uuid{};
  std::string name;
  std::optional<std::chrono::milliseconds> downtime_limit;
  std::optional<Convergence> convergence;
  std::optional<std::chrono::seconds> copy_timeout;
  std::optional<Compression> compression;
  std::optional<std::int64_t> bandwidth_share;  ///< Percent, 1..100.
  bool operator==(const Policy&) const = default;
};

inline constexpr std::int64_t kMostPreference = 1000;
inline constexpr std::size_t kMostPorts = 32;  ///< ranges of them, of a class
inline constexpr std::int64_t kMostBandwidthMbps = 10'000'000;
/// How soon a path that carries no more without anybody saying so is to be found out.
enum class Detection { normal, fast };
/// What is asked of the paths of a class of traffic; path_policy.h says what that comes to.
struct PathPolicyRow {
  static constexpr const char* kTable = "Path_Policy";
  Uuid uuid{};
  policy::TrafficClass traffic_class = policy::TrafficClass::best_effort;
  IntegerMap preferred = {};  ///< Interface label -> 1 to 1000, higher is better.
  std::vector<policy::EndMatch> forbidden = {};
  std::vector<policy::PairMatch> pinned = {};
  std::vector<policy::PortRange> ports = {};      ///< What has one of them is of the class.
  std::optional<std::int64_t> cost_ceiling = {};  ///< Of both ends together.
  std::optional<std::chrono::microseconds> most_rtt = {};
  std::optional<std::int64_t> most_loss_ppm = {};
  std::optional<std::int64_t> least_bandwidth_mbps = {};
  std::optional<std::int64_t> least_mtu = {};  ///< Bytes of IP packet.
  std::optional<bool> relays = {};
  std::optional<Detection> detection = {};
  std::string problem = {};
  bool operator==(const PathPolicyRow&) const = default;
};

enum class TaskKind { move, start, stop };
enum class Resolution { source, destination };
struct Task {
  static constexpr const char* kTable = "Task";
  Uuid uuid{};
  TaskKind kind = TaskKind::move;
  std::string application;
  StringMap arguments;  ///< move: "destination" (a host's name).
  std::int64_t priority = 0;
  std::string requested_by;
  WallTime requested_at{};
  bool cancel = false;
  std::optional<Resolution> resolution;  ///< What a person decided about a task in doubt.
  bool operator==(const Task&) const = default;
};

/// A lane of a move, or what has become of one.
enum class LaneState { open, given_up, closed };
struct TaskLane {
  std::string local;   ///< the address it is from; empty: wherever the kernel routes
  std::string remote;  ///< address and port
  LaneState state = LaneState::open;
  std::int64_t bytes_sent = 0, bytes_per_second = 0;
  bool operator==(const TaskLane&) const = default;
};

enum class TaskState { running, succeeded, failed, cancelled, rolled_back, in_doubt };
struct TaskStatus {
  static constexpr const char* kTable = "Task_Status";
  Uuid uuid{};
  Uuid task{};  ///< The Task row's UUID.
  std::string host;
  TaskKind kind = TaskKind::move;
  std::string application;
  TaskState state = TaskState::running;
  std::string phase, error;
  WallTime started{};
  std::optional<WallTime> finished;
  std::string source, destination;
  std::int64_t bytes_sent = 0, bytes_total = 0, ram_bytes = 0, rounds = 0;
  std::int64_t bytes_per_second = 0;
  std::optional<std::chrono::milliseconds> eta, total, downtime;
  IntegerMap figures;  ///< Further figures, by name with the unit last: "zero_pages", "stop_us".
  std::vector<TaskLane> lanes = {};  ///< of a move; 64 at most
  bool tells_lanes = true;           ///< False in a database whose schema is too old for lanes.
  bool operator==(const TaskStatus&) const = default;
};

const char* to_string(HostState value);
const char* to_string(LinkState value);
const char* to_string(UnknownDestination value);
const char* to_string(Driver value);
const char* to_string(Convergence value);
const char* to_string(Compression value);
const char* to_string(Detection value);
const char* to_string(TaskKind value);
const char* to_string(Resolution value);
const char* to_string(LaneState value);  ///< "open", "given-up", "closed"
const char* to_string(TaskState value);  ///< "rolled-back", "in-doubt", ...
std::string to_string(const Uuid& uuid);
std::optional<Uuid> parse_uuid(std::string_view text);
WallTime wall_clock_now();

/// The record, or an error that names table, row and column: parse<Binding>(row).
template <class Record>
policy::Result<Record> parse(const Row& row);

/// Every column of the record's table, except those only the other side may write.
boost::json::object columns(const Host& record);
boost::json::object columns(const HostStatus& record);
boost::json::object columns(const Interface& record);
boost::json::object columns(const Network& record);
boost::json::object columns(const Binding& record);
boost::json::object columns(const Application& record);
boost::json::object columns(const Policy& record);
boost::json::object columns(const PathPolicyRow& record);
boost::json::object columns(const Task& record);
boost::json::object columns(const TaskStatus& record);

}  // namespace homeport::agent
