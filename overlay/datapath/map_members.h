// What compile() and patch_of() have in common: how a network, a port, an address and a member of a
// network become entries of the maps. Private to the eBPF datapath.
#pragma once

#include "overlay/datapath/map_image.h"

#include <algorithm>
#include <cstdint>
#include <set>

namespace homeport::overlay {

inline bool is_carried(policy::Vni vni) {
  return is_network(vni);
}

/// Whether an application can have such an address.
inline bool is_carried(const AddressEntry& entry) {
  return is_carried(entry.vni) && !entry.mac.multicast() && entry.mac != kRouterMac;
}

inline __u32 flags_of(const NetworkEntry& network) {
  return (network.normal ? HP_NORMAL : 0) | (network.host_access ? HP_HOST_ACCESS : 0);
}

/// `network`: the port's; null: it has none here.
inline hp_port port_value(const Port& port, std::uint32_t slot, const hp_network* network) {
  hp_port value{};
  value.vni = port.vni;
  value.slot = slot;
  value.held = port.held;
  value.traffic_class = static_cast<__u32>(port.traffic_class);
  std::ranges::copy(port.mac.bytes, value.mac);
  if (network) {
    value.mtu = network->mtu;
    value.flags = network->flags;
  }
  return value;
}

inline hp_route route_value(policy::Vni vni, const hp_mac& owner) {
  hp_route route{};
  route.vni = vni;
  std::copy_n(owner.mac, sizeof(route.mac), route.mac);
  return route;
}

inline std::set<hp_vtep, BytesLess> hosts_of(const NetworkEntry& network) {
  std::set<hp_vtep, BytesLess> hosts;
  for (const policy::IpAddress& host : network.hosts) hosts.insert(vtep_value(host));
  return hosts;
}

/// Gives each of `wanted` an index of the network in `entries`: the one it has in `current`, if it
/// has one, else the lowest that is free; none at `limit` and beyond. Returns how many indexes
/// there are to look at.
template <class Value, class Less>
std::uint32_t place_members(policy::Vni vni, const MapContents<hp_member_key, Value>& current,
                            std::set<Value, Less> wanted, std::uint32_t limit,
                            MapContents<hp_member_key, Value>& entries) {
  std::uint32_t count = 0;
  auto place = [&](std::uint32_t index, const Value& value) {
    entries[{vni, index}] = value;
    count = std::max(count, index + 1);
  };
  // The VNI comes first in the order of the keys.
  for (auto entry = current.lower_bound({vni, 0});
       entry != current.end() && entry->first.vni == vni; ++entry) {
    const auto& [key, value] = *entry;
    if (key.index < limit && wanted.erase(value) == 1) place(key.index, value);
  }
  std::uint32_t index = 0;
  for (const Value& value : wanted) {
    while (entries.contains({vni, index})) ++index;
    if (index >= limit) break;
    place(index, value);
  }
  return count;
}

}  // namespace homeport::overlay
