// Two hosts and everything both know about the paths between them: what each offers and what each
// has measured. Whoever has the same conversation before it finds the same candidates.
#pragma once

#include "policy/path/path.h"
#include "policy/path/quality.h"

#include <string>
#include <vector>

namespace homeport::policy {

struct Party {
  std::string host;
  std::vector<PathEnd> ends = {};        ///< that it offers, kMostEnds at most
  std::vector<PathReport> reports = {};  ///< what it has measured
};

struct Conversation {
  Party first;  ///< the host whose name sorts first
  Party second;

  Party& at(Side side) { return side == Side::first ? first : second; }
  const Party& at(Side side) const { return side == Side::first ? first : second; }
};

/// A path that both ends offer.
struct PathCandidate {
  PathId path;
  const PathEnd* first = nullptr;  ///< of the conversation, which has to outlive it
  const PathEnd* second = nullptr;
  /// What both know, as the first host sees it. Nobody knows that it carries as long as one of them
  /// has reports, but none about it.
  PathQuality quality = {};
  bool damped = false;  ///< as either says
};

/// Every pair of ends of one address family, then the relayed paths between such ends that either
/// reports (each host reports those through peers that relay for it), ordered by their ids within
/// either group, kMostPaths at most.
std::vector<PathCandidate> candidates(const Conversation& conversation);

}  // namespace homeport::policy
