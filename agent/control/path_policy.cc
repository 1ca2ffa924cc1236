#include "agent/control/path_policy.h"

#include "policy/path/end_text.h"

#include <algorithm>
#include <iterator>

namespace homeport::agent {
namespace {

template <class To>
std::optional<To> as(const std::optional<std::int64_t>& figure, To unit = 1) {
  return figure ? std::optional<To>(static_cast<To>(*figure) * unit) : std::nullopt;
}

policy::ClassPolicy class_policy(const PathPolicyRow& row, const std::string& own_host,
                                 const std::string& peer) {
  policy::ClassPolicy asked;
  for (const auto& [label, preference] : row.preferred) {
    asked.preferences[label] = static_cast<std::uint32_t>(preference);
  }
  std::ranges::copy_if(row.forbidden, std::back_inserter(asked.forbidden),
                       [&](const policy::EndMatch& end) {
                         return may_be_at(end, own_host) || may_be_at(end, peer);
                       });
  std::ranges::copy_if(
      row.pinned, std::back_inserter(asked.pinned),
      [&](const policy::PairMatch& pair) { return may_be_between(pair, own_host, peer); });
  asked.cost_ceiling = as<std::uint32_t>(row.cost_ceiling);
  asked.minimum = {.most_rtt = row.most_rtt,
                   .most_loss = as<policy::LossPpm>(row.most_loss_ppm),
                   .least_bandwidth = as<std::uint64_t>(row.least_bandwidth_mbps, 1'000'000),
                   .least_mtu = as<std::uint32_t>(row.least_mtu)};
  asked.relays = row.relays.value_or(true);
  return asked;
}

}  // namespace

policy::PathPolicy path_policy(const Contents& contents, const std::string& own_host,
                               const std::string& peer) {
  policy::PathPolicy asked;
  for (const auto& [traffic_class, row] : contents.path_policies) {
    asked[traffic_class] = class_policy(row, own_host, peer);
  }
  return asked;
}

bool fast_detection(const Contents& contents, policy::TrafficClass traffic_class) {
  auto row = contents.path_policies.find(traffic_class);
  return row != contents.path_policies.end() && row->second.detection == Detection::fast;
}

std::vector<policy::PortRule> port_rules(const Contents& contents) {
  std::vector<policy::PortRule> rules;
  for (const auto& [traffic_class, row] : contents.path_policies) {
    for (const policy::PortRange& ports : row.ports) rules.push_back({ports, traffic_class});
  }
  policy::settle(rules);
  return rules;
}

}  // namespace homeport::agent
