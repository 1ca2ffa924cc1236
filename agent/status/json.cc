#include "agent/status/json.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <boost/json.hpp>

namespace homeport::agent {
namespace {

namespace json = boost::json;

json::value optional_time(const std::optional<SystemTime>& time) {
  return time ? json::value(to_rfc3339(*time)) : json::value(nullptr);
}

template <class T>
json::value optional_number(const std::optional<T>& number) {
  return number ? json::value(*number) : json::value(nullptr);
}

/// Empty text stands for "not known" or "none" in the snapshot.
json::value optional_text(const std::string& text) {
  return text.empty() ? json::value(nullptr) : json::value(text);
}

json::array strings(const std::vector<std::string>& texts) {
  return json::array(texts.begin(), texts.end());
}

json::array addresses(const std::vector<policy::IpAddress>& ips) {
  json::array array;
  for (const policy::IpAddress& ip : ips) array.emplace_back(ip.to_string());
  return array;
}

json::object counts(const std::map<std::string, std::uint64_t>& map) {
  json::object object;
  for (const auto& [name, count] : map) object[name] = count;
  return object;
}

// Declared before objects(), which argument-dependent lookup would not lead into this namespace.
json::object to_json(const PeerSnapshot& peer);
json::object to_json(const NetworkSnapshot& network);
json::object to_json(const PortSnapshot& port);
json::object to_json(const LaneSnapshot& lane);

template <class T>
json::array objects(const std::vector<T>& values) {
  json::array array;
  for (const T& value : values) array.emplace_back(to_json(value));
  return array;
}

json::object to_json(const DatabaseSnapshot& database) {
  return {{"state", to_string(database.state)}, {"remote", optional_text(database.remote)}};
}

json::object to_json(const PeerSnapshot& peer) {
  return {{"host", peer.host},
          {"alive", peer.alive ? json::value(*peer.alive) : json::value()},
          {"vteps", addresses(peer.vteps)},
          {"last_seen", optional_time(peer.last_seen)}};
}

json::object to_json(const NetworkSnapshot& network) {
  return {{"name", network.name},
          {"vni", network.vni},
          {"subnets", strings(network.subnets)},
          {"mtu", optional_number(network.mtu)}};
}

json::value to_json(const std::optional<PortTraffic>& traffic) {
  if (!traffic) return nullptr;
  return {{"delivered_packets", traffic->delivered_packets},
          {"delivered_bytes", traffic->delivered_bytes},
          {"received_packets", traffic->received_packets},
          {"received_bytes", traffic->received_bytes}};
}

json::object to_json(const PortSnapshot& port) {
  return {{"binding", port.binding},
          {"network", port.network},
          {"device", optional_text(port.device)},
          {"mac", port.mac.to_string()},
          {"prior_addresses", addresses(port.prior_addresses)},
          {"current_addresses", addresses(port.current_addresses)},
          {"held", port.held},
          {"traffic", to_json(port.traffic)}};
}

json::object to_json(const LaneSnapshot& lane) {
  return {{"local", optional_text(lane.local)},
          {"remote", lane.remote},
          {"relay", nullptr},  // lanes go through no other host
          {"state", lane.state},
          {"bytes_sent", lane.bytes_sent},
          {"bytes_per_second", lane.rate}};
}

json::object to_json(const MoveHistory& moves) {
  return {{"ended", counts(moves.ended)},
          {"bytes_sent", moves.bytes_sent},
          {"total_ms", moves.total_ms},
          {"downtime_ms", moves.downtime_ms},
          {"last_downtime_ms", optional_number(moves.last_downtime_ms)},
          {"worst_downtime_ms", optional_number(moves.worst_downtime_ms)}};
}

}  // namespace

json::object to_json(const DatapathSnapshot& datapath) {
  return {{"kind", datapath.kind},
          {"ports", datapath.ports},
          {"addresses", datapath.addresses},
          {"relayed_addresses", datapath.relayed_addresses},
          {"problems", strings(datapath.problems)},
          {"packets", counts(datapath.packets)},
          {"dropped_packets", counts(datapath.dropped_packets)}};
}

std::string to_rfc3339(SystemTime time) {
  auto ms = std::chrono::floor<std::chrono::milliseconds>(time);
  auto seconds = std::chrono::floor<std::chrono::seconds>(ms);
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:03}Z",
                     fmt::gmtime(std::chrono::system_clock::to_time_t(seconds)),
                     (ms - seconds).count());
}

json::object to_json(const ApplicationSnapshot& application) {
  return {{"name", application.name},
          {"driver", application.driver},
          {"location", optional_text(application.location)},
          {"generation", application.generation},
          {"state", application.state},
          {"ports", objects(application.ports)}};
}

json::object to_json(const TaskSnapshot& task) {
  return {{"id", task.id},
          {"kind", task.kind},
          {"application", task.application},
          {"host", optional_text(task.host)},
          {"state", task.state},
          {"phase", optional_text(task.phase)},
          {"source", optional_text(task.source)},
          {"destination", optional_text(task.destination)},
          {"error", optional_text(task.error)},
          {"started", optional_time(task.started)},
          {"finished", optional_time(task.finished)},
          {"bytes_sent", task.bytes_sent},
          {"bytes_total", task.bytes_total},
          {"ram_bytes", task.ram_bytes},
          {"rounds", task.rounds},
          {"bytes_per_second", task.rate},
          {"eta_ms", optional_number(task.eta_ms)},
          {"total_ms", optional_number(task.total_ms)},
          {"downtime_ms", optional_number(task.downtime_ms)},
          {"lanes", objects(task.lanes)}};
}

json::object to_json(const StatusModel& model) {
  auto uptime = std::chrono::floor<std::chrono::seconds>(model.now - model.started);
  return {{"host", model.host},
          {"version", model.version},
          {"time", to_rfc3339(model.now)},
          {"started", to_rfc3339(model.started)},
          {"uptime_seconds", uptime.count()},
          {"ready", model.ready()},
          {"not_ready", strings(model.not_ready)},
          {"database", to_json(model.database)},
          {"peers", objects(model.peers)},
          {"networks", objects(model.networks)},
          {"applications", objects(model.applications)},
          {"tasks", objects(model.tasks)},
          {"datapath", to_json(model.datapath)},
          {"moves", to_json(model.moves)}};
}

}  // namespace homeport::agent
