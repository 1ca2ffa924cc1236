// Flows in words: pieces of matches and actions that several tables share.
#pragma once

#include "overlay/datapath/ovs/flow_image.h"
#include "overlay/datapath/ovs/pipeline.h"

#include <fmt/format.h>

#include <string>
#include <string_view>

namespace homeport::overlay::ovs {

inline std::string go(Table table) {
  return fmt::format("resubmit(,{})", static_cast<unsigned>(table));
}

inline std::string count(Counter counter) {
  return fmt::format("set_field:{}->reg6,{}", static_cast<unsigned>(counter), go(kCount));
}

/// Matches packets of which `set` is known, and nothing else of `asked`.
inline std::string known(std::uint32_t set, std::uint32_t asked) {
  return fmt::format("reg1={:#x}/{:#x}", set, asked);
}
inline std::string known(std::uint32_t set) {
  return known(set, set);
}
inline std::string learn(std::uint32_t bits) {
  return fmt::format("set_field:{:#x}/{:#x}->reg1", bits, bits);
}

inline constexpr std::string_view kToGroup = "dl_dst=01:00:00:00:00:00/01:00:00:00:00:00";
/// Where a packet comes from: an application here, or another host.
inline const std::string kFromHere = known(0, kTunnelled);
inline const std::string kFromThere = known(kTunnelled);
inline constexpr std::string_view kUntagged = "vlan_tci=0x0000/0x1000";
/// The network and, for some, the mark as the tunnel's key.
inline constexpr std::string_view kKey = "move:NXM_NX_REG0[]->NXM_NX_TUN_ID[0..31]";
inline constexpr std::string_view kKeyMarked =
    "move:NXM_NX_REG0[]->NXM_NX_TUN_ID[0..31],load:0x1->NXM_NX_TUN_ID[23]";
/// A switch sends nothing back to where it came from, unless it has forgotten that.
inline constexpr std::string_view kForgetPort = "load:0->NXM_OF_IN_PORT[]";

inline std::string tunnel_to(const policy::IpAddress& vtep) {
  return fmt::format("set_field:{}->{}", vtep.to_string(),
                     vtep.is_v6() ? "tun_ipv6_dst" : "tun_dst");
}
inline std::string tunnel_from(const policy::IpAddress& vtep) {
  return fmt::format("{}={}", vtep.is_v6() ? "tun_ipv6_src" : "tun_src", vtep.to_string());
}

inline std::string set_class(policy::TrafficClass traffic_class) {
  return fmt::format("set_field:{}->reg7", static_cast<unsigned>(traffic_class));
}  /// Into the tunnel to the host whose VTEP and whose key the packet has.
inline const std::string kWay = fmt::format("{},{}", go(kClass), go(kPath));

/// As if a packet had come from there, and, as words to put before an output, from where it goes.
inline std::string came_from(const policy::IpAddress& address) {
  return fmt::format("set_field:{}->{}", address.to_string(),
                     address.is_v6() ? "tun_ipv6_src" : "tun_src");
}

/// From which address what goes into the tunnel is sent: words to put before an output.
inline std::string tunnel_source(const BridgePorts& ports) {
  if (!ports.source) return {};
  return came_from(*ports.source) + ",";
}

/// Of the family of an address: packets from it, and packets to it.
inline std::string ip_from(const policy::IpAddress& ip) {
  return fmt::format("{}={}", ip.is_v6() ? "ipv6,ipv6_src" : "ip,nw_src", ip.to_string());
}
inline std::string ip_to(const policy::IpAddress& ip) {
  return fmt::format("{}={}", ip.is_v6() ? "ipv6,ipv6_dst" : "ip,nw_dst", ip.to_string());
}
/// The router's addresses, and one hop less.
inline std::string pass_hop(const policy::MacAddress& to) {
  return fmt::format("dec_ttl,set_field:{}->eth_src,set_field:{}->eth_dst", kRouterMac.to_string(),
                     to.to_string());
}

/// Flows on their way into an image, all of one owner.
class Emitter {
 public:
  /// `low` is the low half of the cookie.
  Emitter(FlowImage& image, std::string owner, std::uint32_t low = 0);
  void operator()(Table table, unsigned priority, std::string match, std::string actions) const;

 private:
  FlowImage& image_;
  std::string owner_;
  std::uint64_t cookie_;
};

/// The flows that are there whatever is desired.
void emit_pipeline(FlowImage& image, const BridgePorts& ports);

}  // namespace homeport::overlay::ovs
