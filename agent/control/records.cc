#include "agent/control/records.h"

#include "agent/control/columns.h"
#include "agent/control/names.h"
#include "agent/control/validate.h"
#include "policy/path/end_text.h"

#include <algorithm>

namespace homeport::agent {

namespace {

template <class Record>
policy::Result<Record> finish(const RowReader& reader, Record record) {
  if (reader.error()) return *reader.error();
  return record;
}

std::vector<policy::IpAddress> addresses(RowReader& reader, std::string_view column) {
  return reader.set<policy::IpAddress>(column, "not a set of IP addresses", policy::parse_address);
}

std::vector<Endpoint> endpoints(RowReader& reader, std::string_view column) {
  return reader.set<Endpoint>(column, "not a set of ADDRESS:PORT", parse_endpoint);
}

template <class Enum>
Enum one_of(RowReader& reader, std::string_view column) {
  return reader.one_of<Enum>(column, value_of<Enum>);
}

template <class Enum>
std::optional<Enum> optional_one_of(RowReader& reader, std::string_view column) {
  return reader.optional_one_of<Enum>(column, value_of<Enum>);
}

/// A name that other rows refer to: never empty, whatever else the schema lets through.
std::string name(RowReader& reader, std::string_view column = "name") {
  auto text = reader.text(column);
  if (text.empty()) reader.refuse(column, "an empty name");
  return text;
}

/// One that becomes part of file names on the hosts.
std::string plain_name(RowReader& reader, std::string_view column = "name") {
  auto text = name(reader, column);
  if (!check_name(column, text)) reader.refuse(column, "not a name of letters, digits, . _ and -");
  return text;
}

/// Of three columns, each by the name of the lane.
std::vector<TaskLane> lanes(RowReader& reader) {
  const IntegerMap sent = reader.integer_map("lane_bytes_sent");
  const IntegerMap rates = reader.integer_map("lane_bytes_per_second");
  const auto amount = [](const IntegerMap& map, const std::string& name) {
    const auto found = map.find(name);
    return found == map.end() ? 0 : std::max<std::int64_t>(found->second, 0);
  };
  std::vector<TaskLane> lanes;
  for (const auto& [name, text] : reader.string_map("lane_states")) {
    const auto state = value_of<LaneState>(text);
    const auto arrow = name.find(kLaneArrow);
    if (!state || arrow == name.npos) {
      reader.refuse("lane_states", "not LOCAL > REMOTE with a state of a lane");
      return {};
    }
    std::string local = name.substr(0, arrow);
    if (local == kAnyAddress) local.clear();
    lanes.push_back({std::move(local), name.substr(arrow + kLaneArrow.size()), *state,
                     amount(sent, name), amount(rates, name)});
  }
  return lanes;
}

/// Those of the texts in a set that `parse` takes. The first that it does not is refused.
template <class T>
std::vector<T> good_ones(RowReader& reader, std::string_view column,
                         policy::Result<T> (*parse)(std::string_view)) {
  std::vector<T> values;
  auto as_text = [](std::string_view text) { return std::optional<std::string>(text); };
  for (const auto& text : reader.set<std::string>(column, "not a set of strings", as_text)) {
    if (auto value = parse(text)) {
      values.push_back(*std::move(value));
    } else {
      reader.refuse(column, "not good: " + value.error().message);
    }
  }
  // A server tells the values of a set in any order.
  std::sort(values.begin(), values.end());
  return values;
}

std::string problem_of(const RowReader& reader) {
  return reader.error() ? reader.error()->message : std::string();
}

}  // namespace

template <>
policy::Result<Host> parse(const Row& row) {
  RowReader reader(Host::kTable, row);
  Host host;
  host.uuid = row.uuid;
  host.name = name(reader);
  host.control_endpoints = endpoints(reader, "control_endpoints");
  host.lane_endpoints = endpoints(reader, "lane_endpoints");
  host.vteps = addresses(reader, "vteps");
  host.certificate_sha256 = reader.text("certificate_sha256");
  bool hexadecimal =
      host.certificate_sha256.find_first_not_of("0123456789abcdef") == std::string::npos;
  if (!hexadecimal || (!host.certificate_sha256.empty() && host.certificate_sha256.size() != 64)) {
    reader.refuse("certificate_sha256", "not a fingerprint of 64 lower-case hexadecimal digits");
  }
  host.version = reader.text("version");
  host.capacity = reader.integer_map("capacity");
  // A database of schema 1.0 has no such column.
  if (reader.has("relays")) host.relays = reader.optional_boolean("relays").value_or(false);
  return finish(reader, std::move(host));
}

template <>
policy::Result<HostStatus> parse(const Row& row) {
  RowReader reader(HostStatus::kTable, row);
  return finish(reader, HostStatus{.uuid = row.uuid,
                                   .host = name(reader, "host"),
                                   .started = reader.time("started"),
                                   .last_seen = reader.time("last_seen"),
                                   .agent_pid = reader.integer("agent_pid"),
                                   .state = one_of<HostState>(reader, "state")});
}

template <>
policy::Result<Interface> parse(const Row& row) {
  RowReader reader(Interface::kTable, row);
  Interface interface;
  interface.uuid = row.uuid;
  interface.host = name(reader, "host");
  interface.name = name(reader);
  interface.address = reader.address("address");
  interface.speed_mbps = reader.integer("speed_mbps");
  interface.mtu = reader.integer("mtu");
  interface.state = one_of<LinkState>(reader, "state");
  // Without the row its host would want to write it again.
  RowReader say(Interface::kTable, row, RowReader::Wrong::is_left_out);
  interface.cost = say.optional_integer("cost", 0, kMostCost).value_or(0);
  interface.label = say.optional_text("label").value_or("");
  if (!interface.label.empty() && !policy::is_label(interface.label)) {
    say.refuse("label", "not a label: 1 to 63 bytes without a space");
    interface.label.clear();
  }
  interface.allowed = say.optional_boolean("allowed");
  if (say.has("bulk_limit_mbps")) {
    const auto limit = say.optional_integer("bulk_limit_mbps", 1, kMostBulkLimit);
    interface.bulk_limit_mbps = limit.value_or(0);
  }
  interface.problem = problem_of(say);
  return finish(reader, std::move(interface));
}

template <>
policy::Result<Network> parse(const Row& row) {
  RowReader reader(Network::kTable, row);
  Network network;
  network.uuid = row.uuid;
  network.name = name(reader);
  network.vni = static_cast<policy::Vni>(reader.integer("vni", 1, policy::kVniMax));
  network.subnets = reader.set<Subnet>(
      "subnets", "not a set of ADDRESS/LENGTH with host bits of zero", Subnet::parse);
  network.mtu = reader.optional_integer("mtu", kMtuMin, kMtuMax);
  network.unknown =
      optional_one_of<UnknownDestination>(reader, "unknown").value_or(UnknownDestination::drop);
  // A database of schema 1.0 has neither.
  if (reader.has("gateways")) network.gateways = addresses(reader, "gateways");
  if (reader.has("host_access")) {
    network.host_access = reader.optional_boolean("host_access").value_or(false);
  }
  return finish(reader, std::move(network));
}

template <>
policy::Result<Binding> parse(const Row& row) {
  RowReader reader(Binding::kTable, row);
  Binding binding;
  binding.uuid = row.uuid;
  binding.name = name(reader);
  if (!check_binding_name(binding.name)) reader.refuse("name", "not a name for a binding");
  binding.application = plain_name(reader, "application");
  binding.network = name(reader, "network");
  auto mac = policy::MacAddress::parse(reader.text("mac"));
  if (!mac || mac->multicast() || *mac == policy::MacAddress{}) {
    reader.refuse("mac", "not a unicast MAC address such as 52:54:00:12:34:56");
  }
  binding.mac = mac.value_or(policy::MacAddress{});
  binding.prior_addresses = addresses(reader, "prior_addresses");
  binding.current_addresses = addresses(reader, "current_addresses");
  binding.traffic_class = reader.optional_text("traffic_class").value_or("");
  binding.location = reader.text("location");
  binding.generation =
      static_cast<policy::Generation>(reader.integer("generation", 0, policy::kGenerationMax));
  return finish(reader, std::move(binding));
}

template <>
policy::Result<Application> parse(const Row& row) {
  RowReader reader(Application::kTable, row);
  Application application;
  application.uuid = row.uuid;
  application.name = plain_name(reader);
  application.driver = one_of<Driver>(reader, "driver");
  application.qmp_socket = reader.text("qmp_socket");
  if (!application.qmp_socket.empty() && application.qmp_socket.front() != '/') {
    reader.refuse("qmp_socket", "not an absolute path");
  }
  application.launch_profile = reader.text("launch_profile");
  // It becomes a file name on the host.
  if (!application.launch_profile.empty() && !check_name("profile", application.launch_profile)) {
    reader.refuse("launch_profile", "not the name of a launch profile");
  }
  application.policy = reader.optional_text("policy");
  application.properties = reader.string_map("properties");
  return finish(reader, std::move(application));
}

template <>
policy::Result<Policy> parse(const Row& row) {
  RowReader reader(Policy::kTable, row);
  Policy policy;
  policy.uuid = row.uuid;
  policy.name = name(reader);
  policy.downtime_limit = reader.optional_duration<std::chrono::milliseconds>("downtime_limit_ms");
  policy.convergence = optional_one_of<Convergence>(reader, "convergence");
  policy.copy_timeout = reader.optional_duration<std::chrono::seconds>("copy_timeout_s");
  policy.compression = optional_one_of<Compression>(reader, "compression");
  policy.bandwidth_share = reader.optional_integer("bandwidth_share", 1, 100);
  return finish(reader, std::move(policy));
}

template <>
policy::Result<PathPolicyRow> parse(const Row& row) {
  RowReader reader(PathPolicyRow::kTable, row);
  PathPolicyRow path;
  path.uuid = row.uuid;
  path.traffic_class =
      reader.one_of<policy::TrafficClass>("traffic_class", policy::parse_traffic_class);
  // What is wrong in one column takes nothing from the others.
  RowReader asked(PathPolicyRow::kTable, row, RowReader::Wrong::is_left_out);
  path.preferred = asked.integer_map("preferred");
  const auto bad = std::erase_if(path.preferred, [](const auto& preference) {
    const auto& [label, value] = preference;
    return !policy::is_label(label) || value < 1 || value > kMostPreference;
  });
  if (bad > 0) asked.refuse("preferred", "not a map from labels to numbers from 1 to 1000");
  path.forbidden = good_ones<policy::EndMatch>(asked, "forbidden", policy::parse_end);
  path.pinned = good_ones<policy::PairMatch>(asked, "pinned", policy::parse_pair);
  if (asked.has("ports"))
    path.ports = good_ones<policy::PortRange>(asked, "ports", policy::parse_ports);
  path.cost_ceiling = asked.optional_integer("cost_ceiling", 0, 2 * kMostCost);
  path.most_rtt = asked.optional_duration<std::chrono::microseconds>("most_rtt_us");
  path.most_loss_ppm = asked.optional_integer("most_loss_ppm", 0, 1'000'000);
  path.least_bandwidth_mbps = asked.optional_integer("least_bandwidth_mbps", 1, kMostBandwidthMbps);
  path.least_mtu = asked.optional_integer("least_mtu", kMtuMin, 65535);
  path.relays = asked.optional_boolean("relays");
  path.detection = optional_one_of<Detection>(asked, "detection");
  path.problem = problem_of(asked);
  return finish(reader, std::move(path));
}

template <>
policy::Result<Task> parse(const Row& row) {
  RowReader reader(Task::kTable, row);
  Task task;
  task.uuid = row.uuid;
  task.kind = one_of<TaskKind>(reader, "kind");
  task.application = plain_name(reader, "application");
  task.arguments = reader.string_map("arguments");
  task.priority = reader.integer("priority", -100, 100);
  task.requested_by = reader.text("requested_by");
  task.requested_at = reader.time("requested_at");
  task.cancel = reader.boolean("cancel");
  task.resolution = optional_one_of<Resolution>(reader, "resolution");
  return finish(reader, std::move(task));
}

template <>
policy::Result<TaskStatus> parse(const Row& row) {
  using std::chrono::milliseconds;
  RowReader reader(TaskStatus::kTable, row);
  TaskStatus status;
  status.uuid = row.uuid;
  status.task = reader.uuid("task");
  status.host = name(reader, "host");
  status.kind = one_of<TaskKind>(reader, "kind");
  status.application = name(reader, "application");
  status.state = one_of<TaskState>(reader, "state");
  status.phase = reader.text("phase");
  status.error = reader.text("error");
  status.started = reader.time("started");
  status.finished = reader.optional_time("finished");
  status.source = reader.text("source");
  status.destination = reader.text("destination");
  status.bytes_sent = reader.integer("bytes_sent");
  status.bytes_total = reader.integer("bytes_total");
  status.ram_bytes = reader.integer("ram_bytes");
  status.rounds = reader.integer("rounds");
  status.bytes_per_second = reader.integer("bytes_per_second");
  status.eta = reader.optional_duration<milliseconds>("eta_ms");
  status.total = reader.optional_duration<milliseconds>("total_ms");
  status.downtime = reader.optional_duration<milliseconds>("downtime_ms");
  status.figures = reader.integer_map("figures");
  status.tells_lanes = reader.has("lane_states");
  if (status.tells_lanes) status.lanes = lanes(reader);
  return finish(reader, std::move(status));
}

}  // namespace homeport::agent
