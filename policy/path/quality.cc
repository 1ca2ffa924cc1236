#include "policy/path/quality.h"

#include <algorithm>
#include <functional>
#include <utility>

namespace homeport::policy {
namespace {

template <class T, class Worse>
std::optional<T> worse_of(const std::optional<T>& one, const std::optional<T>& other, Worse worse) {
  if (!one || !other) return one ? one : other;
  return worse(*one, *other) ? one : other;
}

template <class T>
std::optional<T> greater_of(const std::optional<T>& one, const std::optional<T>& other) {
  return worse_of(one, other, std::greater<T>());
}

template <class T>
std::optional<T> lesser_of(const std::optional<T>& one, const std::optional<T>& other) {
  return worse_of(one, other, std::less<T>());
}

Reachability worse_of(Reachability one, Reachability other) {
  if (one == Reachability::no || other == Reachability::no) return Reachability::no;
  return one == Reachability::unknown ? other : one;
}

DirectionQuality merge(const DirectionQuality& one, const DirectionQuality& other) {
  return {
      .reachable = worse_of(one.reachable, other.reachable),
      .loss = greater_of(one.loss, other.loss),
      .bandwidth = lesser_of(one.bandwidth, other.bandwidth),
      .mtu = lesser_of(one.mtu, other.mtu),
  };
}

// By more than a quarter of the greater one, and by more than `least`.
bool differ(std::uint64_t one, std::uint64_t other, std::uint64_t least) {
  const auto [lower, higher] = std::minmax(one, other);
  return higher - lower > least && higher - lower > higher / 4;
}

constexpr Micros kLeastTime{1000};
constexpr LossPpm kLeastLoss = 5000;

bool differ(const std::optional<Micros>& one, const std::optional<Micros>& other) {
  if (!one || !other) return one.has_value() != other.has_value();
  return differ(static_cast<std::uint64_t>(one->count()),
                static_cast<std::uint64_t>(other->count()), kLeastTime.count());
}

bool differ(const DirectionQuality& one, const DirectionQuality& other) {
  return one.reachable != other.reachable || one.mtu != other.mtu ||
         one.bandwidth.has_value() != other.bandwidth.has_value() ||
         differ(one.bandwidth.value_or(0), other.bandwidth.value_or(0), 0) ||
         differ(one.loss.value_or(0), other.loss.value_or(0), kLeastLoss);
}

}  // namespace

PathQuality seen_from_other_end(const PathQuality& quality) {
  PathQuality turned = quality;
  std::swap(turned.out, turned.in);
  return turned;
}

PathQuality merge(const PathQuality& first, const PathQuality& second) {
  return {
      .rtt = greater_of(first.rtt, second.rtt),
      .variation = greater_of(first.variation, second.variation),
      .out = merge(first.out, second.in),
      .in = merge(first.in, second.out),
  };
}

PathReport aged(PathReport report, Micros elapsed, Micros limit) {
  report.age += elapsed;
  if (report.age > limit) {
    report.quality = {};
    report.age = limit;  // it does not get any less known
  }
  return report;
}

bool differ_materially(const PathQuality& one, const PathQuality& other) {
  return differ(one.rtt, other.rtt) || differ(one.variation, other.variation) ||
         differ(one.out, other.out) || differ(one.in, other.in);
}

}  // namespace homeport::policy
