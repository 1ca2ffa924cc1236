// What the datapath of this host should be, computed from the control database and what is special
// here while an application is on the move. Pure: the same inputs give the same state, and a full
// recompute is the test oracle.
#pragma once

#include "agent/control/database.h"
#include "agent/network/hearsay.h"
#include "overlay/datapath/datapath.h"

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace homeport::agent {

/// What a move under way adds to what the database says about one application.
struct MoveView {
  enum class Place {
    incoming,    ///< held here: its ports take only what its host sends on to them
    here,        ///< it is here, whatever the database says yet
    redirected,  ///< it is on its way to `host`: everything for it goes there
  };
  Place place = Place::incoming;
  std::string host;  ///< for redirected

  bool operator==(const MoveView&) const = default;
};

/// The host, by its VTEP, and what is sent there.
using WayKey = std::pair<policy::IpAddress, policy::TrafficClass>;
/// From an address of this host to one of that host, or of one that relays.
struct Way {
  policy::IpAddress local, remote;
  bool relayed = false;
  std::vector<overlay::NetworkLabel> labels = {};  ///< sorted; see overlay::PathEntry
  bool operator==(const Way&) const = default;
};

struct LocalView {
  std::string host;                    ///< this host's name
  std::set<std::string> devices = {};  ///< network devices that exist here
  std::uint32_t mtu_limit = 0;         ///< largest packet the underlay lets through a tunnel
  std::map<std::string, MoveView> moves = {};  ///< by application
  /// Bindings that are or were here: of those that are elsewhere by now, somebody may not know it.
  std::set<std::string> been_here = {};
  std::map<std::string, Hearsay::Told> told = {};  ///< by binding; newer than the database
  policy::IpAddress vtep = {};  ///< this host's; unspecified: nobody is asked for its family
  /// By which this host reaches the control database: of no application for its processes.
  std::set<policy::IpAddress> database = {};
  /// Further underlay addresses of other hosts, by VTEP, as each has said of itself.
  std::map<policy::IpAddress, std::set<policy::IpAddress>> aliases = {};
  /// The ways to other hosts, by VTEP and class, where there is another choice than the VTEPs.
  std::map<WayKey, Way> ways = {};
  /// What this host relays for others, as far as both hosts are known.
  std::vector<overlay::RelayEntry> relays = {};
};

/// The VTEP of `host` to which a host sends whose own is `own`: of the same family (an unspecified
/// one sends to any). nullptr: there is none, and the two do not reach each other.
const policy::IpAddress* vtep_towards(const Host& host, const policy::IpAddress& own);

/// The name of the tap that carries a binding on any host: at most 15 characters (IFNAMSIZ), the
/// same on every host and after every restart.
std::string tap_name(const std::string& binding);

/// The device of a binding on the host where its application is: its tap, or the device named by an
/// application of driver "netdev". Empty when the database does not say.
std::string device_of(const Contents& contents, const Binding& binding);

/// The MTU of ports in this network.
std::uint32_t mtu_of(const Network& network, std::uint32_t mtu_limit);

/// How many bindings of a network are at each of the other hosts, by VTEP.
using HostCounts = std::map<policy::Vni, std::map<policy::IpAddress, std::size_t>>;

/// What a binding has in the desired state, if that is not just an entry of another host as the
/// database has it: it is here or on its way, it has been here, another host has told of it, or
/// something is wrong with it.
struct Own {
  std::optional<overlay::AddressEntry> address;
  std::optional<overlay::Port> port;
  std::string device;  ///< See device_of().
  std::vector<std::string> problems;

  /// It has a port of this host, and is delivered there.
  bool is_here() const;
};

/// Bindings that cannot be programmed (their host has no VTEP, their network is unknown or has the
/// VNI of another, their device is missing), and prior addresses outside their network, are left
/// out and named in problems(). So is a traffic class that is none, in place of which the default
/// one is taken.
struct Desired {
  overlay::DesiredState state;
  /// What change_of() goes by.
  std::map<std::string, Own> own;  ///< By binding.
  HostCounts hosts;
  std::map<policy::Vni, std::size_t> ports;    ///< How many ports a network has.
  std::map<std::string, std::string> refused;  ///< Networks with the VNI of another, by name.
  std::uint64_t known_hosts = 0;               ///< See digest_of().

  std::vector<std::string> problems() const;
};
Desired desired_state(const Contents& contents, const LocalView& view);

/// The part of desired_state() that is one binding's, whose network is not refused.
Own own_of(const Contents& contents, const LocalView& view, const Binding& binding);
/// Whether it may have more than an entry of another host as the database has it.
bool is_own(const LocalView& view, const Binding& binding);
/// Of the network that has, or has not, applications here; nullopt where it is not carried here.
std::optional<overlay::NetworkEntry> network_entry(const Desired& desired, const LocalView& view,
                                                   const Network& network);
/// Of what the desired state takes from the rows of hosts, of which most else may change.
std::uint64_t digest_of(const std::map<std::string, Host>& hosts);

/// The one entry of `binding`; nullopt where it has none (with a sentence added to `problems` if
/// that is not as it should be).
std::optional<overlay::AddressEntry> address_of(const Contents& contents, const LocalView& view,
                                                const Binding& binding,
                                                std::vector<std::string>& problems);

}  // namespace homeport::agent
