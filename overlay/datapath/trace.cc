#include "overlay/datapath/trace.h"

#include "policy/port_rule.h"

#include <fmt/format.h>

namespace homeport::overlay {

namespace {

/// The field that says where it comes in.
std::string entrance(const TraceOrigin& origin) {
  if (const auto* port = std::get_if<FromPort>(&origin)) {
    return fmt::format("in_port={}", port->device);
  }
  if (const auto* tunnel = std::get_if<FromTunnel>(&origin)) {
    const policy::Vni vni = tunnel->vni | (tunnel->marked ? policy::kVniForwardedBit : 0);
    return fmt::format("tun_id={:#x},tun_{}src={}", vni, tunnel->vtep.is_v6() ? "ipv6_" : "",
                       tunnel->vtep.to_string());
  }
  return "in_port=LOCAL";
}

std::string protocol_of(const TracedPacket& packet) {
  const bool v6 = packet.destination.is_v6();
  switch (packet.protocol) {
    case 6:
      return v6 ? "tcp6" : "tcp";
    case 17:
      return v6 ? "udp6" : "udp";
    case 1:
      return "icmp,icmp_type=8";
    case 58:
      return "icmp6,icmpv6_type=128";
    case 132:
      return v6 ? "sctp6" : "sctp";
    default:
      return fmt::format("{},nw_proto={}", v6 ? "ipv6" : "ip", packet.protocol);
  }
}

/// With a comma in front; empty: it has none.
std::string ports_of(const TracedPacket& packet) {
  const std::string_view transport = policy::transport_name(packet.protocol);
  if (transport.empty() || (packet.source_port == 0 && packet.destination_port == 0)) return {};
  return fmt::format(",{0}_src={1},{0}_dst={2}", transport, packet.source_port,
                     packet.destination_port);
}

}  // namespace

std::optional<SizeOnRoute> size_on_route(const TracedPacket& packet, std::uint32_t mtu) {
  if (packet.length <= mtu) return std::nullopt;
  // Over IPv6 whoever sends it may cut it, whatever may be done with it on the way.
  const bool told = packet.dont_fragment && packet.destination.is_v4();
  return SizeOnRoute{{"size", fmt::format("ip route {}", packet.destination.to_string()),
                      fmt::format("{} bytes, {} fit: {}", packet.length, mtu,
                                  told ? fmt::format("the process is told {}", mtu)
                                       : std::string("this host sends it in fragments"))},
                     told};
}

std::string openflow_text(const TraceOrigin& origin, const TracedPacket& packet) {
  const char* family = packet.destination.is_v6() ? "ipv6" : "nw";
  return fmt::format("{},{},dl_src={},dl_dst={},{}_src={},{}_dst={},nw_ttl={}{}", entrance(origin),
                     protocol_of(packet), packet.source_mac.to_string(),
                     packet.destination_mac.to_string(), family, packet.source.to_string(), family,
                     packet.destination.to_string(), packet.hops, ports_of(packet));
}

}  // namespace homeport::overlay
