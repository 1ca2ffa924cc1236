// The contents the maps of the eBPF datapath have, or should have, as plain values: compiled from
// the desired state, read back into it, and compared. Pure.
#pragma once

#include "overlay/datapath/datapath.h"
#include "overlay/datapath/ebpf/layout.h"

#include <boost/unordered/unordered_flat_map.hpp>

#include <cstring>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace homeport::overlay {

/// Orders the layout's keys, which have no padding, by their bytes.
struct BytesLess {
  template <class T>
  bool operator()(const T& a, const T& b) const {
    return std::memcmp(&a, &b, sizeof(T)) < 0;
  }
};

template <class Key, class Value>
using MapContents = std::map<Key, Value, BytesLess>;

struct BytesEqual {
  template <class T>
  bool operator()(const T& a, const T& b) const {
    return std::memcmp(&a, &b, sizeof(T)) == 0;
  }
};

struct BytesHash {
  using is_avalanching = void;
  template <class T>
  std::size_t operator()(const T& key) const {
    static_assert(sizeof(T) % 2 == 0);
    return hash(&key, sizeof(T));
  }
  static std::size_t hash(const void* bytes, std::size_t size);
};

/// Of a map that may have an entry for each application of the fleet: not sorted, one block.
template <class Key, class Value>
using BigMapContents = boost::unordered_flat_map<Key, Value, BytesHash, BytesEqual>;

/// What the programs write into a value is no part of the state: it is left out where state is read
/// back or compared.
template <class Value>
void clear_notes(Value&) {}
inline void clear_notes(hp_host_address& address) {
  address.heard = 0;
}
inline void clear_notes(hp_path& path) {
  path.sent = 0;
}

struct MapImage {
  BigMapContents<hp_address_key, hp_address> addresses;
  MapContents<hp_address_key, hp_delivery> held;
  MapContents<__u32, hp_port> ports;  ///< By ifindex.
  BigMapContents<hp_neighbor_key, hp_mac> neighbors;
  MapContents<__u32, hp_network> networks;  ///< By VNI.
  MapContents<hp_member_key, hp_vtep> network_hosts;
  MapContents<hp_member_key, __u32> network_ports;  ///< The ifindex.
  MapContents<hp_vtep, hp_host_address> vteps;      ///< By any address of the host.
  MapContents<hp_path_key, hp_path> paths;
  MapContents<hp_port_rule_key, hp_port_rule> port_rules;
  MapContents<hp_label_key, __u32> labels;
  MapContents<__u32, hp_relay> relays;  ///< By label.
  BigMapContents<hp_ip, hp_route> routes;
  MapContents<hp_ip, hp_host> hosts;
  /// In no map: the keys that more than one application claims. Only compile() knows them.
  std::set<hp_address_key, BytesLess> contested_addresses;
  std::set<hp_neighbor_key, BytesLess> contested_neighbors;
  std::set<hp_ip, BytesLess> contested_routes;
  std::set<__u32, BytesLess> contested_ports;
  std::set<hp_address_key, BytesLess> contested_held;
};

/// What turns `current` into `desired`: entries to write, then keys to remove.
template <class Key, class Value>
struct MapChanges {
  std::vector<std::pair<Key, Value>> updates;
  std::vector<Key> removals;
};

template <class Map>
auto difference(const Map& current, const Map& desired) {
  using Key = typename Map::key_type;
  using Value = typename Map::mapped_type;
  MapChanges<Key, Value> changes;
  for (const auto& [key, value] : desired) {
    auto found = current.find(key);
    if (found == current.end() || std::memcmp(&found->second, &value, sizeof(Value)) != 0) {
      changes.updates.emplace_back(key, value);
    }
  }
  for (const auto& [key, value] : current) {
    if (!desired.contains(key)) changes.removals.push_back(key);
  }
  return changes;
}

/// A port's device as found on this host.
struct PortDevice {
  std::uint32_t ifindex = 0;
  bool peer = false;  ///< Reached through its other end, in another namespace.
};

/// The device of each port that exists, by name.
using PortDevices = std::map<std::string, PortDevice>;

struct CompiledState {
  MapImage image;
  std::vector<std::string> problems;  ///< One sentence for each thing left out.
};

/// The lowest slot of port counters that is not in use, which it is then; nullopt: all are.
std::optional<std::uint32_t> take_slot(std::set<std::uint32_t>& used);

/// `current` is what the maps hold: a port that stays keeps its counter slot, a network's host or
/// port its index, new ones get the lowest that is free. Of entries that contradict each other, the
/// higher generation wins.
CompiledState compile(const DesiredState& desired, const PortDevices& devices,
                      const MapImage& current);

/// The inverse. `names` has the name of each ifindex; one that is missing becomes "#<ifindex>".
/// Only ports in `attached` are reported.
DesiredState decompile(const MapImage& image, const std::map<std::uint32_t, std::string>& names,
                       const std::set<std::uint32_t>& attached);

hp_address_key address_key(policy::Vni vni, const policy::MacAddress& mac);
hp_neighbor_key neighbor_key(policy::Vni vni, const policy::IpAddress& ip);
hp_ip ip_key(const policy::IpAddress& ip);
hp_mac mac_value(const policy::MacAddress& mac);
hp_vtep vtep_value(const policy::IpAddress& address);
hp_path_key path_key(const policy::IpAddress& vtep, policy::TrafficClass traffic_class);
/// `labels`: whose its networks' labels are; 0 where it is not relayed.
hp_path path_value(const PathEntry& entry, std::uint32_t labels);
hp_relay relay_value(const RelayEntry& entry);
policy::IpAddress vtep_address(const hp_vtep& vtep);
policy::IpAddress neighbor_address(const hp_neighbor_key& key);
policy::IpAddress ip_address(const hp_ip& key);
policy::MacAddress mac_address(const std::uint8_t* bytes);

}  // namespace homeport::overlay
