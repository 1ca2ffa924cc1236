// This host's part of the virtual network: follows the control database, and does for a move what
// the database does not say yet.
#pragma once

#include "agent/control/database.h"
#include "agent/network/desired_change.h"
#include "agent/network/desired_state.h"
#include "agent/network/hearsay.h"
#include "migration/move/edges.h"
#include "overlay/datapath/datapath.h"
#include "overlay/link/monitor.h"

#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace homeport::agent {

/// Used on the control executor only.
class VirtualNetwork : public migration::Traffic {
 public:
  /// The names of the network devices of this host.
  struct Devices {
    std::function<std::set<std::string>()> all;
    std::function<bool(const std::string&)> has;
  };
  /// Those of this thread's network namespace.
  static Devices devices_here();

  /// `self`: what of LocalView this host is from the beginning.
  VirtualNetwork(const ControlDatabase& database, overlay::Datapath& datapath, LocalView self,
                 Devices devices = devices_here());

  /// Makes the datapath follow the database again, whatever has changed. Does nothing before the
  /// first contents are there, so that an agent that starts leaves what is programmed as it is.
  void reconcile();
  /// The same after a change of the database, at the cost of the change where no network or host is
  /// concerned.
  void follow(const Changes& changes);
  /// The same to repair what somebody else changed; looks for that first, which is cheaper.
  void repair();
  /// The same when a device of an application has come or gone, at the cost of that application;
  /// and when another has.
  void on_link_event(const overlay::LinkEvent& event);

  /// What could not be done, as sentences; empty when all is well.
  const std::vector<std::string>& problems() const { return problems_; }
  /// How what is programmed differs from what a recompute from all of the database would program:
  /// a sentence each; empty, as it should be, but for the moment until the next reconcile(). Looks
  /// and changes nothing.
  migration::Result<std::vector<std::string>> differences() const;
  /// True once the datapath has followed the database.
  bool programmed() const { return programmed_; }
  /// What applications are to moves here.
  const std::map<std::string, MoveView>& moves() const { return view_.moves; }
  /// What the application is to a move here, if there is one.
  const MoveView* move_of(const std::string& application) const;

  /// Bindings that are here, or have been and others may still send here for them.
  const std::set<std::string>& been_here() const { return view_.been_here; }
  /// Nobody sends here any more for a binding that has left.
  void settled(const std::string& binding);
  /// `from`, a host, says that it has given up a binding. Returns why it cannot be told that what
  /// is sent from here goes to where that is now; empty when it does.
  std::string hear(const std::string& from, const Moved& moved);

  /// The VTEPs of the hosts that have an application of a network that is carried here, and these
  /// networks.
  std::map<policy::IpAddress, std::set<policy::Vni>> neighbors() const;
  /// Those that are carried here of which every host's processes are a part.
  std::set<policy::Vni> open_networks() const;
  /// Another number whenever they may be others.
  std::uint64_t neighbors_version() const { return neighbors_version_; }
  /// The ways in use, of an earlier agent of this host to begin with.
  const std::map<WayKey, Way>& ways() const { return view_.ways; }
  /// What is sent to the host with that VTEP in that class takes this way from now on. From VTEP to
  /// VTEP is what it does anyway; told of here, the datapath tells of its use, too
  /// (overlay::ProbeWire::used()).
  void use_way(const WayKey& key, const Way& way);
  /// The host with that VTEP has these underlay addresses beside it, as far as no other host has
  /// said so before. True if that is news, which the next reconcile() makes known to the datapath.
  bool set_aliases(const policy::IpAddress& vtep, std::set<policy::IpAddress> addresses);
  /// Nobody looks after the ways to that host any more: from the next reconcile() on there is none
  /// but that to its VTEP. True if there were others.
  bool forget_ways(const policy::IpAddress& vtep);
  /// Whether the host with that VTEP has this underlay address.
  bool has_address(const policy::IpAddress& vtep, const policy::IpAddress& address) const;
  /// What is relayed, of an earlier agent of this host to begin with.
  const std::vector<overlay::RelayEntry>& relays() const { return view_.relays; }
  /// Likewise, from the next reconcile() on. True if that is news.
  bool set_relays(std::vector<overlay::RelayEntry> relays);

  migration::Result<overlay::UniqueFd> provide(const std::string& application,
                                               const migration::PortSpec& port) override;
  migration::Result<void> hold(const std::string& application,
                               const migration::PortSpec& port) override;
  migration::Result<void> take(const std::string& application) override;
  migration::Result<void> give_up(const std::string& application) override;
  migration::Result<void> redirect(const std::string& application,
                                   const std::string& host) override;
  migration::Result<void> reinstate(const std::string& application) override;
  void release(const std::string& application) override;

  /// Devices of an application that is started or stopped here, outside of a move.
  migration::Result<overlay::UniqueFd> create_port(const std::string& application,
                                                   const migration::PortSpec& port);
  void remove_ports(const std::string& application);

 private:
  /// Follows what has changed, as change_of() takes it. False where the whole state has to be
  /// looked at, which is then due.
  bool update(const Changes& changes, std::set<std::string> applications);
  /// The same, or else the whole.
  void follow_application(const std::string& application);
  /// Programs the addresses of `application` at once, whatever else is due.
  migration::Result<void> program(const std::string& application);
  migration::Result<void> program_alone(const std::string& application);
  void look_for_devices(const std::set<std::string>& bindings);
  void settle_views(std::set<std::string>& applications);
  void settle_hearsay(std::set<std::string>& applications);
  void adopt();
  bool is_vtep(const policy::IpAddress& address) const;
  void report_alarms();
  void report_mended();
  void tell();

  const ControlDatabase& database_;
  overlay::Datapath& datapath_;
  Devices devices_;
  /// `moves` and `been_here` are kept here. Bindings have been here that are, or have been since
  /// every host that may send to them knew it. Of the devices those of own bindings are right.
  LocalView view_;
  std::map<policy::IpAddress, policy::IpAddress> alias_owners_;  ///< Of view_.aliases: the VTEPs.
  /// The taps that were made here, by application: they go even where its rows have gone first.
  std::map<std::string, std::set<std::string>> taps_;
  std::set<std::string> removed_;  ///< Taps that were deleted here, until the kernel says so.
  Hearsay hearsay_;
  std::vector<std::string> alarms_;  ///< that were told to the log
  Desired desired_;                  ///< What was last applied, as change_of() leaves it.
  std::string not_applied_;          ///< What the datapath could not do of it.
  std::vector<std::string> problems_;
  std::uint64_t neighbors_version_ = 0;
  bool due_ = false;  ///< desired_ is not what is programmed.
  bool programmed_ = false;
};

}  // namespace homeport::agent
