#include "overlay/datapath/ovs/differences.h"

#include <fmt/format.h>

#include <algorithm>

namespace homeport::overlay::ovs {

std::vector<vswitch::FlowChange> changes(const FlowImage& current, const FlowImage& wanted) {
  std::vector<vswitch::FlowChange> changes;
  for (const auto& [key, flow] : wanted) {
    auto there = current.find(key);
    if (there == current.end() || !(there->second.body == flow.body)) {
      changes.push_back({key, flow.body, false});
    }
  }
  for (const auto& [key, flow] : current) {
    if (!wanted.contains(key)) changes.push_back({key, flow.body, true});
  }
  return changes;
}

std::vector<std::string> differences(const FlowImage& left, const FlowImage& found) {
  std::set<std::string> all;
  for (const auto& [key, flow] : left) {
    auto there = found.find(key);
    if (there == found.end()) {
      all.insert(fmt::format("flows of {} were missing", flow.owner));
    } else if (!(there->second.body == flow.body)) {
      all.insert(fmt::format("flows of {} were changed", flow.owner));
    }
  }
  for (const auto& [key, flow] : found) {
    if (!left.contains(key)) all.insert(fmt::format("a flow was added to table {}", key.table));
  }
  std::vector<std::string> told;
  for (const std::string& one : all) {
    if (told.size() == kToldDifferences) {
      told.push_back(fmt::format("and {} more", all.size() - kToldDifferences));
      break;
    }
    told.push_back(one);
  }
  return told;
}

bool same(const FlowImage& left, const std::vector<vswitch::Flow>& found) {
  return left.size() == found.size() && std::ranges::all_of(found, [&](const vswitch::Flow& flow) {
           auto there = left.find(flow.key);
           return there != left.end() && there->second.body == flow.body;
         });
}

DesiredState without(const DesiredState& state, const std::set<std::string>& owners) {
  DesiredState rest = state;
  std::erase_if(rest.networks, [&](const auto& it) { return owners.contains(name_of(it)); });
  std::erase_if(rest.ports, [&](const auto& it) { return owners.contains(name_of(it)); });
  std::erase_if(rest.addresses, [&](const auto& it) { return owners.contains(name_of(it)); });
  std::erase_if(rest.hosts, [&](const auto& it) { return owners.contains(name_of(it)); });
  std::erase_if(rest.port_rules, [&](const auto& it) { return owners.contains(name_of(it)); });
  std::erase_if(rest.vteps, [&](const auto& it) { return owners.contains(name_of(it)); });
  std::erase_if(rest.aliases, [&](const auto& it) { return owners.contains(name_of(it)); });
  std::erase_if(rest.paths, [&](const auto& it) { return owners.contains(name_of(it)); });
  std::erase_if(rest.relays, [&](const auto& it) { return owners.contains(name_of(it)); });
  return rest;
}

}  // namespace homeport::overlay::ovs
