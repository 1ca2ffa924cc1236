// What the controllers ask of the paths between two hosts, out of the rows of Path_Policy.
#pragma once

#include "agent/control/database.h"
#include "policy/path/class_policy.h"

#include <string>
#include <vector>

namespace homeport::agent {

/// Only what concerns these two: the same at both, whichever of them asks.
policy::PathPolicy path_policy(const Contents& contents, const std::string& own_host,
                               const std::string& peer);

/// Whether a path of this class that fails silently is to be found out fast.
bool fast_detection(const Contents& contents, policy::TrafficClass traffic_class);

/// By which ports traffic is of which class, of all rows; settled.
std::vector<policy::PortRule> port_rules(const Contents& contents);

}  // namespace homeport::agent
