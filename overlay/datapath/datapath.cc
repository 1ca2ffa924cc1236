#include "overlay/datapath/datapath.h"

#include <algorithm>

namespace homeport::overlay {

namespace {

policy::Error not_traced() {
  return policy::make_error(boost::system::errc::operation_not_supported,
                            "The datapath of this host does not trace");
}

}  // namespace

Result<std::unique_ptr<ProbeWire>> Datapath::probe_wire() {
  return policy::make_error(boost::system::errc::operation_not_supported,
                            "The datapath of this host does not probe");
}

Result<TraceAnswer> Datapath::trace(const TraceOrigin&, const TracedPacket&) {
  return not_traced();
}

Result<std::unique_ptr<TraceCounter>> Datapath::count(const TraceOrigin&, const TracedPacket&) {
  return not_traced();
}

Result<void> check_path(const PathEntry& path) {
  std::string why;
  if (path.local.is_v4() != path.remote.is_v4()) why = "they are of different families";
  for (const auto& [vni, label] : path.labels) {
    if (is_network(vni) && is_label(label)) continue;
    why = "its network " + std::to_string(vni) + " cannot have the label " + std::to_string(label);
  }
  if (why.empty()) return {};
  return policy::make_error(boost::system::errc::invalid_argument,
                            "The path from " + path.local.to_string() + " to " +
                                path.remote.to_string() + " cannot be taken: " + why);
}

Result<void> check_relay(const RelayEntry& relay) {
  if (is_network(relay.vni) && is_label(relay.label)) return {};
  return policy::make_error(boost::system::errc::invalid_argument,
                            "The network " + std::to_string(relay.vni) +
                                " cannot be relayed under the label " +
                                std::to_string(relay.label));
}

void normalize(DesiredState& state) {
  for (NetworkEntry& network : state.networks) {
    std::sort(network.hosts.begin(), network.hosts.end());
    std::sort(network.gateways.begin(), network.gateways.end());
  }
  for (AddressEntry& entry : state.addresses) std::sort(entry.ips.begin(), entry.ips.end());
  std::sort(state.networks.begin(), state.networks.end());
  std::sort(state.ports.begin(), state.ports.end());
  std::sort(state.addresses.begin(), state.addresses.end());
  std::sort(state.vteps.begin(), state.vteps.end());
  std::sort(state.hosts.begin(), state.hosts.end());
  std::sort(state.aliases.begin(), state.aliases.end());
  for (PathEntry& path : state.paths) std::sort(path.labels.begin(), path.labels.end());
  std::sort(state.paths.begin(), state.paths.end());
  std::sort(state.relays.begin(), state.relays.end());
  policy::settle(state.port_rules);
}

Result<bool> Datapath::update(const StateChange&) {
  return false;
}

Result<bool> Datapath::untouched() {
  return false;
}

Result<std::vector<std::string>> Datapath::detached() {
  return std::vector<std::string>();
}

}  // namespace homeport::overlay
