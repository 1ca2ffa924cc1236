// What the routing controller of one peer knows, as the status server shows it. Pure.
#pragma once

#include "agent/paths/path_history.h"
#include "agent/status/path_model.h"
#include "overlay/negotiation/negotiator.h"

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace homeport::agent {

struct PeerPathsSource {
  const overlay::PathNegotiator& negotiator;
  const PathHistory& history;            ///< of the same peer
  bool connected = false;                ///< to the peer's agent,
  std::optional<SystemTime> since = {};  ///< or not, since when; none: never yet
  std::uint64_t probes_sent = 0;         ///< totals of all paths to the peer
  std::uint64_t probes_answered = 0;
};

enum class PathsDetail : std::uint8_t { summary, everything };

PeerPathsSnapshot path_snapshot(const PeerPathsSource& source, PathsMoment now, PathsDetail detail);

/// For /v1/events: of each class that has a path, or has had one. Cheap.
std::vector<PathEvent> path_events(const overlay::PathNegotiator& negotiator,
                                   const PathHistory& history);

/// Of all peers: everything of that one (StatusWanted::peer), of the others a summary. `ends`: this
/// host's, those that it does not offer included.
PathsSnapshot paths_snapshot(std::vector<PathEndSnapshot> ends,
                             std::span<const PeerPathsSource> sources, PathsMoment now,
                             std::string_view peer);

}  // namespace homeport::agent
