// One part of a path through a host that relays: the path between that host and one of the two
// others. Pure.
#pragma once

#include "agent/network/desired_state.h"
#include "overlay/negotiation/negotiator.h"
#include "policy/path/path.h"
#include "policy/path/quality.h"

#include <optional>
#include <vector>

namespace homeport::agent {

struct Leg {
  policy::PathReport report;  ///< as this host sees it: what both hosts know together
  policy::Time noted{};

  /// The report at a later moment; old ones are not forgotten here.
  policy::PathReport at(policy::Time now) const;
};

/// The path that this host sends what it relays by, and what it has to be relayed: that of the
/// default class if it is direct, or else that of both VTEPs (`usual`). nullopt: the peer has not
/// said yet what it offers.
std::optional<Leg> leg_of(const overlay::PathNegotiator& negotiator, policy::Side side,
                          const Way& usual, policy::Time now);

/// The relayed paths that are of interest to the two: those that the peer has not found broken, and
/// those that this host uses.
std::vector<policy::PathId> relayed_paths(const overlay::PathNegotiator& negotiator,
                                          policy::Side side, policy::Time now);

}  // namespace homeport::agent
