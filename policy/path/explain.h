// Why a path has its place in the order, and what would give it another: figures that a person can
// be told in words (homeport path explain).
#pragma once

#include "policy/path/rank.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace homeport::policy {

/// What would put a path before the one it is compared with.
enum class Remedy : std::uint8_t {
  none,            ///< it is before it
  allow,           ///< the policy forbids it, or relays, or what it costs: Explanation::obstacle
  mend,            ///< it has to carry in both directions
  measure,         ///< probes have to be answered
  settle,          ///< it has to stay up until it is no longer damped
  meet_minimum,    ///< what the obstacle is about has to get to `target`
  pin_or_unpin,    ///< only by the controller: the other one is pinned
  prefer,          ///< a preference of more than `target`
  be_faster,       ///< its counted time has to get below `target`, in microseconds
  cost_less,       ///< a cost below `target`, or any gain in time
  any_difference,  ///< they are as good as equal: any gain in time
};

struct Explanation {
  Standing standing = Standing::good;
  Obstacle obstacle = Obstacle::none;  ///< with RankedPath::figure and limit
  /// The path it is compared with: the first in the order, or for the first one the second. None:
  /// there is no other.
  std::optional<PathId> other = {};
  Criterion decided_by = Criterion::address;
  /// Of both, of what decided, where that has a figure.
  std::uint64_t own = 0;
  std::uint64_t theirs = 0;
  /// Of the path that is behind: this one, or for the first one the second.
  Remedy remedy = Remedy::none;
  std::uint64_t target = 0;
};

/// Of the path at `index` of what rank() gave.
Explanation explain(std::span<const RankedPath> ranked, std::size_t index);

std::string_view to_string(Remedy remedy);

}  // namespace homeport::policy
