// What of the control database an agent follows: not the whole fleet, but what its host has to do
// with. docs/control-database.md says it in words.
#pragma once

#include "agent/control/database.h"

#include <chrono>
#include <map>
#include <set>
#include <string>

namespace homeport::agent {

/// In a fleet of up to so many hosts an agent follows the signs of life and the tasks of all of
/// them, and its status tells of them. In a larger one it follows its own only: those of all would
/// be most of what the server has to send.
inline constexpr std::size_t kSmallFleet = 64;

/// What a host has to do with.
struct Concern {
  /// Located here, on their way here or from here, or here whatever the database says.
  std::set<std::string> applications;
  /// Those that the bindings of these applications are in, and those with host access, which every
  /// host carries.
  std::set<std::string> networks;
  /// There is a network with host access: the addresses of all hosts are needed.
  bool hosts_reached = false;
  /// Tasks of which this host has written what became of them: it must see them go.
  std::set<std::string> tasks_of;
  bool operator==(const Concern&) const = default;
};

/// As far as the rows at hand tell: further rows may add to it. `guests`: applications that are
/// here whatever the database says. Pure; takes as long as there are applications and tasks of this
/// host, not as there are bindings, where `contents.bindings` has this host as its home.
Concern concern_of(const Contents& contents, const std::string& host,
                   const std::set<std::string>& guests);

/// The rows to monitor. `hosts`: how many there are.
overlay::ovsdb::Conditions conditions_of(const Concern& concern, const std::string& host,
                                         std::size_t hosts);

/// From the conditions in force, the next ones on the way to those `wanted`. The bindings of many
/// networks are asked for by a few networks at a time: neither the server nor this host then has
/// to handle all of them in one message, which would take more memory than they do.
overlay::ovsdb::Conditions step_of(const overlay::ovsdb::Conditions& in_force,
                                   overlay::ovsdb::Conditions wanted);
inline constexpr std::size_t kNetworksAtOnce = 16;

/// Whether any of these changes may change concern_of().
bool may_concern(const Changes& changes, const Contents& contents, const std::string& host,
                 const Concern& before);

/// The concern of a host over time. What has concerned it goes on doing so for a while: a network
/// whose last application has left, because hosts that have not heard of it yet still send here,
/// and what they send has to be sent on.
class Interest {
 public:
  using Clock = std::chrono::steady_clock;

  /// `carried`: networks that the datapath of this host carries already, from before the agent was
  /// restarted.
  Interest(std::string host, std::chrono::seconds linger, std::set<policy::Vni> carried);

  overlay::ovsdb::Conditions follow(const Contents& contents, const std::set<std::string>& guests,
                                    Clock::time_point now);
  const std::string& host() const { return host_; }
  /// What concerned it at the last follow(), and until `linger` before.
  const Concern& concern() const { return concern_; }

 private:
  std::string host_;
  std::chrono::seconds linger_;
  std::set<policy::Vni> carried_;
  Concern concern_;
  std::map<std::string, Clock::time_point> applications_, networks_;  ///< Until when.
};

}  // namespace homeport::agent
