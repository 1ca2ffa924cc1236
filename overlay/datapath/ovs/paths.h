// The flows of ways to other hosts, and of what a third host relays.
#pragma once

#include "overlay/datapath/ovs/flow_image.h"
#include "overlay/datapath/ovs/pipeline.h"

#include <cstddef>
#include <set>
#include <string>
#include <vector>

namespace homeport::overlay::ovs {

/// Of labels: those of other hosts, and those that this one has given out.
inline constexpr std::size_t kMostLabels = 65536;

/// Of rules for ports: fewer than there are priorities for them.
inline constexpr std::size_t kMostRules = kSaidPriority - 1;

/// What of the ways to other hosts is carried.
class PathsCarried {
 public:
  /// What cannot be carried is in `problems`.
  void path(PathEntry path, DesiredState& carried, std::vector<std::string>& problems);
  void relay(const RelayEntry& relay, DesiredState& carried, std::vector<std::string>& problems);
  void port_rules(std::vector<policy::PortRule> rules, DesiredState& carried,
                  std::vector<std::string>& problems);

 private:
  std::size_t labels_ = 0;
  std::set<policy::Vni> relays_;
};

/// The flows of one path.
FlowImage compile_path(const PathEntry& path);
/// Those of rules for ports, in the order of policy::decides_before().
FlowImage compile_rules(const std::vector<policy::PortRule>& rules);
/// The flow of what this host relays under one label.
FlowImage compile_relay(const RelayEntry& relay, const BridgePorts& ports);

}  // namespace homeport::overlay::ovs
