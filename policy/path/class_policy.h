// What the controller asks of the paths of a class of traffic.
#pragma once

#include "policy/path/path.h"
#include "policy/path/quality.h"

#include <compare>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace homeport::policy {

/// Some interfaces of some hosts; what is empty may be any.
struct EndMatch {
  std::string host = {};
  std::string interface = {};
  std::string label = {};

  auto operator<=>(const EndMatch&) const = default;
  bool matches(const std::string& of_host, const PathEnd& end) const;
};

/// The paths with the one end at either host and the other end at the other host.
struct PairMatch {
  EndMatch one = {};
  EndMatch other = {};

  auto operator<=>(const PairMatch&) const = default;
};

/// A path that is worse than this is used where there is no other.
struct MinimumQuality {
  std::optional<Micros> most_rtt = {};
  std::optional<LossPpm> most_loss = {};              ///< of either direction
  std::optional<std::uint64_t> least_bandwidth = {};  ///< bit/s
  std::optional<std::uint32_t> least_mtu = {};        ///< bytes of IP packet

  bool operator==(const MinimumQuality&) const = default;
};

struct ClassPolicy {
  /// By label, the higher the better. A path has the sum of its ends' preferences, each that of its
  /// best label. Of paths that are good enough the preferred ones come first.
  std::map<std::string, std::uint32_t> preferences = {};
  /// A path with such an end is not used.
  std::vector<EndMatch> forbidden = {};
  /// Such a path comes first for as long as it carries at all; while that is not known, only where
  /// it is of no other path, either.
  std::vector<PairMatch> pinned = {};
  /// Of both ends together; a path that costs more is not used.
  std::optional<std::uint32_t> cost_ceiling = {};
  MinimumQuality minimum = {};
  bool relays = true;  ///< paths through other hosts may be used

  bool operator==(const ClassPolicy&) const = default;
};

using PathPolicy = PerClass<ClassPolicy>;

}  // namespace homeport::policy
