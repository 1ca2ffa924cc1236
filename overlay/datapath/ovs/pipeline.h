// The tables that Homeport's flows make of a bridge, and what travels between them.
// docs/ovs-datapath.md walks through them.
//
// Table 0 belongs to everybody; there Homeport has one flow for each of its ports, which sends on
// to tables that are its own by convention. Other people's flows in any table are left alone.
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
  kAnnounce = 210,    ///< announcements: no longer than they need to be
  kMember = 211,      ///< announcements: whose application is here
  kAnswer = 212,      ///< ARP, neighbor discovery: turned into the answer
  kAdvertise = 213,   ///< neighbor discovery: the rest of the answer
  kSender = 214,      ///< advertisements: from one's own address
  kCopy = 215,        ///< announcements: to all of the network
  kSend = 216,        ///< into the tunnel
  kCount = 217,       ///< one flow for each counter
};

/// Of Homeport's flow for a port in table 0.
inline constexpr std::uint16_t kEntryPriority = 45000;

/// Cookies: "HP", then 16 bits of whose flow it is, then the low 32 bits of the generation.
inline constexpr std::uint64_t kCookie = 0x4850ull << 48;
inline constexpr std::uint64_t kCookieMask = 0xffffull << 48;

// Registers: reg0 is the network, reg2 and reg3 (xreg1) the MAC address to answer with, reg5 the
// port to deliver to, reg6 the counter, reg1 what is known of the packet:
enum Known : std::uint32_t {
  kTunnelled = 0x1,  ///< came from another host
  kMarked = 0x2,     ///< with the mark
  kElsewhere = 0x4,  ///< the destination is on another host, tun_dst
  kOwn = 0x8,        ///< its source MAC address is that of its port
  kLong = 0x10,      ///< longer than announcements are
  kForged = 0x20,    ///< an announcement that is not true
};

/// The longest announcement, an advertisement with its one option. A switch asks for the length of
/// a packet by going both ways, and counts both: so this is the last thing asked, and nothing is
/// counted behind it but what ports are given.
inline constexpr unsigned kLongestAnnouncement = 86;

/// Those of TotalCounters that flows can count, and the number of each in reg6.
#define HOMEPORT_OVS_COUNTERS(X) \
  X(forwarded)                   \
  X(delivered_held)              \
  X(neighbor_answers)            \
  X(announcements)               \
  X(probes)                      \
  X(drop_unknown_address)        \
  X(drop_unknown_neighbor)       \
  X(drop_forged_source)          \
  X(drop_forged_announcement)    \
  X(drop_multicast)              \
  X(drop_unknown_network)        \
  X(drop_unknown_vtep)           \
  X(drop_forwarded_twice)

enum class Counter : unsigned {
  none,  // reg6 is 0 in a packet that is not counted
#define X(name) name,
  HOMEPORT_OVS_COUNTERS(X)
#undef X
};

}  // namespace homeport::overlay::ovs
