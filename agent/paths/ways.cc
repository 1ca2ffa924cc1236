#include "agent/paths/ways.h"

#include <algorithm>

namespace homeport::agent {

namespace {

/// 0 says that it is not known.
template <class T>
T least_known(T one, T other) {
  return one == 0 || other == 0 ? std::max(one, other) : std::min(one, other);
}

}  // namespace

std::set<policy::IpAddress> addresses_of(const policy::Party& peer,
                                         const std::set<policy::IpAddress>& own) {
  std::set<policy::IpAddress> addresses;
  for (const policy::PathEnd& end : peer.ends) {
    if (policy::is_unicast_beyond_link(end.address) && !own.contains(end.address)) {
      addresses.insert(end.address);
    }
  }
  return addresses;
}

std::vector<overlay::ProbedWay> ways_of(const policy::Conversation& known, policy::Side side,
                                        const std::set<policy::IpAddress>& own,
                                        const overlay::PathNegotiator& negotiator,
                                        const policy::PerClass<bool>& fast) {
  const policy::Side there = policy::other(side);
  const std::set<policy::IpAddress> theirs = addresses_of(known.at(there), own);
  std::vector<overlay::ProbedWay> ways;
  for (const policy::PathCandidate& candidate : policy::candidates(known)) {
    const policy::PathId& path = candidate.path;
    if (!path.relay.empty() || !theirs.contains(path.at(there))) continue;
    overlay::ProbedWay way{.path = path, .pair = {path.at(side), path.at(there)}};
    way.mtu = least_known(candidate.first->mtu, candidate.second->mtu);
    way.speed = least_known(candidate.first->speed, candidate.second->speed);
    for (const policy::TrafficClass traffic : policy::kTrafficClasses) {
      const bool used = negotiator.agreement(traffic).choice().path == path;
      way.in_use = way.in_use || used;
      way.fast = way.fast || (used && fast[traffic]);
      way.watched = way.watched || (used && traffic == policy::TrafficClass::interactive);
    }
    ways.push_back(std::move(way));
  }
  return ways;
}

}  // namespace homeport::agent
