// Which interfaces of this host may carry the overlay's traffic: what paths may begin at.
#pragma once

#include "agent/control/records.h"
#include "policy/address.h"
#include "policy/path/path.h"

#include <map>
#include <set>
#include <string>
#include <vector>

namespace homeport::agent {

/// What this host's own configuration allows.
struct UnderlayChoice {
  policy::IpAddress vtep;
  /// Interfaces by name, with the wildcards of fnmatch(3), beside that of the VTEP.
  std::vector<std::string> interfaces = {};
  bool relay = false;  ///< other hosts may send each other through this one
};

struct LeftOut {
  policy::PathEnd end;
  std::string why;  ///< a sentence
};

struct Offer {
  std::vector<policy::PathEnd> ends;  ///< that of the VTEP first; policy::kMostEnds at most
  std::vector<LeftOut> left_out;
};

/// `here`: the interfaces as the kernel has them; `rows`: those of the control database, of which
/// the controller's say is taken; `default_routes`: the devices that a default route leaves by.
/// Pure.
Offer offer_of(const std::vector<Interface>& here, const std::map<Uuid, Interface>& rows,
               const UnderlayChoice& choice, const std::set<std::string>& default_routes);

}  // namespace homeport::agent
