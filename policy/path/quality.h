// What is known about a path. Every value may be unknown, and is again once it is old.
#pragma once

#include "policy/path/path.h"

#include <cstdint>
#include <optional>
#include <vector>

namespace homeport::policy {

/// Losses are parts of a million.
using LossPpm = std::uint32_t;
inline constexpr LossPpm kAllLost = 1'000'000;

enum class Reachability : std::uint8_t { unknown, yes, no };

/// Of one direction of a path.
struct DirectionQuality {
  Reachability reachable = Reachability::unknown;
  std::optional<LossPpm> loss = {};
  std::optional<std::uint64_t> bandwidth = {};  ///< bit/s that were to be had
  std::optional<std::uint32_t> mtu = {};        ///< bytes of the largest IP packet that arrives

  bool operator==(const DirectionQuality&) const = default;
};

/// As one host sees it: `out` is what it sends, `in` what comes to it.
struct PathQuality {
  std::optional<Micros> rtt = {};        ///< smoothed
  std::optional<Micros> variation = {};  ///< of the round-trip time, its mean deviation
  DirectionQuality out = {};
  DirectionQuality in = {};

  bool operator==(const PathQuality&) const = default;
  bool broken() const {
    return out.reachable == Reachability::no || in.reachable == Reachability::no;
  }
  /// Enough is known to compare it: both directions carry, and how long that takes.
  bool measured() const {
    return out.reachable == Reachability::yes && in.reachable == Reachability::yes && rtt;
  }
};

/// What one host tells the other of a path.
struct PathReport {
  PathId path;
  PathQuality quality = {};
  bool damped = false;  ///< it has failed too often lately (damping.h)
  Micros age{};         ///< since it was measured: the two clocks have nothing in common

  bool operator==(const PathReport&) const = default;
};

/// The same path as the other host sees it.
PathQuality seen_from_other_end(const PathQuality& quality);

/// What two hosts know together, as the first sees it: of each value the worse one, and unknown
/// only if neither knows it. That either host finds a direction broken is enough.
PathQuality merge(const PathQuality& first, const PathQuality& second);

/// The report after another `elapsed`, with nothing known any more if it is then older than
/// `limit`.
PathReport aged(PathReport report, Micros elapsed, Micros limit);

/// Whether one says enough else than the other to tell a peer soon: noise is not.
bool differ_materially(const PathQuality& one, const PathQuality& other);

}  // namespace homeport::policy
