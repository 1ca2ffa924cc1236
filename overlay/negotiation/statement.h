// What the routing controllers of two hosts say to each other: how things stand, never what has
// happened. So a statement that is lost is made good by the next, and one that comes twice or late
// does no harm.
//
// A host's statements are numbered by (epoch, revision): the epoch is greater each time its agent
// starts, the revision each time something it says has changed. What the other end is known to have
// already is left out, `seen` says what that is.
#pragma once

#include "policy/path/path.h"
#include "policy/path/quality.h"

#include <compare>
#include <cstdint>
#include <optional>
#include <vector>

namespace homeport::overlay {

/// A host's statement, by number. 0, 0: none.
struct StatementId {
  std::uint64_t epoch = 0;
  std::uint64_t revision = 0;

  auto operator<=>(const StatementId&) const = default;
};

/// Beyond any that counting, or the microseconds since 1970, get to.
inline constexpr std::uint64_t kMostCounted = std::uint64_t{1} << 62;

/// The path that a host sends the traffic of a class on.
struct PathChoice {
  /// Of the nomination that it is or follows: the controlling host's revision when it was made. 0:
  /// of none.
  std::uint64_t nomination = 0;
  std::optional<policy::PathId> path = {};  ///< none: it sends on no path

  bool operator==(const PathChoice&) const = default;
};

struct PathStatement {
  StatementId id;
  /// The last statement of the other host that the sender has taken in.
  StatementId seen = {};
  /// The receiver has not said yet that it has this one.
  bool wants_answer = false;
  /// Interfaces that the sender offers; nullopt: as the receiver knows them.
  std::optional<std::vector<policy::PathEnd>> ends = {};
  /// What it has measured; nullopt: as the receiver knows it.
  std::optional<std::vector<policy::PathReport>> reports = {};
  policy::PerClass<PathChoice> choices = {};

  bool operator==(const PathStatement&) const = default;
  bool complete() const { return ends && reports; }
};

}  // namespace homeport::overlay
