// The tunnel's port in the bridge.
#pragma once

#include "overlay/datapath/ovs_datapath.h"
#include "overlay/vswitch/bridge.h"

#include <string>
#include <vector>

namespace homeport::overlay::ovs {

/// Null: there is none of that name.
const vswitch::BridgePort* find_port(const std::vector<vswitch::BridgePort>& ports,
                                     const std::string& name);

/// Has the tunnel's port in the bridge as it is wanted.
Result<void> ensure_tunnel(vswitch::Bridge& bridge, const OvsOptions& options);

}  // namespace homeport::overlay::ovs
