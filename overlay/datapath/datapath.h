// The datapath: carries frames between application ports of this host and, over VXLAN, those of
// other hosts. docs/life-of-a-packet.md walks through it.
//
// State is desired state: apply() reads back what is programmed, compares, and changes only what
// differs. What is programmed goes on forwarding when the agent is gone, and is adopted when it
// comes back.
#pragma once

#include "overlay/datapath/probe_wire.h"
#include "overlay/datapath/trace.h"
#include "policy/address.h"
#include "policy/error.h"
#include "policy/port_rule.h"
#include "policy/traffic_class.h"

#include <compare>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace homeport::overlay {

using policy::Result;

/// On this host: the name of a network device in the agent's network namespace.
struct LocalPort {
  std::string device;
  auto operator<=>(const LocalPort&) const = default;
};

/// On another host, named by its underlay address (VTEP, RFC 7348).
struct RemoteHost {
  policy::IpAddress vtep;
  std::weak_ordering operator<=>(const RemoteHost&) const = default;
};

using Location = std::variant<LocalPort, RemoteHost>;

/// Where one application's MAC address is, and which IP addresses are asked for it.
struct AddressEntry {
  policy::Vni vni = 0;
  policy::MacAddress mac;
  std::vector<policy::IpAddress> ips;  ///< ARP and ND for these are answered with `mac`.
  Location location;
  policy::Generation generation = 0;
  /// It was here and is remote now, and a host may not know that yet: what other hosts send here
  /// for it is sent on, once. Otherwise it is dropped.
  bool relayed = false;
  std::weak_ordering operator<=>(const AddressEntry&) const = default;
};

/// An application's device on this host.
struct Port {
  std::string device;
  policy::Vni vni = 0;
  policy::MacAddress mac;
  /// A destination that waits for its application: frames for (vni, mac) are delivered here
  /// although the address is still elsewhere, if they carry the forwarded mark or come from the
  /// very host the address entry points to, which only happens when that host redirects them. A
  /// third host may have relayed these, so where this host sends nothing on for the address, they
  /// may come from any. What is sent to a group comes from that very host.
  bool held = false;
  /// Of what the application sends, unless a packet says otherwise by its DSCP, or a rule by one of
  /// its ports.
  policy::TrafficClass traffic_class = policy::TrafficClass::best_effort;
  auto operator<=>(const Port&) const = default;
};

/// A network that has ports on this host.
struct NetworkEntry {
  policy::Vni vni = 0;
  /// Largest IP packet that fits the tunnel, usually tunnel_mtu(underlay MTU). Bigger ones are
  /// answered with "too big", or fragmented where that is allowed. 0 does not check.
  std::uint32_t mtu = 0;
  /// VTEPs of the other hosts that have an application of it: announcements, broadcast and
  /// multicast go there. At most 1,024 of a network are carried.
  std::vector<policy::IpAddress> hosts = {};
  /// Addresses of the router that every host is for the network's applications, at kRouterMac.
  std::vector<policy::IpAddress> gateways = {};
  /// What is not for an application is left to the host: to the bridge that the port is in, and of
  /// what is sent to the router, to the host's own routing. Otherwise it is dropped.
  bool normal = false;
  /// The hosts' own processes reach its applications by IP, and are reached by them.
  bool host_access = false;
  std::weak_ordering operator<=>(const NetworkEntry&) const = default;
};

/// An address of a host, which the applications of networks with host access reach.
struct HostAddress {
  policy::IpAddress address;
  std::optional<policy::IpAddress> vtep;  ///< of the host; none: this host
  std::weak_ordering operator<=>(const HostAddress&) const = default;
};

/// A further underlay address of another host: what comes from there comes from that host.
struct VtepAlias {
  policy::IpAddress address;
  policy::IpAddress vtep;
  std::weak_ordering operator<=>(const VtepAlias&) const = default;
};

/// By what a network is called on the wire to a host that relays: that host has given the label out
/// (RelayEntry), and makes of it the network and the host that it is for.
struct NetworkLabel {
  policy::Vni vni = 0;
  policy::Vni label = 0;  ///< of kFirstLabel to kLastLabel
  auto operator<=>(const NetworkLabel&) const = default;
};

/// The way to a host for a class of traffic: from which address of this host to which of that one.
/// Without an entry it is from this host's VTEP to that host's.
struct PathEntry {
  policy::IpAddress vtep;
  policy::TrafficClass traffic_class = policy::TrafficClass::best_effort;
  policy::IpAddress local, remote;  ///< of the same family
  /// `remote` is an address of a third host, which relays: the networks in `labels` go there, each
  /// under its label, and others as without an entry.
  bool relayed = false;
  std::vector<NetworkLabel> labels = {};
  std::weak_ordering operator<=>(const PathEntry&) const = default;
};

