#include "overlay/datapath/map_patch.h"

#include "overlay/datapath/map_members.h"

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace homeport::overlay {

namespace {

/// The changes of one map: first what goes, then what comes, which may take the place of what went.
template <class Map>
class MapPatcher {
  using Key = typename Map::key_type;
  using Value = typename Map::mapped_type;

 public:
  /// `contested`: keys of which the image does not tell what they would be without one claimant.
  MapPatcher(const Map& image, const std::set<Key, BytesLess>& contested)
      : image_(image), contested_(contested) {}

  /// These and come() are false where the change does not fit the image.
  bool go(const Key& key, const Value& value) {
    auto found = image_.find(key);
    if (contested_.contains(key) || found == image_.end() || !BytesEqual{}(found->second, value)) {
      return false;
    }
    return gone_.insert(key).second;
  }

  bool come(const Key& key, const Value& value) {
    auto was = image_.find(key);
    const bool taken = was != image_.end() && gone_.erase(key) == 0;
    if (contested_.contains(key) || taken || !came_.insert(key).second) return false;
    if (was == image_.end() || !BytesEqual{}(was->second, value)) {
      changes_.updates.emplace_back(key, value);
    }
    return true;
  }

  MapChanges<Key, Value> take() {
    changes_.removals.assign(gone_.begin(), gone_.end());
    return std::move(changes_);
  }

 private:
  const Map& image_;
  const std::set<Key, BytesLess>& contested_;
  std::set<Key, BytesLess> gone_;  ///< and have not come again
  std::set<Key, BytesLess> came_;
  MapChanges<Key, Value> changes_;
};

class Patcher {
 public:
  Patcher(const MapImage& image, const PortDevices& left, const PortDevices& found)
      : image_(image),
        left_(left),
        found_(found),
        addresses_(image.addresses, image.contested_addresses),
        held_(image.held, image.contested_held),
        ports_(image.ports, image.contested_ports),
        neighbors_(image.neighbors, image.contested_neighbors),
        routes_(image.routes, image.contested_routes) {
    for (const auto& [ifindex, port] : image.ports) used_slots_.insert(port.slot);
  }

  bool before(const AddressEntry& entry) {
    auto value = value_of(entry, [this](const auto& device) { return delivery_left(device); });
    if (!value || !addresses_.go(address_key(entry.vni, entry.mac), *value)) return false;
    const hp_mac owner = mac_value(entry.mac);
    for (const policy::IpAddress& ip : entry.ips) {
      if (!neighbors_.go(neighbor_key(entry.vni, ip), owner)) return false;
      if (has_routes(entry.vni) && !routes_.go(ip_key(ip), route_value(entry.vni, owner))) {
        return false;
      }
    }
    return true;
  }

  bool port_before(const Port& port) {
    auto delivery = delivery_left(port.device);
    if (!delivery) return false;
    const hp_port& value = image_.ports.at(delivery->ifindex);
    if (value.vni != port.vni || mac_address(value.mac) != port.mac ||
        (value.held != 0) != port.held || !ports_.go(delivery->ifindex, value)) {
      return false;
    }
    gone_ports_.insert(delivery->ifindex);
    members_of_.insert(port.vni);
    return !port.held || held_.go(address_key(port.vni, port.mac), *delivery);
  }

  bool network_gone(const NetworkEntry& network) {
    auto was = image_.networks.find(network.vni);
    if (was == image_.networks.end() || !gone_networks_.insert(network.vni).second) return false;
    members_of_.insert(network.vni);
    for (const policy::IpAddress& gateway : network.gateways) {
      if (!neighbors_.go(neighbor_key(network.vni, gateway), mac_value(kRouterMac))) return false;
    }
    patch_.networks.removals.push_back(network.vni);
    return place_hosts(network.vni, {}) == 0;
  }

  /// Those that go come before: this and what follows is of what comes.
  bool network(const NetworkEntry& network) {
    auto wanted = hosts_of(network);
    if (!is_carried(network.vni) || wanted.size() > HP_MAX_NETWORK_HOSTS ||
        gone_networks_.contains(network.vni)) {
      return false;
    }
    hp_network value{network.mtu, 0, 0, flags_of(network)};
    if (auto was = image_.networks.find(network.vni); was != image_.networks.end()) {
      if (was->second.mtu != value.mtu || was->second.flags != value.flags) return false;
      value = was->second;
    } else {
      members_of_.insert(network.vni);
      for (const policy::IpAddress& gateway : network.gateways) {
        if (!neighbors_.come(neighbor_key(network.vni, gateway), mac_value(kRouterMac))) {
          return false;
        }
      }
    }
    value.hosts = place_hosts(network.vni, std::move(wanted));
    return networks_.emplace(network.vni, value).second;
  }

  bool port(const Port& port) {
    auto device = found_.find(port.device);
    if (device == found_.end() || !is_carried(port.vni)) return false;
    const std::uint32_t ifindex = device->second.ifindex;
    auto slot = slot_of(ifindex);
    if (!slot) return false;
    const hp_port value = port_value(port, *slot, network_now(port.vni));
    const hp_delivery delivery{ifindex, *slot, device->second.peer};
    if (!ports_.come(ifindex, value) || !deliveries_.emplace(port.device, delivery).second) {
      return false;
    }
    came_ports_[ifindex] = port.vni;
    members_of_.insert(port.vni);
    return !port.held || held_.come(address_key(port.vni, port.mac), delivery);
  }

  bool now(const AddressEntry& entry) {
    auto value = value_of(entry, [this](const auto& device) { return delivery_now(device); });
    if (!value || !addresses_.come(address_key(entry.vni, entry.mac), *value)) return false;
    const hp_mac owner = mac_value(entry.mac);
    for (const policy::IpAddress& ip : entry.ips) {
      if (!neighbors_.come(neighbor_key(entry.vni, ip), owner)) return false;
      if (!has_routes(entry.vni)) continue;
      const hp_ip to = ip_key(ip);
      if (image_.hosts.contains(to) || !routes_.come(to, route_value(entry.vni, owner))) {
        return false;
      }
    }
    return true;
  }

  /// After all of them.
  std::optional<MapPatch> take() {
    for (const policy::Vni vni : members_of_) {
      if (!place_ports(vni)) return std::nullopt;
    }
    for (const auto& [vni, value] : networks_) {
      auto was = image_.networks.find(vni);
      if (was != image_.networks.end() && BytesEqual{}(was->second, value)) continue;
      patch_.networks.updates.emplace_back(vni, value);
    }
    patch_.addresses = addresses_.take();
    patch_.held = held_.take();
    patch_.ports = ports_.take();
    patch_.neighbors = neighbors_.take();
    patch_.routes = routes_.take();
    return std::move(patch_);
  }

 private:
  template <class Delivery>
  static std::optional<hp_address> value_of(const AddressEntry& entry, Delivery delivery_of) {
    if (!is_carried(entry)) return std::nullopt;
    hp_address value{};
    value.generation = entry.generation;
    if (const auto* host = std::get_if<RemoteHost>(&entry.location)) {
      value.remote = 1;
      value.vtep = vtep_value(host->vtep);
      value.relayed = entry.relayed;
      return value;
    }
    auto delivery = delivery_of(std::get<LocalPort>(entry.location).device);
    if (!delivery) return std::nullopt;
    value.local = *delivery;
    return value;
  }

  std::optional<hp_delivery> delivery_left(const std::string& device) const {
    auto left = left_.find(device);
    if (left == left_.end()) return std::nullopt;
    auto port = image_.ports.find(left->second.ifindex);
    if (port == image_.ports.end()) return std::nullopt;
    return hp_delivery{left->second.ifindex, port->second.slot, left->second.peer};
  }

  std::optional<hp_delivery> delivery_now(const std::string& device) const {
    if (auto came = deliveries_.find(device); came != deliveries_.end()) return came->second;
    auto left = delivery_left(device);
    if (left && gone_ports_.contains(left->ifindex)) return std::nullopt;
    return left;
  }

  const hp_network* network_now(policy::Vni vni) const {
    if (auto changed = networks_.find(vni); changed != networks_.end()) return &changed->second;
    auto was = image_.networks.find(vni);
    return was == image_.networks.end() ? nullptr : &was->second;
  }

  /// As compile() does: a freed slot becomes available when its port is gone from the image.
  std::optional<std::uint32_t> slot_of(std::uint32_t ifindex) {
    if (auto port = image_.ports.find(ifindex); port != image_.ports.end()) {
      return port->second.slot;
    }
    return take_slot(used_slots_);
  }

  template <class Value, class Less>
  static std::uint32_t place(policy::Vni vni, const MapContents<hp_member_key, Value>& all,
                             std::set<Value, Less> wanted, std::uint32_t limit,
                             MapChanges<hp_member_key, Value>& changes) {
    MapContents<hp_member_key, Value> current, placed;
    for (auto entry = all.lower_bound({vni, 0}); entry != all.end() && entry->first.vni == vni;
         ++entry) {
      current.insert(*entry);
    }
    const std::uint32_t count = place_members(vni, current, std::move(wanted), limit, placed);
    auto members = difference(current, placed);
    changes.updates.insert(changes.updates.end(), members.updates.begin(), members.updates.end());
    changes.removals.insert(changes.removals.end(), members.removals.begin(),
                            members.removals.end());
    return count;
  }

  std::uint32_t place_hosts(policy::Vni vni, std::set<hp_vtep, BytesLess> wanted) {
    return place(vni, image_.network_hosts, std::move(wanted), HP_MAX_NETWORK_HOSTS,
                 patch_.network_hosts);
  }

  /// False where a network has gone and its ports have not.
  bool place_ports(policy::Vni vni) {
    std::set<__u32> wanted;
    for (const auto& [ifindex, port] : image_.ports) {
      if (port.vni == vni && !gone_ports_.contains(ifindex)) wanted.insert(ifindex);
    }
    for (const auto& [ifindex, network] : came_ports_) {
      if (network == vni) wanted.insert(ifindex);
    }
    const hp_network* network = gone_networks_.contains(vni) ? nullptr : network_now(vni);
    if (!network && !wanted.empty()) return false;
    hp_network value = network ? *network : hp_network{};
    value.ports =
        place(vni, image_.network_ports, std::move(wanted), HP_MAX_PORTS, patch_.network_ports);
    if (network) networks_[vni] = value;
    return true;
  }

  bool has_routes(policy::Vni vni) const {
    const hp_network* network = network_now(vni);
    return network && (network->flags & HP_HOST_ACCESS);
  }

  const MapImage& image_;
  const PortDevices& left_;
  const PortDevices& found_;
  MapPatcher<decltype(MapImage::addresses)> addresses_;
  MapPatcher<decltype(MapImage::held)> held_;
  MapPatcher<decltype(MapImage::ports)> ports_;
  MapPatcher<decltype(MapImage::neighbors)> neighbors_;
  MapPatcher<decltype(MapImage::routes)> routes_;
  std::map<policy::Vni, hp_network> networks_;  ///< Those that come or change.
  std::set<policy::Vni> gone_networks_, members_of_;
  std::set<std::uint32_t> gone_ports_, used_slots_;
  std::map<std::uint32_t, policy::Vni> came_ports_;
  std::map<std::string, hp_delivery> deliveries_;  ///< Of ports that come.
  MapPatch patch_;
};

template <class Map, class Changes>
void change(Map& map, const Changes& changes) {
  for (const auto& [key, value] : changes.updates) map[key] = value;
  for (const auto& key : changes.removals) map.erase(key);
}

}  // namespace

MapPatch patch_between(const MapImage& current, const MapImage& desired) {
  return {.addresses = difference(current.addresses, desired.addresses),
          .held = difference(current.held, desired.held),
          .ports = difference(current.ports, desired.ports),
          .neighbors = difference(current.neighbors, desired.neighbors),
          .networks = difference(current.networks, desired.networks),
          .network_hosts = difference(current.network_hosts, desired.network_hosts),
          .network_ports = difference(current.network_ports, desired.network_ports),
          .vteps = difference(current.vteps, desired.vteps),
          .paths = difference(current.paths, desired.paths),
          .port_rules = difference(current.port_rules, desired.port_rules),
          .labels = difference(current.labels, desired.labels),
          .relays = difference(current.relays, desired.relays),
          .routes = difference(current.routes, desired.routes),
          .hosts = difference(current.hosts, desired.hosts)};
}

std::optional<MapPatch> patch_of(const MapImage& image, const StateChange& change,
                                 const PortDevices& left, const PortDevices& found) {
  Patcher patcher(image, left, found);
  auto all = [&](const auto& entries, auto deed) {
    return std::ranges::all_of(entries, [&](const auto& entry) { return (patcher.*deed)(entry); });
  };
  std::vector<Port> ports = change.ports;  // In the order in which compile() gives them slots.
  std::ranges::sort(ports);
  if (!all(change.before, &Patcher::before) || !all(change.ports_before, &Patcher::port_before) ||
      !all(change.networks_gone, &Patcher::network_gone) ||
      !all(change.networks, &Patcher::network) || !all(ports, &Patcher::port) ||
      !all(change.now, &Patcher::now)) {
    return std::nullopt;
  }
  return patcher.take();
}

void apply_patch(MapImage& image, const MapPatch& patch) {
  change(image.addresses, patch.addresses);
  change(image.held, patch.held);
  change(image.ports, patch.ports);
  change(image.neighbors, patch.neighbors);
  change(image.networks, patch.networks);
  change(image.network_hosts, patch.network_hosts);
  change(image.network_ports, patch.network_ports);
  change(image.vteps, patch.vteps);
  change(image.paths, patch.paths);
  change(image.port_rules, patch.port_rules);
  change(image.labels, patch.labels);
  change(image.relays, patch.relays);
  change(image.routes, patch.routes);
  change(image.hosts, patch.hosts);
}

}  // namespace homeport::overlay
