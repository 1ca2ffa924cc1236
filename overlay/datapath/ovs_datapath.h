// The datapath as flows of a bridge of Open vSwitch, for hosts whose ports live there.
// docs/ovs-datapath.md says what is different from the eBPF one.
#pragma once

#include "overlay/datapath/datapath.h"
#include "overlay/vswitch/bridge.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

namespace homeport::overlay {

struct OvsOptions {
  vswitch::BridgeOptions bridge;
  std::string tunnel_port = "homeport0";  ///< Made in the bridge if it is missing.
  std::string host_device = "homeport1";  ///< Of the host's own processes, made if it is needed.
  std::uint16_t udp_port = 4790;          ///< Of every host; other overlays use 4789.
  /// Outer source address; the switch's routing chooses where there is none.
  std::optional<policy::IpAddress> local_vtep;
};

/// Makes the bridge and the tunnel's port if they are missing. Flows and ports that an earlier
/// agent left are adopted; nothing changes for traffic until the first apply().
///
/// Errors: ovs-vswitchd does not answer, the bridge has another datapath type, the name of the
/// tunnel's port is taken by somebody else's port.
Result<std::unique_ptr<Datapath>> make_ovs_datapath(const OvsOptions& options);

}  // namespace homeport::overlay