/// What this host relays: a frame of the network `label` from the host with the VTEP `from` goes on
/// to the host with the VTEP `to`, by this host's way there, as one of the network `vni`, with the
/// forwarded mark if it came with it. From any other host it is dropped.
struct RelayEntry {
  policy::Vni label = 0;
  policy::IpAddress from, to;
  policy::Vni vni = 0;
  std::weak_ordering operator<=>(const RelayEntry&) const = default;
};

/// Labels are network identifiers that no network has.
inline constexpr policy::Vni kFirstLabel = policy::kVniMax + 1,
                             kLastLabel = policy::kVniForwardedBit - 1;
constexpr bool is_label(policy::Vni vni) {
  return vni >= kFirstLabel && vni <= kLastLabel;
}
constexpr bool is_network(policy::Vni vni) {
  return vni >= 1 && vni < kFirstLabel;
}

/// An error where its addresses are of different families, or a label is none.
Result<void> check_path(const PathEntry& path);
/// An error where its label is none.
Result<void> check_relay(const RelayEntry& relay);

struct DesiredState {
  std::vector<NetworkEntry> networks;
  std::vector<Port> ports;
  std::vector<AddressEntry> addresses;
  /// Underlay addresses of the known hosts: frames from any other are dropped.
  std::vector<policy::IpAddress> vteps;
  std::vector<HostAddress> hosts = {};
  std::vector<VtepAlias> aliases = {};
  std::vector<PathEntry> paths = {};
  std::vector<RelayEntry> relays = {};
  /// By which the class is that of a transport port, in whatever network. Which of several decides:
  /// policy::decides_before(). Those that never do are not carried.
  std::vector<policy::PortRule> port_rules = {};
  bool operator==(const DesiredState&) const = default;
};

/// How a state differs from the one before, in few of its entries. Hosts that come or go, and what
/// networks are like otherwise, are no such change.
struct StateChange {
  /// As they were: every entry that is not any more, or is another now. One of a port that is in
  /// `ports_before` is among them.
  std::vector<AddressEntry> before;
  std::vector<AddressEntry> now;
  /// Those that have come, or have other `hosts` now, as they are now.
  std::vector<NetworkEntry> networks;
  std::vector<NetworkEntry> networks_gone = {};  ///< As they were.
  /// Likewise. A port that is the same in both is looked at again: its device may be another.
  std::vector<Port> ports_before = {};
  std::vector<Port> ports = {};

  bool empty() const {
    return before.empty() && now.empty() && networks.empty() && networks_gone.empty() &&
           ports_before.empty() && ports.empty();
  }
};

/// Sorts everything, and settles the rules for ports, so that equal states compare equal.
void normalize(DesiredState& state);

/// What `programmed` has less, more or otherwise than `desired`, both normalized: a sentence each,
/// `limit` at most. Empty: they are the same.
std::vector<std::string> differences(const DesiredState& desired, const DesiredState& programmed,
                                     std::size_t limit = 100);

/// A packet is counted once however many segments it carries (GSO), as devices count it.
struct PortCounters {
  std::uint64_t delivered_packets = 0, delivered_bytes = 0;  ///< Handed to the port's device.
  std::uint64_t received_packets = 0, received_bytes = 0;    ///< Sent by the application.
};

/// Events and drops of the whole datapath since it was first set up. What each one means and
/// where it happens: docs/life-of-a-packet.md.
struct TotalCounters {
  std::uint64_t forwarded = 0;          ///< Sent on to another host, marked.
  std::uint64_t relayed = 0;            ///< Of two other hosts: sent on from one to the other.
  std::uint64_t delivered_held = 0;     ///< Delivered to a held port.
  std::uint64_t delivered_fast = 0;     ///< Delivered past the VXLAN device.
  std::uint64_t sent_fast = 0;          ///< Sent to another host past the VXLAN device.
  std::uint64_t neighbor_answers = 0;   ///< ARP requests and neighbor solicitations answered.
  std::uint64_t announcements = 0;      ///< Gratuitous ARP, unsolicited NA, RARP passed on.
  std::uint64_t multicast = 0;          ///< Other broadcast or multicast passed on.
  std::uint64_t routed = 0;             ///< By IP: between subnets, from or to a host's processes.
  std::uint64_t probes = 0;             ///< Asked for one's own address: left unanswered.
  std::uint64_t too_big_answers = 0;    ///< ICMP "fragmentation needed" / ICMPv6 "too big" sent.
  std::uint64_t fragmented = 0;         ///< Too big, sent in fragments.
  std::uint64_t drop_unknown_port = 0;  ///< From a device that is no port.
  std::uint64_t drop_unknown_address = 0;
  std::uint64_t drop_elsewhere = 0;            ///< For an application that is not (any more) here.
  std::uint64_t drop_unknown_neighbor = 0;     ///< ARP or ND for an address nobody has.
  std::uint64_t drop_forged_source = 0;        ///< From a MAC address that is not its sender's.
  std::uint64_t drop_forged_announcement = 0;  ///< Of an address that is not its sender's.
  std::uint64_t drop_multicast = 0;            ///< To a group, and no group's: see the page.
  std::uint64_t drop_expired = 0;              ///< Routed until its TTL or hop limit was used up.
  std::uint64_t drop_unknown_network = 0;      ///< VNI without a network here.
  std::uint64_t drop_unknown_vtep = 0;         ///< Outer source is no known host.
  std::uint64_t drop_unknown_label = 0;        ///< To be relayed: not by this host for that one.
  std::uint64_t drop_forwarded_twice = 0;      ///< Marked, and not for anyone here.
  std::uint64_t drop_too_big = 0;              ///< Where neither an answer nor fragments help.
  std::uint64_t drop_malformed = 0;            ///< Too short, or no tunnel key.
  bool operator==(const TotalCounters&) const = default;
};

