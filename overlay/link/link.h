// Network devices of this host: what there is, creating and removing them, their addresses. Route
// netlink (rtnetlink(7)) through libnl.
//
// Every function acts in the network namespace of the calling thread, blocks for one or a few
// netlink round trips (tens of microseconds), and keeps no state.
//
// Errors name the device. "No such device" is errc::no_such_device, "exists already" is
// errc::file_exists; anything else carries the kernel's own reason.
#pragma once

#include "policy/address.h"
#include "policy/error.h"

#include <cstdint>
#include <string>
#include <vector>

namespace homeport::overlay {

using policy::Result;

/// A network device as the kernel reports it.
struct Link {
  int index = 0;
  std::string name;
  std::string kind;  ///< "veth", "vxlan", "tun", ...; empty for hardware and loopback.
  policy::MacAddress mac;
  std::uint32_t mtu = 0;  ///< Bytes of network-layer packet.
  std::uint32_t tx_queue_length = 0;
  bool up = false;       ///< Administratively up (IFF_UP).
  bool carrier = false;  ///< Up and able to carry packets (IFF_LOWER_UP).
  /// A veth whose other end is in another network namespace.
  bool peer_elsewhere = false;

  bool operator==(const Link&) const = default;
};

struct LinkAddress {
  int link_index = 0;
  policy::IpAddress address;
  int prefix_length = 0;

  bool operator==(const LinkAddress&) const = default;
};

Result<std::vector<Link>> list_links();
Result<Link> find_link(const std::string& name);

Result<void> set_link_up(const std::string& name, bool up);
Result<void> set_link_mtu(const std::string& name, std::uint32_t mtu);
Result<void> set_link_mac(const std::string& name, const policy::MacAddress& mac);
Result<void> set_tx_queue_length(const std::string& name, std::uint32_t packets);
/// Keeps the kernel from making IPv6 addresses on the device and so from sending anything of its
/// own there (router solicitations, multicast reports). Addresses can still be added.
Result<void> set_ipv6_silent(const std::string& name);
/// Takes IPv6 off the device altogether: it gets no address, no multicast route, and hears nothing.
Result<void> set_ipv6_off(const std::string& name);
/// Has the device send whole packets with complete checksums, as a wire would: what reads frames
/// from its other end by packet sockets, Open vSwitch's userspace datapath for one, sees nothing
/// else of them.
Result<void> set_offloads_off(const std::string& name);
Result<void> delete_device(const std::string& name);

/// One VXLAN device for all networks and peers of the host: "external" (collect metadata: VNI and
/// outer addresses are chosen per packet), no learning, zero UDP checksums accepted over IPv6,
/// which is how RFC 7348 senders commonly write them. `udp_port` is free to choose: the kernel
/// takes one such device per port, and other overlays use 4789. Comes back up.
Result<Link> create_vxlan(const std::string& name, std::uint16_t udp_port);

/// A device of the host's own for its routes to lead to, with that MAC address: one end of a pair
/// whose other end, `name`p, has no use but to be there. It makes no IPv6 addresses and asks nobody
/// for neighbors: what is sent there is addressed to itself. Comes back up.
Result<Link> create_route_device(const std::string& name, const policy::MacAddress& mac);

/// A VXLAN device's own settings, for checking one that exists already.
struct VxlanSettings {
  bool external = false;
  bool udp6_zero_checksum_rx = false;
  std::uint16_t udp_port = 0;
};
Result<VxlanSettings> vxlan_settings(const std::string& name);

/// IPv4 and IPv6 addresses of all devices.
Result<std::vector<LinkAddress>> list_addresses();

}  // namespace homeport::overlay
