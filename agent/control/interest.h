// What of the control database an agent follows: not the whole fleet, but what its host has to do
// with. docs/control-database.md says it in words.
#pragma once

#include "agent/control/database.h"

#include <chrono>
#include <cstddef>
#include <map>
#include <set>
#include <string>

namespace homeport::agent {

/// In a fleet of up to so many hosts an agent follows the signs of life and the tasks of all of
/// them, and its status tells of them. In a larger one it follows its own only: those of all would
/// be most of what the server has to send.
inline constexpr std::size_t kSmallFleet = 64;

/// In a larger fleet the server's time is what is short: it compares every row of a table with a
/// condition that changes. At 100,000 rows that is 95 ms for Application and 145 ms for Binding; to
/// find one row by its name takes 25 ms, and by its UUID next to nothing (ovsdb-server 3.1). So
/// applications that come or go do not change the condition of Application before they are this
/// many: until then their rows are read (read_rows.h).
inline constexpr std::size_t kManyNames = 50;
/// Unless this many come at once: then to read them would cost the server more.
inline constexpr std::size_t kManyAtOnce = 4;

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
  /// Of the applications: those on their way here.
  std::set<std::string> incoming;
  /// Tasks that have not ended, of the applications that are here or on their way here.
  std::map<std::string, std::set<Uuid>> open_tasks;
  bool operator==(const Concern&) const = default;
};

/// As far as the rows at hand tell: further rows may add to it. `guests`: applications that are
/// here whatever the database says. Pure; takes as long as there are applications and tasks of this
/// host, not as there are bindings, where `contents.bindings` has this host as its home.
Concern concern_of(const Contents& contents, const std::string& host,
                   const std::set<std::string>& guests);

/// The rows to monitor. `hosts`: how many there are. In a large fleet the bindings are those of the
/// networks and those located here: what the other bindings of an application on its way here are,
/// is for reading.
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

/// What is to be read of an application, because no condition asks for it.
struct Reading {
  bool row = false;           ///< Its row of Application.
  bool bindings = false;      ///< Its bindings, in whatever network.
  std::set<Uuid> tasks = {};  ///< Before one of these is acted on, it is read once more.
  KnownRows at = {};          ///< Where to look first, before it is searched for by its name.
  bool operator==(const Reading&) const = default;
};
using Readings = std::map<std::string, Reading>;  ///< By application.

/// An application that is about to come.
struct Expectation {
  KnownRows rows = {};                               ///< Where its source says they are.
  std::chrono::steady_clock::time_point until = {};  ///< For whoever keeps it.
};
using Expected = std::map<std::string, Expectation>;  ///< By application.

struct Following {
  overlay::ovsdb::Conditions conditions;
  Readings readings;
};

/// The concern of a host over time. What has concerned it goes on doing so for a while: a network
/// whose last application has left, because hosts that have not heard of it yet still send here,
/// and what they send has to be sent on.
class Interest {
 public:
  using Clock = std::chrono::steady_clock;

  /// `carried`: networks that the datapath of this host carries already, from before the agent was
  /// restarted.
  Interest(std::string host, std::chrono::seconds linger, std::set<policy::Vni> carried);

  /// `in_force`: the conditions of which all rows are at hand. Returns the next step from there
  /// (step_of()), and what is to be read beside it. What a task says will come is not read before
  /// it is `expected`: until its source says where to find it.
  Following follow(const Contents& contents, std::set<std::string> guests, const Expected& expected,
                   const overlay::ovsdb::Conditions& in_force, Clock::time_point now);
  const std::string& host() const { return host_; }
  /// What concerned it at the last follow(), and until `linger` before.
  const Concern& concern() const { return concern_; }

 private:
  /// Brings asked_ up to date when that is due.
  void ask(std::size_t hosts);
  Readings readings(const Contents& contents, const Expected& expected,
                    const overlay::ovsdb::Conditions& in_force);

  std::string host_;
  std::chrono::seconds linger_;
  std::set<policy::Vni> carried_;
  Concern concern_;
  std::map<std::string, Clock::time_point> applications_, networks_;  ///< Until when.
  std::set<std::string> asked_;  ///< Applications that the condition names.
  /// Applications of concern that have been at home meanwhile: their networks are followed.
  std::set<std::string> known_;
  /// Those that only a task says will come.
  std::set<std::string> waiting_;
  Readings readings_;  ///< At the last follow().
};

}  // namespace homeport::agent
