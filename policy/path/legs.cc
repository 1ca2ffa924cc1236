#include "policy/path/legs.h"

#include <algorithm>
#include <optional>

namespace homeport::policy {
namespace {

template <class T, class Combine>
std::optional<T> known_of(const std::optional<T>& near, const std::optional<T>& far,
                          Combine combine) {
  if (!near || !far) return near ? near : far;
  return combine(*near, *far);
}

std::optional<Micros> sum(const std::optional<Micros>& near, const std::optional<Micros>& far) {
  if (!near || !far) return std::nullopt;
  return *near + *far;
}

Reachability both(Reachability near, Reachability far) {
  if (near == Reachability::no || far == Reachability::no) return Reachability::no;
  return near == far ? near : Reachability::unknown;
}

// What passes the one part may still be lost on the other.
LossPpm lost_on_either(LossPpm near, LossPpm far) {
  const std::uint64_t twice = std::uint64_t{near} * far / kAllLost;
  return static_cast<LossPpm>(near + far - twice);
}

DirectionQuality one_after_the_other(const DirectionQuality& near, const DirectionQuality& far) {
  const auto lesser = [](auto one, auto other) { return std::min(one, other); };
  return {.reachable = both(near.reachable, far.reachable),
          .loss = known_of(near.loss, far.loss, lost_on_either),
          .bandwidth = known_of(near.bandwidth, far.bandwidth, lesser),
          .mtu = known_of(near.mtu, far.mtu, lesser)};
}

}  // namespace

PathQuality one_after_the_other(const PathQuality& near, const PathQuality& far) {
  return {.rtt = sum(near.rtt, far.rtt),
          .variation = sum(near.variation, far.variation),
          .out = one_after_the_other(near.out, far.out),
          .in = one_after_the_other(near.in, far.in)};
}

}  // namespace homeport::policy
