// The way from records back to columns.
#include "agent/control/columns.h"
#include "agent/control/names.h"
#include "agent/control/records.h"
#include "policy/path/end_text.h"

namespace homeport::agent {

namespace json = boost::json;

namespace {

json::value atoms(const std::vector<policy::IpAddress>& list) {
  return make_set(list, [](const auto& address) { return address.to_string(); });
}

json::value atoms(const std::vector<Endpoint>& list) {
  return make_set(list, [](const auto& endpoint) { return to_string(endpoint); });
}

std::int64_t milliseconds(WallTime time) {
  return time.time_since_epoch().count();
}

template <class Duration>
json::value optional_count(const std::optional<Duration>& duration) {
  return make_optional(duration, [](Duration value) { return std::int64_t{value.count()}; });
}

template <class Enum>
json::value optional_name(const std::optional<Enum>& value) {
  return make_optional(value, [](Enum it) { return name_of(it); });
}

void add_lanes(const std::vector<TaskLane>& lanes, json::object& columns) {
  StringMap states;
  IntegerMap sent, rates;
  for (const TaskLane& lane : lanes) {
    std::string name(lane.local.empty() ? kAnyAddress : lane.local);
    name += kLaneArrow;
    name += lane.remote;
    states[name] = name_of(lane.state);
    sent[name] = lane.bytes_sent;
    rates[name] = lane.bytes_per_second;
  }
  columns["lane_states"] = make_map(states);
  columns["lane_bytes_sent"] = make_map(sent);
  columns["lane_bytes_per_second"] = make_map(rates);
}

constexpr auto kSame = [](const auto& value) { return value; };

}  // namespace

json::object columns(const Host& record) {
  return {{"name", record.name},
          {"control_endpoints", atoms(record.control_endpoints)},
          {"lane_endpoints", atoms(record.lane_endpoints)},
          {"vteps", atoms(record.vteps)},
          {"certificate_sha256", record.certificate_sha256},
          {"version", record.version},
          {"capacity", make_map(record.capacity)},
          {"relays", record.relays}};
}

json::object columns(const HostStatus& record) {
  return {{"host", record.host},
          {"started", milliseconds(record.started)},
          {"last_seen", milliseconds(record.last_seen)},
          {"agent_pid", record.agent_pid},
          {"state", name_of(record.state)}};
}

json::object columns(const Interface& record) {
  return {{"host", record.host},
          {"name", record.name},
          {"address", record.address.to_string()},
          {"speed_mbps", record.speed_mbps},
          {"mtu", record.mtu},
          {"state", name_of(record.state)}};
}

json::object columns(const Network& record) {
  return {{"name", record.name},
          {"vni", std::int64_t{record.vni}},
          {"subnets", make_set(record.subnets, [](const Subnet& it) { return it.to_string(); })},
          {"mtu", make_optional(record.mtu, kSame)},
          {"unknown", name_of(record.unknown)},
          {"gateways", atoms(record.gateways)},
          {"host_access", record.host_access}};
}

json::object columns(const Binding& record) {
  // None rather than an empty one: most have none, and each one costs every host that knows of the
  // binding more than a hundred bytes.
  std::optional<std::string> traffic_class;
  if (!record.traffic_class.empty()) traffic_class = record.traffic_class;
  return {{"name", record.name},
          {"application", record.application},
          {"network", record.network.str()},
          {"mac", record.mac.to_string()},
          {"prior_addresses", atoms(record.prior_addresses)},
          {"current_addresses", atoms(record.current_addresses)},
          {"traffic_class", make_optional(traffic_class, kSame)},
          {"location", record.location.str()},
          {"generation", static_cast<std::int64_t>(record.generation)}};
}

json::object columns(const Application& record) {
  return {{"name", record.name},
          {"driver", name_of(record.driver)},
          {"qmp_socket", record.qmp_socket},
          {"launch_profile", record.launch_profile},
          {"policy", make_optional(record.policy, kSame)},
          {"properties", make_map(record.properties)}};
}

json::object columns(const Policy& record) {
  return {{"name", record.name},
          {"downtime_limit_ms", optional_count(record.downtime_limit)},
          {"convergence", optional_name(record.convergence)},
          {"copy_timeout_s", optional_count(record.copy_timeout)},
          {"compression", optional_name(record.compression)},
          {"bandwidth_share", make_optional(record.bandwidth_share, kSame)}};
}

json::object columns(const PathPolicyRow& record) {
  auto as_text = [](const auto& value) { return policy::to_string(value); };
  return {{"traffic_class", policy::to_string(record.traffic_class)},
          {"preferred", make_map(record.preferred)},
          {"forbidden", make_set(record.forbidden, as_text)},
          {"pinned", make_set(record.pinned, as_text)},
          {"ports", make_set(record.ports, as_text)},
          {"cost_ceiling", make_optional(record.cost_ceiling, kSame)},
          {"most_rtt_us", optional_count(record.most_rtt)},
          {"most_loss_ppm", make_optional(record.most_loss_ppm, kSame)},
          {"least_bandwidth_mbps", make_optional(record.least_bandwidth_mbps, kSame)},
          {"least_mtu", make_optional(record.least_mtu, kSame)},
          {"relays", make_optional(record.relays, kSame)},
          {"detection", optional_name(record.detection)}};
}

json::object columns(const Task& record) {
  return {{"kind", name_of(record.kind)},
          {"application", record.application},
          {"arguments", make_map(record.arguments)},
          {"priority", record.priority},
          {"requested_by", record.requested_by},
          {"requested_at", milliseconds(record.requested_at)},
          {"cancel", record.cancel},
          {"resolution", optional_name(record.resolution)}};
}

json::object columns(const TaskStatus& record) {
  std::optional<std::int64_t> finished;
  if (record.finished) finished = milliseconds(*record.finished);
  json::object columns{{"task", to_string(record.task)},
                       {"host", record.host},
                       {"kind", name_of(record.kind)},
                       {"application", record.application},
                       {"state", name_of(record.state)},
                       {"phase", record.phase},
                       {"error", record.error},
                       {"started", milliseconds(record.started)},
                       {"finished", make_optional(finished, kSame)},
                       {"source", record.source},
                       {"destination", record.destination},
                       {"bytes_sent", record.bytes_sent},
                       {"bytes_total", record.bytes_total},
                       {"ram_bytes", record.ram_bytes},
                       {"rounds", record.rounds},
                       {"bytes_per_second", record.bytes_per_second},
                       {"eta_ms", optional_count(record.eta)},
                       {"total_ms", optional_count(record.total)},
                       {"downtime_ms", optional_count(record.downtime)},
                       {"figures", make_map(record.figures)}};
  if (record.tells_lanes) add_lanes(record.lanes, columns);
  return columns;
}

}  // namespace homeport::agent
