#include "overlay/datapath/map_patch.h"

#include "overlay/datapath/map_members.h"

#include <set>
#include <utility>

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
  explicit Patcher(const MapImage& image)
      : image_(image),
        addresses_(image.addresses, image.contested_addresses),
        neighbors_(image.neighbors, image.contested_neighbors),
        routes_(image.routes, image.contested_routes) {}

  bool before(const AddressEntry& entry) {
    auto value = remote_value(entry);
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

  bool now(const AddressEntry& entry) {
    auto value = remote_value(entry);
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

  bool network(const NetworkEntry& network) {
    auto was = image_.networks.find(network.vni);
    if (was == image_.networks.end() || was->second.mtu != network.mtu ||
        was->second.flags != flags_of(network)) {
      return false;
    }
    auto wanted = hosts_of(network);
    if (wanted.size() > HP_MAX_NETWORK_HOSTS) return false;
    MapContents<hp_member_key, hp_vtep> current, placed;
    for (auto entry = image_.network_hosts.lower_bound({network.vni, 0});
         entry != image_.network_hosts.end() && entry->first.vni == network.vni; ++entry) {
      current.insert(*entry);
    }
    hp_network value = was->second;
    value.hosts =
        place_members(network.vni, current, std::move(wanted), HP_MAX_NETWORK_HOSTS, placed);
    auto members = difference(current, placed);
    auto& all = patch_.network_hosts;
    all.updates.insert(all.updates.end(), members.updates.begin(), members.updates.end());
    all.removals.insert(all.removals.end(), members.removals.begin(), members.removals.end());
    if (!BytesEqual{}(was->second, value)) {
      patch_.networks.updates.emplace_back(network.vni, value);
    }
    return true;
  }

  MapPatch take() {
    patch_.addresses = addresses_.take();
    patch_.neighbors = neighbors_.take();
    patch_.routes = routes_.take();
    return std::move(patch_);
  }

 private:
  static std::optional<hp_address> remote_value(const AddressEntry& entry) {
    const auto* host = std::get_if<RemoteHost>(&entry.location);
    if (!host || !is_carried(entry)) return std::nullopt;
    hp_address value{};
    value.generation = entry.generation;
    value.remote = 1;
    value.vtep = vtep_value(host->vtep);
    value.relayed = entry.relayed;
    return value;
  }

  bool has_routes(policy::Vni vni) const {
    auto network = image_.networks.find(vni);
    return network != image_.networks.end() && (network->second.flags & HP_HOST_ACCESS);
  }

  const MapImage& image_;
  MapPatcher<decltype(MapImage::addresses)> addresses_;
  MapPatcher<decltype(MapImage::neighbors)> neighbors_;
  MapPatcher<decltype(MapImage::routes)> routes_;
  MapPatch patch_;
};

template <class Map, class Changes>
void change(Map& map, const Changes& changes) {
  for (const auto& [key, value] : changes.updates) map[key] = value;
  for (const auto& key : changes.removals) map.erase(key);
}

}  // namespace

std::optional<MapPatch> patch_of(const MapImage& image, const RemoteChange& change) {
  Patcher patcher(image);
  for (const AddressEntry& entry : change.before) {
    if (!patcher.before(entry)) return std::nullopt;
  }
  for (const AddressEntry& entry : change.now) {
    if (!patcher.now(entry)) return std::nullopt;
  }
  for (const NetworkEntry& network : change.networks) {
    if (!patcher.network(network)) return std::nullopt;
  }
  return patcher.take();
}

void apply_patch(MapImage& image, const MapPatch& patch) {
  change(image.addresses, patch.addresses);
  change(image.neighbors, patch.neighbors);
  change(image.networks, patch.networks);
  change(image.network_hosts, patch.network_hosts);
  change(image.routes, patch.routes);
}

}  // namespace homeport::overlay
