// Rules by which the class of traffic is that of a transport port: "tcp:22", "udp:5000-5999".
#pragma once

#include "policy/error.h"
#include "policy/traffic_class.h"

#include <compare>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace homeport::policy {

/// Ports of one transport protocol, from `first` to `last`.
struct PortRange {
  std::uint8_t protocol = 0;  ///< of the IP header: 6 TCP, 17 UDP, 132 SCTP
  std::uint16_t first = 0, last = 0;
  auto operator<=>(const PortRange&) const = default;
};

/// PROTOCOL:PORT or PROTOCOL:FIRST-LAST, of tcp, udp and sctp, ports from 1 to 65535. The error is
/// a sentence that says what to write instead.
Result<PortRange> parse_ports(std::string_view text);
/// Of what parse_ports() gives: the same text again.
std::string to_string(const PortRange& ports);
/// "tcp", "udp", "sctp"; empty: it is none that has ports here.
std::string_view transport_name(std::uint8_t protocol);

/// What has one of the ports, as source or destination, is of that class.
struct PortRule {
  PortRange ports;
  TrafficClass traffic_class = TrafficClass::best_effort;
  auto operator<=>(const PortRule&) const = default;
};

/// Which of two rules decides where both fit a packet, be it by its source port, its destination
/// port, or one by each: that of fewer ports, then that of the lower first port. Of the same ports,
/// interactive comes before default, and that before bulk.
bool decides_before(const PortRule& one, const PortRule& other);

/// Ports of a rule for which it decides where it fits by that port alone.
struct RuleSegment {
  std::size_t rule = 0;  ///< index
  std::uint16_t first = 0, last = 0;
  auto operator<=>(const RuleSegment&) const = default;
};
/// Of rules in the order of decides_before(): for each port one at most. A rule whose ports are all
/// those of rules before it has none.
std::vector<RuleSegment> segments_of(const std::vector<PortRule>& rules);

/// Puts rules into the order of decides_before(), and leaves out those that never decide.
void settle(std::vector<PortRule>& rules);

/// All ports whose first `bits` bits are those of `port`.
struct PortPrefix {
  std::uint16_t port = 0;
  unsigned bits = 16;
  std::uint16_t mask() const { return static_cast<std::uint16_t>(0xffff0000u >> bits); }
  auto operator<=>(const PortPrefix&) const = default;
};
/// The ports from `first` to `last` as prefixes: as few as there can be, 30 at most.
std::vector<PortPrefix> prefixes_of(std::uint16_t first, std::uint16_t last);

}  // namespace homeport::policy
