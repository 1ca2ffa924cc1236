// What a datapath does with one packet, step by step: which entry of its tables decided what. The
// steps have the names that docs/life-of-a-packet.md gives them, a test keeps the two in agreement.
#pragma once

#include "policy/address.h"

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace homeport::overlay {

/// An IP packet in its frame, as far as decisions look at it. One of ICMP is an echo request.
struct TracedPacket {
  policy::MacAddress source_mac, destination_mac;  ///< of no meaning from the host's own processes
  policy::IpAddress source, destination;           ///< of one family
  std::uint8_t protocol = 17;  ///< of the IP header: 6 TCP, 17 UDP, 1 or 58 ICMP
  std::uint32_t length = 0;    ///< of the IP packet, bytes
  std::uint32_t hops = 64;     ///< TTL or hop limit
  bool dont_fragment = true;   ///< IPv4; what IPv6 sends never may be on the way
  std::uint16_t source_port = 0, destination_port = 0;  ///< of TCP, UDP and SCTP; 0: of no rule
  bool operator==(const TracedPacket&) const = default;
};

/// An application sends it into its device.
struct FromPort {
  std::string device;
  /// Whose MAC address the application asks for first; none: the packet has it already.
  std::optional<policy::IpAddress> next_hop = {};
};
/// This host's own processes send it.
struct FromHost {};
/// Another host sends it.
struct FromTunnel {
  policy::IpAddress vtep;  ///< the outer source
  policy::Vni vni = 0;     ///< without the mark
  bool marked = false;
};
using TraceOrigin = std::variant<FromPort, FromHost, FromTunnel>;

inline constexpr std::array<std::string_view, 16> kTraceSteps = {
    "port", "neighbor", "vtep", "source", "destination", "group", "router", "route",
    "host", "held",     "mark", "size",   "class",       "path",  "label",  "delivery"};

struct TraceStep {
  std::string_view step;  ///< one of kTraceSteps
  std::string entry;      ///< table and key, "hp_addresses 7 02:00:00:00:00:05"; empty: no table
  std::string found;      ///< what is there and what follows, in words
  bool operator==(const TraceStep&) const = default;
};

enum class TraceEnd {
  delivered,  ///< to the device of its one copy
  sent,       ///< through the tunnel, to the host of its one copy
  copied,     ///< to the members of a group: any number of copies
  stack,      ///< to this host's own processes, or to be forwarded by it
  normal,     ///< its normal way: to the bridge of the port, by the host's other routes
  answered,   ///< back to the sender
  dropped,
};

struct TraceCopy {
  std::string device;                     ///< of this host; empty: it goes to `vtep`
  std::optional<policy::IpAddress> vtep;  ///< of another host
  bool marked = false;                    ///< to `vtep`
  policy::Vni label = 0;                  ///< under which the host at `vtep` relays it; 0: none
  bool operator==(const TraceCopy&) const = default;
};

struct Trace {
  std::vector<TraceStep> steps;
  TraceEnd end = TraceEnd::dropped;
  std::vector<TraceCopy> copies;
  /// What is counted for it, by the names of TotalCounters, in order: the last one says why it was
  /// dropped or answered.
  std::vector<std::string> counters;
  policy::Vni vni = 0;  ///< 0: it never got to a network
  TracedPacket packet;  ///< as it goes on
  bool operator==(const Trace&) const = default;
};

struct TraceAnswer {
  Trace found;  ///< by what is in the kernel now
  /// By what the datapath has left in the kernel itself, if that is something else: somebody has
  /// changed it since, and the next apply() mends it.
  std::optional<Trace> left;
};

/// "packets" of a trace that went through the datapath of a host, and how many of them ended how:
/// "delivered" (to a port or to the host itself), "sent", "copied" (to a group), "normal"; and by
/// the names of TotalCounters what was counted for them, which has what was dropped or answered.
/// What has not happened is left out.
using TraceCounts = std::map<std::string, std::uint64_t>;

/// Counts them from when it was made until it is destroyed, or its process ends. What goes through
/// the datapath while there is none of these is not slowed down.
class TraceCounter {
 public:
  virtual ~TraceCounter() = default;
  virtual TraceCounts counts() const = 0;
};

/// Whether a packet to that MAC address is for all or several.
inline bool is_group(const TracedPacket& packet) {
  return packet.destination_mac.multicast();
}

/// What this host's kernel does with a packet that its own processes send and that is longer than
/// `mtu`, its route's: tells the sender, or sends it in fragments. nullopt: it fits.
struct SizeOnRoute {
  TraceStep step;
  bool told = false;  ///< and nothing is sent
};
std::optional<SizeOnRoute> size_on_route(const TracedPacket& packet, std::uint32_t mtu);

/// The packet in the words of ovs-ofctl(8), for `ovs-appctl ofproto/trace BRIDGE FLOW`.
std::string openflow_text(const TraceOrigin& origin, const TracedPacket& packet);

}  // namespace homeport::overlay
