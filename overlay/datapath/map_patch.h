// What a change of some entries of the state does to the maps of the eBPF datapath, without a look
// at what did not change. Pure.
#pragma once

#include "overlay/datapath/map_image.h"

#include <optional>

namespace homeport::overlay {

/// Entries to write and keys to remove, in each map.
struct MapPatch {
  MapChanges<hp_address_key, hp_address> addresses;
  MapChanges<hp_address_key, hp_delivery> held;
  MapChanges<__u32, hp_port> ports;
  MapChanges<hp_neighbor_key, hp_mac> neighbors;
  MapChanges<__u32, hp_network> networks;
  MapChanges<hp_member_key, hp_vtep> network_hosts;
  MapChanges<hp_member_key, __u32> network_ports;
  MapChanges<hp_vtep, hp_host_address> vteps;
  MapChanges<hp_path_key, hp_path> paths;
  MapChanges<hp_port_rule_key, hp_port_rule> port_rules;
  MapChanges<hp_label_key, __u32> labels;
  MapChanges<__u32, hp_relay> relays;
  MapChanges<hp_ip, hp_route> routes;
  MapChanges<hp_ip, hp_host> hosts;
};

/// What turns one image into another.
MapPatch patch_between(const MapImage& current, const MapImage& desired);

/// What `change` does to `image`: the same as compile() of the whole new state would. `left`: the
/// devices of the ports in the image; `found`: those of the ports that come. nullopt where that
/// cannot be told from the change, or it does not fit the image.
std::optional<MapPatch> patch_of(const MapImage& image, const StateChange& change,
                                 const PortDevices& left, const PortDevices& found);
void apply_patch(MapImage& image, const MapPatch& patch);

}  // namespace homeport::overlay