/// Used from one thread. Calls block for some system calls each, none waits for the network.
class Datapath {
 public:
  virtual ~Datapath() = default;

  /// Makes the datapath be `desired`. Everything that can be done is done even when something
  /// cannot (a port whose device is missing, say); the error then names all that could not.
  virtual Result<void> apply(const DesiredState& desired) = 0;

  /// Changes the state last applied, at the cost of the change. False, with nothing done, where
  /// that cannot be told from the change alone (an address that two applications claim, say):
  /// apply() it then.
  virtual Result<bool> update(const StateChange& change);

  /// Whether everything still is as this object left it: the cheap way to find out that apply() has
  /// nothing to mend. False too when it does not know what it left.
  virtual Result<bool> untouched();

  /// What the last apply() or update() found different from what this object had left, and has
  /// mended: somebody else deleted or wrote it. One clause each, "the filter of tap1 was missing".
  virtual const std::vector<std::string>& mended() const = 0;

  /// What is programmed now, read from the kernel, sorted. A port without its filter is left
  /// out; a device that is gone is named "#<index>".
  virtual Result<DesiredState> read_back() = 0;

  /// What carries frames and is no part of that state, where it is not in place: a sentence each.
  virtual Result<std::vector<std::string>> detached();

  /// Programs one entry at once (eBPF: microseconds; Open vSwitch: milliseconds): the redirect just
  /// before an application stops. Takes the entry's place in the state last applied; the next
  /// apply() decides anew. When an entry leaves a port of this host, no frame is sent there any
  /// more once this has returned; other changes may take a switch a moment longer.
  virtual Result<void> set_address(const AddressEntry& entry) = 0;

  /// Programs one path at once: everything that goes to that host in that class changes over with
  /// it, whatever its address. Takes the entry's place in the state last applied. Errors: those of
  /// check_path().
  virtual Result<void> set_path(const PathEntry& entry) = 0;

  /// To probe ways to other hosts by; lives no longer than this object. Errors:
  /// operation_not_supported.
  virtual Result<std::unique_ptr<ProbeWire>> probe_wire();

  virtual Result<PortCounters> counters(const std::string& device) = 0;
  virtual Result<TotalCounters> counters() = 0;

  /// What becomes of a packet here, by what the kernel has now. Changes nothing. Errors:
  /// operation_not_supported, with what to ask instead, where a datapath cannot tell.
  virtual Result<TraceAnswer> trace(const TraceOrigin& origin, const TracedPacket& packet);
  /// Counts such packets from now on: of that origin (whatever host they come from), addresses and
  /// protocol. Takes tens of milliseconds, as does the end of what it returns, and may be called
  /// from any thread. Errors: as trace(); a kernel that cannot.
  virtual Result<std::unique_ptr<TraceCounter>> count(const TraceOrigin& origin,
                                                      const TracedPacket& packet);
};

/// Of the router that every host is for its applications: the same everywhere, so that an
/// application that has moved goes on sending to it.
inline constexpr policy::MacAddress kRouterMac{{0x02, 0x48, 0x50, 0x00, 0x00, 0x01}};

/// The outer headers of the largest encapsulation: IPv6 40, UDP 8, VXLAN 8, inner Ethernet 14.
inline constexpr std::uint32_t kTunnelOverhead = 70;
constexpr std::uint32_t tunnel_mtu(std::uint32_t underlay_mtu) {
  return underlay_mtu - kTunnelOverhead;
}

}  // namespace homeport::overlay
