// What two hosts offer each other, as ways to be probed, and what of it a host's datapath has to
// know. Pure.
#pragma once

#include "overlay/negotiation/negotiator.h"
#include "overlay/probing/prober.h"
#include "policy/address.h"
#include "policy/path/conversation.h"

#include <set>
#include <string>
#include <vector>

namespace homeport::agent {

/// The addresses of the other host's ends that this host can take for that host's: unicast ones
/// which are none of this host's `own`, offered or not. Two hosts may have the same one, of a
/// bridge for containers for example: what is sent there does not leave either of them.
std::set<policy::IpAddress> addresses_of(const policy::Party& peer,
                                         const std::set<policy::IpAddress>& own);

/// Every direct path to such addresses, as `side` sees it. `fast`: of which classes a silent
/// failure is to be found quickly.
std::vector<overlay::ProbedWay> ways_of(const policy::Conversation& known, policy::Side side,
                                        const std::set<policy::IpAddress>& own,
                                        const overlay::PathNegotiator& negotiator,
                                        const policy::PerClass<bool>& fast);

}  // namespace homeport::agent
