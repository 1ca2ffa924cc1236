// The tables that Homeport's flows make of a bridge, and what travels between them.
// docs/ovs-datapath.md walks through them.
//
// Table 0 belongs to everybody; there Homeport has one flow for each of its ports, which sends on
// to tables that are its own by convention. Other people's flows in any table are left alone. What
// goes its normal way comes back to table 0, where Homeport's flows do not take it again.
#pragma once

#include <cstdint>

namespace homeport::overlay::ovs {

enum Table : std::uint8_t {
  kEntry = 0,         ///< from which port
  kFromPort = 200,    ///< an application speaks for itself only
  kFromTunnel = 201,  ///< known hosts only
  kAddress = 202,     ///< where is the destination
  kRoute = 203,       ///< deliver, send, or look closer at what came from another host
  kSource = 204,      ///< from another host: is the sender of this network
  kArrived = 205,     ///< from another host: deliver, hold, send on
  kDeliver = 206,     ///< out of a port
  kGroup = 207,       ///< broadcast and multicast
  kNeighbor = 208,    ///< ARP, neighbor discovery, announcements: asked for which address
  kJudge = 209,       ///< announcements: of one's own address
  kSpoken = 210,      ///< what its sender may say: announced, asked, routed
  kMember = 211,      ///< to a group: whose application is here
  kAnswer = 212,      ///< ARP, neighbor discovery: turned into the answer
  kAdvertise = 213,   ///< neighbor discovery: the rest of the answer
  kSender = 214,      ///< from one's own IP address
  kCopy = 215,        ///< to a group: to all of the network
  kSend = 216,        ///< into the tunnel
  kCount = 217,       ///< one flow for each counter
  kOther = 218,       ///< to a group: what neither asks for an address nor announces one
  kRouter = 219,      ///< to the router
  kHop = 220,         ///< routed: by the IP destination
  kFromHost = 221,    ///< from the host's own processes: to which application
  kHome = 222,        ///< from another host to the router: an address of this host
  kPeer = 223,        ///< the same: from an address of the network
  kToHost = 224,      ///< to the host's own processes
  kLeave = 225,       ///< the normal way: to other people's flows in table 0
  kFit = 226,         ///< into the tunnel what fits; to the agent what does not
  kSpread = 227,      ///< to a group: the same, to all hosts of the network
  kFar = 228,         ///< to a group: is it too big for that
  kClaim = 229,       ///< ARP, neighbor discovery to one station: says where its sender is
  kTarget = 230,      ///< the same: says where another address is
  kClass = 231,       ///< into the tunnel: a class that the packet itself says, or a rule for ports
  kPath = 232,        ///< into the tunnel: the way to the host for that class
  kTunnel = 233,      ///< out of the tunnel's port
  kProbe = 234,       ///< from another host: probes, which are sent back, or are answers
  kRelay = 235,       ///< from another host for a third: under which label, for whom
  kLabel = 236,       ///< into the tunnel: what the network is called by the host that relays it
};

/// Of Homeport's flow for a port in table 0.
inline constexpr std::uint16_t kEntryPriority = 45000;

/// In table kClass, of what a packet says itself, before what rules for ports say of it.
inline constexpr std::uint16_t kSaidPriority = 1000;

/// Of the flow for each address of a known host in table kFromTunnel, which tells of it. That for
/// its probes comes first.
inline constexpr std::uint16_t kKnownPriority = 1;

/// Cookies: "HP", then 16 bits of whose flow it is, then the low 32 bits of the generation.
inline constexpr std::uint64_t kCookie = 0x4850ull << 48;
inline constexpr std::uint64_t kCookieMask = 0xffffull << 48;

// Registers: reg0 is the network, reg2 and reg3 (xreg1) the MAC address to answer with, reg5 the
// port to deliver to, reg6 the counter, reg7 the class of traffic, reg1 what is known of the
// packet:
enum Known : std::uint32_t {
  kTunnelled = 0x1,     ///< came from another host
  kMarked = 0x2,        ///< with the mark
  kElsewhere = 0x4,     ///< the destination is on another host, tun_dst
  kOwn = 0x8,           ///< its source MAC address is that of its port, or one of the network
  kLong = 0x10,         ///< longer than announcements are
  kToMany = 0x20,       ///< came from another host, to a group
  kToRouter = 0x40,     ///< to the router
  kQuestion = 0x80,     ///< a solicitation for an address that is in no binding
  kNormalWay = 0x100,   ///< from a network that lets things go their normal way
  kHostAccess = 0x200,  ///< from a network with host access
  kLeft = 0x400,        ///< goes its normal way: not Homeport's any more
  kTooBig = 0x800,      ///< does not fit the tunnel
  kTrue = 0x1000,       ///< tells its receiver of no address that it is its sender's and is not
  kDirect = 0x2000,     ///< goes into the tunnel to the host that it is for, by no third one
};

/// A switch asks for the length of a packet by going both ways, and counts both: so this is the
/// last thing asked, and nothing is counted behind it but what ports are given.

/// What does not fit the tunnel is handed to the agent by controller() with this number ("HP"), no
/// more of each port than its meter lets pass: so many a second, and as many at once. All of a
/// packet is, since it may have to be cut.
inline constexpr std::uint16_t kController = 0x4850;
inline constexpr std::uint32_t kTooBigRate = 100;
/// The meter of a port is that number in the high half, and its OpenFlow port in the low.
inline constexpr std::uint32_t kMeter = 0x4850u << 16;
inline constexpr std::uint32_t kMeterMask = 0xffffu << 16;
constexpr std::uint32_t meter_of(std::int64_t port) {
  return kMeter | static_cast<std::uint16_t>(port);
}

/// So are probes, a copy of those of other hosts and the answers to this one's: so many bytes of
/// each, and so many a second, by the meter of the tunnel's port. The tags say which it is.
inline constexpr std::uint32_t kProbeRate = 2000;
inline constexpr std::uint16_t kProbeBytes = 64;
inline constexpr std::uint8_t kAskTag = 1, kAnswerTag = 2;

/// The longest announcement, an advertisement with its one option.
inline constexpr unsigned kLongestAnnouncement = 86;

/// Those of TotalCounters that flows can count, and the number of each in reg6.
#define HOMEPORT_OVS_COUNTERS(X) \
  X(forwarded)                   \
  X(relayed)                     \
  X(delivered_held)              \
  X(neighbor_answers)            \
  X(announcements)               \
  X(multicast)                   \
  X(routed)                      \
  X(probes)                      \
  X(drop_unknown_address)        \
  X(drop_elsewhere)              \
  X(drop_unknown_neighbor)       \
  X(drop_forged_source)          \
  X(drop_forged_announcement)    \
  X(drop_multicast)              \
  X(drop_expired)                \
  X(drop_unknown_network)        \
  X(drop_unknown_vtep)           \
  X(drop_unknown_label)          \
  X(drop_forwarded_twice)

enum class Counter : unsigned {
  none,  // reg6 is 0 in a packet that is not counted
#define X(name) name,
  HOMEPORT_OVS_COUNTERS(X)
#undef X
};

}  // namespace homeport::overlay::ovs
