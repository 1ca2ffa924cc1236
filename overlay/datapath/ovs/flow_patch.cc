#include "overlay/datapath/ovs/flow_patch.h"

#include <algorithm>
#include <set>
#include <string_view>
#include <utility>

namespace homeport::overlay::ovs {

namespace {

std::set<policy::Vni> networks_of(const StateChange& change) {
  std::set<policy::Vni> vnis;
  auto add = [&](const auto& entries) {
    for (const auto& entry : entries) vnis.insert(entry.vni);
  };
  add(change.before);
  add(change.now);
  add(change.networks);
  add(change.networks_gone);
  add(change.ports_before);
  add(change.ports);
  return vnis;
}

/// False where `carried`, which is sorted, does not have it.
template <class Entry>
bool take(std::vector<Entry>& carried, const Entry& entry) {
  auto found = std::ranges::lower_bound(carried, entry);
  if (found == carried.end() || *found != entry) return false;
  carried.erase(found);
  return true;
}

template <class Entry>
void put(std::vector<Entry>& carried, Entry entry) {
  carried.insert(std::ranges::upper_bound(carried, entry), std::move(entry));
}

AddressEntry sorted(AddressEntry entry) {
  std::ranges::sort(entry.ips);
  return entry;
}
NetworkEntry sorted(NetworkEntry entry) {
  std::ranges::sort(entry.hosts);
  std::ranges::sort(entry.gateways);
  return entry;
}

/// False where the change does not fit.
bool apply(DesiredState& carried, const StateChange& change) {
  bool fits = true;
  for (const AddressEntry& entry : change.before) fits &= take(carried.addresses, sorted(entry));
  for (const Port& port : change.ports_before) fits &= take(carried.ports, port);
  for (const NetworkEntry& gone : change.networks_gone) {
    fits &= take(carried.networks, sorted(gone));
  }
  for (const NetworkEntry& network : change.networks) {
    std::erase_if(carried.networks, [&](const auto& was) { return was.vni == network.vni; });
    put(carried.networks, sorted(network));
  }
  for (const Port& port : change.ports) put(carried.ports, port);
  for (const AddressEntry& entry : change.now) put(carried.addresses, sorted(entry));
  return fits;
}

/// Two ports of one device claim the same flows.
bool share_devices(const std::vector<Port>& ports) {
  std::set<std::string_view> devices;
  return std::ranges::any_of(ports,
                             [&](const Port& port) { return !devices.insert(port.device).second; });
}

}  // namespace

DesiredState changed(DesiredState carried, const StateChange& change) {
  apply(carried, change);
  return carried;
}

std::optional<FlowPatch> patch_of(const DesiredState& carried, const StateChange& change,
                                  const BridgePorts& left, const BridgePorts& found) {
  // The flows of all are made for these.
  if (left.tunnel != found.tunnel || left.class_tunnels != found.class_tunnels ||
      left.host != found.host || left.source != found.source) {
    return std::nullopt;
  }
  std::vector<Port> ports = carried.ports;
  for (const Port& port : change.ports_before) {
    if (!take(ports, port)) return std::nullopt;
  }
  ports.insert(ports.end(), change.ports.begin(), change.ports.end());
  if (share_devices(carried.ports) || share_devices(ports)) return std::nullopt;
  const auto vnis = networks_of(change);
  DesiredState part;
  for (const NetworkEntry& network : carried.networks) {
    if (vnis.contains(network.vni)) part.networks.push_back(network);
  }
  for (const Port& port : carried.ports) {
    if (vnis.contains(port.vni)) part.ports.push_back(port);
  }
  std::set<policy::IpAddress> ips;
  for (const auto* entries : {&change.before, &change.now}) {
    for (const AddressEntry& entry : *entries) ips.insert(entry.ips.begin(), entry.ips.end());
  }
  for (const HostAddress& host : carried.hosts) {
    if (ips.contains(host.address)) part.hosts.push_back(host);
  }
  for (const AddressEntry& entry : change.before) {
    const AddressEntry was = sorted(entry);
    if (!std::ranges::binary_search(carried.addresses, was)) return std::nullopt;
    put(part.addresses, was);
  }
  DesiredState next = part;
  if (!apply(next, change)) return std::nullopt;

  CompiledFlows before = compile(part, left), now = compile(next, found);
  if (!before.problems.empty() || !now.problems.empty()) return std::nullopt;
  return FlowPatch{std::move(before.flows), std::move(now.flows), std::move(before.routes),
                   std::move(now.routes)};
}

bool fits(const FlowImage& flows, const FlowPatch& patch) {
  for (const auto& [key, flow] : patch.before) {
    auto there = flows.find(key);
    if (there == flows.end() || !(there->second.body == flow.body)) return false;
  }
  return std::ranges::all_of(patch.now, [&](const auto& flow) {
    return patch.before.contains(flow.first) || !flows.contains(flow.first);
  });
}

bool moves_here(const StateChange& change) {
  auto is_local = [](const AddressEntry& entry) {
    return std::holds_alternative<LocalPort>(entry.location);
  };
  auto stays = [&](const AddressEntry& entry, const std::vector<AddressEntry>& others) {
    return std::ranges::any_of(others, [&](const AddressEntry& other) {
      return other.vni == entry.vni && other.mac == entry.mac && other.location == entry.location;
    });
  };
  auto moves = [&](const auto& entries, const auto& others) {
    return std::ranges::any_of(entries, [&](const AddressEntry& entry) {
      return is_local(entry) && !stays(entry, others);
    });
  };
  return moves(change.before, change.now) || moves(change.now, change.before) ||
         std::ranges::any_of(change.ports, [&](const Port& port) {
           return port.held && std::ranges::count(change.ports_before, port) == 0;
         });
}

}  // namespace homeport::overlay::ovs
