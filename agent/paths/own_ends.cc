#include "agent/paths/own_ends.h"

#include "agent/network/underlay.h"
#include "overlay/link/ethtool.h"
#include "overlay/link/route.h"
#include "overlay/link/source_route.h"
#include "overlay/log/log.h"

#include <net/if.h>
#include <algorithm>
#include <utility>

namespace homeport::agent {

namespace log = overlay::log;

bool OwnEnds::look() {
  auto here = interfaces_of(host_);
  if (!here) {
    log::warn("{}", here.error().message);
    return false;
  }
  interfaces_ = std::move(*here);
  addresses_.clear();
  for (const Interface& each : interfaces_) addresses_.insert(each.address);
  looked_ = true;
  routed_.clear();  // routes are looked at as often
  bool other = make_offer();
  if (has_choice_) other = look_at_default_routes() || other;
  route();  // of which other tables may have changed, too
  return other;
}

/// Reads the main table, which may be long: only where there is a choice. True as make_offer().
bool OwnEnds::look_at_default_routes() {
  auto leave = overlay::default_route_devices();
  if (!leave) {
    log::warn("{}", leave.error().message);
    return false;
  }
  default_routes_ = std::move(*leave);
  return make_offer();
}

/// After what it is made from has changed, or may have.
bool OwnEnds::make_offer() {
  Offer now = offer_of(interfaces_, database_.contents().interfaces, choice_, default_routes_);
  const bool other = now.ends != offer_.ends;
  offer_ = std::move(now);
  has_choice_ = has_choice_ || offer_.ends.size() > 1;
  return other;
}

bool OwnEnds::follow_database() {
  if (!make_offer()) return false;
  route();
  return true;
}

std::set<std::string> OwnEnds::without_carrier() const {
  std::set<std::string> names;
  for (const policy::PathEnd& end : offer_.ends) names.insert(end.interface);
  std::erase_if(names, [](const std::string& name) {
    const auto carrier = overlay::has_carrier(name);
    return !carrier || *carrier;
  });
  return names;
}

bool OwnEnds::lost_carrier(const std::string& name) {
  for (Interface& each : interfaces_) {
    if (each.name == name) each.state = LinkState::down;
  }
  return make_offer();
}

/// With one interface there is nothing to choose from, and the host's routing is left alone.
void OwnEnds::route() {
  std::vector<overlay::LinkAddress> addresses;
  for (const policy::PathEnd& end : offer_.ends) {
    const auto index = static_cast<int>(::if_nametoindex(end.interface.c_str()));
    if (index != 0) addresses.push_back({index, end.address, 0});
  }
  if (!has_choice_) return;
  auto kept = overlay::keep_source_routes({}, addresses);
  if (kept && *kept) routed_.clear();
  const std::string problem = kept ? std::string() : kept.error().message;
  if (problem == std::exchange(routing_problem_, problem) || problem.empty()) return;
  log::warn("{}", problem);
}

bool OwnEnds::may_change(const overlay::LinkEvent& event) const {
  return agent::may_change(interfaces_, event);
}

bool OwnEnds::leaves_by_its_interface(const overlay::ProbePair& pair) {
  auto [known, is_new] = routed_.try_emplace(pair, false);
  if (!is_new) return known->second;
  auto end = std::ranges::find(offer_.ends, pair.local, &policy::PathEnd::address);
  if (end == offer_.ends.end()) return false;
  auto taken = overlay::find_route(pair.remote, pair.local);
  const auto device = static_cast<int>(::if_nametoindex(end->interface.c_str()));
  known->second = taken && device != 0 && taken->device == device;
  return known->second;
}

}  // namespace homeport::agent
