// What a change of other hosts' applications does to the maps of the eBPF datapath, without a look
// at what did not change. Pure.
#pragma once

#include "overlay/datapath/map_image.h"

#include <optional>

namespace homeport::overlay {

/// Entries to write and keys to remove, in the maps that a RemoteChange touches.
struct MapPatch {
  MapChanges<hp_address_key, hp_address> addresses;
  MapChanges<hp_neighbor_key, hp_mac> neighbors;
  MapChanges<__u32, hp_network> networks;
  MapChanges<hp_member_key, hp_vtep> network_hosts;
  MapChanges<hp_ip, hp_route> routes;
};

/// What `change` does to `image`: the same as compile() of the whole new state would. nullopt where
/// that cannot be told from the change, or it does not fit the image.
std::optional<MapPatch> patch_of(const MapImage& image, const RemoteChange& change);
void apply_patch(MapImage& image, const MapPatch& patch);

}  // namespace homeport::overlay
