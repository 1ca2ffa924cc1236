// The order of the paths between two hosts for a class of traffic.
//
// Both hosts compute the same order from the same conversation and policy: it is a total order over
// integers, and nothing in it depends on which of the two computes. It says of each path why it is
// where it is; explain.h compares two of them.
#pragma once

#include "policy/path/class_policy.h"
#include "policy/path/conversation.h"
#include "policy/path/exchange_time.h"

#include <compare>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace homeport::policy {

/// What comes first in the order, best first.
enum class Standing : std::uint8_t {
  pinned,      ///< the controller's choice
  good,        ///< meets the minimum quality
  poor,        ///< does not
  damped,      ///< has failed too often lately
  unmeasured,  ///< nobody knows whether it carries
  excluded,    ///< not used at all
};

/// What keeps a path from being good, and what RankedPath::figure and limit are about.
enum class Obstacle : std::uint8_t {
  none,
  // Excluded:
  forbidden,          ///< by the policy
  relay_not_allowed,  ///< by the policy
  too_costly,         ///< cost, ceiling
  broken,             ///< Broken, none
  // Used if there is nothing better:
  unmeasured,
  damped,
  slow,       ///< round-trip time in microseconds, the most allowed
  lossy,      ///< loss in ppm, the most allowed
  narrow,     ///< bandwidth in bit/s, the least asked for
  small_mtu,  ///< bytes, the least asked for
};

/// Of a broken path, as figures: which directions do not carry.
inline constexpr std::uint64_t kBrokenFromFirst = 1;
inline constexpr std::uint64_t kBrokenFromSecond = 2;

struct RankedPath {
  PathId path;
  Standing standing = Standing::good;
  Obstacle obstacle = Obstacle::none;
  std::uint64_t figure = 0;  ///< what it has, of what the obstacle is about
  std::uint64_t limit = 0;   ///< what it should have

  bool broken = false;  ///< whatever else is the matter with it
  std::uint64_t preference = 0;
  std::uint64_t cost = 0;
  bool shares_interactive = false;  ///< bulk: has an end in common with interactive's path
  ExchangeTime time = {};           ///< zero while unmeasured
  /// What is compared: the exchange time, longer by 1% for each unit of cost, and twice as long
  /// where interactive traffic is to be left its share.
  Micros counted{};
  std::uint32_t default_routes = 0;  ///< ends that the default route leaves by
  std::uint64_t speed = 0;           ///< of the slower end, bit/s; 0: not known

  bool usable() const { return standing != Standing::excluded; }
  bool operator==(const RankedPath&) const = default;
};

/// Best first. `interactive`: the path that interactive traffic uses, which bulk keeps away from;
/// it means nothing to the other classes.
std::vector<RankedPath> rank(TrafficClass traffic, const Conversation& conversation,
                             const ClassPolicy& policy, const std::optional<PathId>& interactive);

/// What decides between two paths: the first of these in which they differ.
enum class Criterion : std::uint8_t {
  standing,
  preference,
  time,  ///< RankedPath::counted
  cost,
  directness,  ///< relayed or not
  default_route,
  speed,
  address,  ///< nothing else is left
};

struct Comparison {
  Criterion criterion = Criterion::address;
  std::weak_ordering order = std::weak_ordering::equivalent;  ///< less: the first is better
};
Comparison compare(const RankedPath& one, const RankedPath& other);

/// nullptr if it is not among them.
const RankedPath* find(std::span<const RankedPath> ranked, const std::optional<PathId>& path);

std::string_view to_string(Standing standing);
std::string_view to_string(Obstacle obstacle);
std::string_view to_string(Criterion criterion);

}  // namespace homeport::policy
