// What a change of some entries of the state does to the flows, without a look at what did not
// change. Pure.
#pragma once

#include "overlay/datapath/ovs/flow_image.h"

#include <optional>
#include <vector>

namespace homeport::overlay::ovs {

/// Flows of what changes, and of networks and ports around it: as they are, and as they are to be.
struct FlowPatch {
  FlowImage before, now;
  std::vector<HostRoute> routes_before, routes;  ///< sorted
};

/// `carried`: the state that compile() made flows of without a problem. `left`, `found`: the ports
/// of the bridge then and now. nullopt where the change does not fit that state, or has problems
/// itself: compile() the whole.
std::optional<FlowPatch> patch_of(const DesiredState& carried, const StateChange& change,
                                  const BridgePorts& left, const BridgePorts& found);

/// Whether `flows`, in the words of the patch, are those it was made for: what it takes away is
/// there, and what it adds takes no place of anybody else.
bool fits(const FlowImage& flows, const FlowPatch& patch);

/// The state that is carried after the change, normalized like `carried`.
DesiredState changed(DesiredState carried, const StateChange& change);

/// Whether an application comes to a port of this host or leaves one, or one is awaited.
bool moves_here(const StateChange& change);

}  // namespace homeport::overlay::ovs
