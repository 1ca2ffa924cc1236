// Two states of the flows beside each other. Pure.
#pragma once

#include "overlay/datapath/ovs/flow_image.h"

#include <set>
#include <string>
#include <vector>

namespace homeport::overlay::ovs {

/// What turns `current` into `wanted`: flows to write, then flows to remove.
std::vector<vswitch::FlowChange> changes(const FlowImage& current, const FlowImage& wanted);

/// What somebody else has done: "flows of the address 02:00:00:00:00:05 of network 7 were missing",
/// "... were changed", "a flow was added to table 202": at most kToldDifferences of them, then one
/// that counts the rest. Empty when nothing differs.
std::vector<std::string> differences(const FlowImage& left, const FlowImage& found);
inline constexpr std::size_t kToldDifferences = 8;

/// Whether `found` are the flows of `left` and no others, whatever they have counted. What
/// differences() tells of costs more.
bool same(const FlowImage& left, const std::vector<vswitch::Flow>& found);

/// `state` less everything whose flows belong to one of these owners.
DesiredState without(const DesiredState& state, const std::set<std::string>& owners);

}  // namespace homeport::overlay::ovs
