// Which of the bridge's ports are Homeport's: put there, taken out, kept from what is not for them.
#pragma once

#include "overlay/datapath/ovs/flow_image.h"
#include "overlay/datapath/ovs_datapath.h"
#include "overlay/vswitch/bridge.h"

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace homeport::overlay::ovs {

/// Null: there is none of that name.
const vswitch::BridgePort* find_port(const std::vector<vswitch::BridgePort>& ports,
                                     const std::string& name);

/// Remembers what it has left in the bridge, and so can tell what somebody else has done to it.
/// Each is told where it is mended, and only there: between two looks a port may go.
class BridgeMembers {
 public:
  using Problems = std::vector<std::string>;

  /// `host_end`: the device that leads to the host's own processes.
  BridgeMembers(vswitch::Bridge& bridge, const OvsOptions& options, std::string host_end)
      : bridge_(bridge), options_(options), host_end_(std::move(host_end)) {}

  /// Has the bridge, and in it the tunnel's ports as they are wanted. Errors: see
  /// make_ovs_datapath().
  Result<void> ensure_tunnel(std::vector<std::string>& mended);

  /// Takes the devices of ports into the bridge that are not there, and has ovs-vswitchd look again
  /// at those it could not use. Returns all ports of the bridge.
  Result<std::vector<vswitch::BridgePort>> add(const DesiredState& desired, Problems& problems,
                                               std::vector<std::string>& mended);

  /// What other people's flows send to all ports of the bridge is for applications of networks with
  /// a normal way, and for nothing else of Homeport's.
  void keep_apart(const std::vector<vswitch::BridgePort>& ports, const DesiredState& desired,
                  Problems& problems, std::vector<std::string>& mended);

  /// Takes Homeport's ports out of the bridge that are no longer wanted, the last of a look. Other
  /// people's stay.
  void remove_others(const std::vector<vswitch::BridgePort>& ports, const DesiredState& desired,
                     Problems& problems);

  Result<void> remove(const std::string& name);

  /// Whether `found`, all ports of the bridge, are those that the last remove_others() left, as
  /// they were, where the devices of `applications` are there and as add() has them, and what other
  /// people's flows send to all ports goes where keep_apart() lets it.
  Result<bool> untouched(const std::vector<vswitch::BridgePort>& found,
                         const std::vector<Port>& applications);

  /// The ports by their numbers, with what the switch can do.
  BridgePorts usable(const std::vector<vswitch::BridgePort>& ports) const;

 private:
  struct Flooding {
    std::int64_t number = 0;  ///< A port that comes anew has another, and is as it is made.
    bool on = false;
  };

  bool is_netdev() const { return options_.bridge.datapath_type == "netdev"; }
  std::vector<vswitch::BridgePort> wanted(const DesiredState& desired) const;
  void note_made(const std::string& name, std::vector<std::string>& mended) const;

  vswitch::Bridge& bridge_;
  const OvsOptions& options_;
  const std::string host_end_;
  std::set<std::string> left_;  ///< The names of those left in the bridge.
  std::map<std::string, Flooding> flooding_;
  std::map<std::string, vswitch::BridgePort> settled_;  ///< Those left at the end of the last look.
};

}  // namespace homeport::overlay::ovs
