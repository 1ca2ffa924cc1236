#include "overlay/datapath/ovs/tunnel.h"

#include <fmt/format.h>

#include <algorithm>

namespace homeport::overlay::ovs {

using vswitch::Bridge;
using vswitch::BridgePort;

const BridgePort* find_port(const std::vector<BridgePort>& ports, const std::string& name) {
  auto found = std::find_if(ports.begin(), ports.end(),
                            [&](const BridgePort& port) { return port.name == name; });
  return found == ports.end() ? nullptr : &*found;
}

namespace {

constexpr const char* kTunnelOwner = "tunnel";

BridgePort tunnel_port(const OvsOptions& options) {
  // Where the kernel carries the tunnel, it may fragment outer packets.
  std::string text = fmt::format("df_default=false,dst_port={},key=flow", options.udp_port);
  if (options.local_vtep) text += ",local_ip=" + options.local_vtep->to_string();
  return {options.tunnel_port, "vxlan", kTunnelOwner, text + ",remote_ip=flow", "", -1};
}

}  // namespace

Result<void> ensure_tunnel(Bridge& bridge, const OvsOptions& options) {
  if (auto made = bridge.ensure(); !made) return made;
  auto ports = bridge.ports();
  if (!ports) return ports.error();
  const BridgePort wanted = tunnel_port(options);
  if (const BridgePort* port = find_port(*ports, wanted.name)) {
    if (port->owner != wanted.owner) {
      return policy::make_error(
          boost::system::errc::file_exists,
          fmt::format("The bridge {} has a port {} that is not Homeport's: configure another name "
                      "for the VXLAN device",
                      options.bridge.name, wanted.name));
    }
    if (port->options == wanted.options && port->number > 0) return {};
    if (port->options != wanted.options) {
      if (auto gone = bridge.change_ports({}, {wanted.name}); !gone) return gone;
      if (auto made = bridge.change_ports({wanted}, {}); !made) return made;
    } else if (auto looked = bridge.change_ports({}, {}); !looked) {
      return looked;
    }
  } else if (auto made = bridge.change_ports({wanted}, {}); !made) {
    return made;
  }
  ports = bridge.ports();
  if (!ports) return ports.error();
  const BridgePort* port = find_port(*ports, wanted.name);
  if (port && port->number > 0) return {};
  return policy::make_error(
      boost::system::errc::io_error,
      fmt::format("ovs-vswitchd cannot make the tunnel {} for UDP port {}: {}", wanted.name,
                  options.udp_port,
                  port && !port->error.empty() ? port->error : "no reason given"));
}

}  // namespace homeport::overlay::ovs
