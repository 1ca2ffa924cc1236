#include "policy/path/estimate.h"

#include <algorithm>
#include <chrono>

namespace homeport::policy {

void PathEstimator::probe_sent(Time now) {
  sent_ = now;
  if (!first_unanswered_) first_unanswered_ = now;
  ++unanswered_count_;
}

void PathEstimator::probe_answered(Time now, Micros rtt) {
  // What is forgotten does not come back with a newer sample: here, and below.
  if (!fresh(answered_, now)) rtt_ = {};
  answered_ = now;
  heard_ = now;
  first_unanswered_.reset();
  unanswered_count_ = 0;
  rtt_.sample(rtt);
}

void PathEstimator::counted(Time now, Counted what, Direction direction, std::uint64_t sent,
                            std::uint64_t received) {
  DirectionMeters& of = meters(direction);
  Noted<LossMeter>& meter = what == Counted::probes ? of.probes : of.traffic;
  if (!fresh(meter.at, now)) meter.value = {};
  meter.value.count(now, sent, received);
  meter.at = now;
}

void PathEstimator::transferred(Time now, Direction direction, std::uint64_t bytes, Micros duration,
                                bool backlogged) {
  Noted<BandwidthMeter>& meter = meters(direction).bandwidth;
  if (!long_fresh(meter.at, now)) meter.value = {};
  meter.value.transferred(bytes, duration, backlogged);
  if (meter.value.bandwidth()) meter.at = now;
}

void PathEstimator::path_mtu(Time now, std::uint32_t mtu) {
  mtu_ = {mtu, now};
}

bool PathEstimator::fresh(const std::optional<Time>& at, Time now) const {
  return at && now - *at <= limits_.fresh_for;
}

bool PathEstimator::long_fresh(const std::optional<Time>& at, Time now) const {
  return at && now - *at <= limits_.long_fresh_for;
}

Micros PathEstimator::patience() const {
  if (!rtt_.known()) return limits_.dead_after;
  return std::max(limits_.dead_after, rtt_.rtt() + 4 * rtt_.variation());
}

bool PathEstimator::unanswered(Time now) const {
  return unanswered_count_ >= limits_.least_unanswered && now >= dead_at();
}

Time PathEstimator::dead_at() const {
  return first_unanswered_ ? *first_unanswered_ + patience() : Time::max();
}

std::optional<Micros> PathEstimator::silent_for(Time now) const {
  if (!heard_) return std::nullopt;
  return std::chrono::duration_cast<Micros>(now - *heard_);
}

// Nobody who does not probe knows that a path is dead: that is unknown, too.
Reachability PathEstimator::reachable_in(Time now) const {
  const std::optional<Micros> silent = silent_for(now);
  const bool heard_since = silent && *silent < patience();
  if (unanswered(now) && !heard_since) {
    return fresh(sent_, now) ? Reachability::no : Reachability::unknown;
  }
  return fresh(heard_, now) ? Reachability::yes : Reachability::unknown;
}

Reachability PathEstimator::reachable_out(Time now) const {
  if (unanswered(now)) {
    // With nothing heard either, who knows which direction it is?
    const bool heard = reachable_in(now) == Reachability::yes;
    return heard && fresh(sent_, now) ? Reachability::no : Reachability::unknown;
  }
  return fresh(answered_, now) ? Reachability::yes : Reachability::unknown;
}

DirectionQuality PathEstimator::direction(const DirectionMeters& meters, Time now) const {
  DirectionQuality quality;
  if (fresh(meters.probes.at, now)) quality.probe_loss = meters.probes.value.loss();
  if (fresh(meters.traffic.at, now)) quality.traffic_loss = meters.traffic.value.loss();
  if (long_fresh(meters.bandwidth.at, now)) {
    quality.bandwidth = meters.bandwidth.value.bandwidth();
  }
  return quality;
}

PathQuality PathEstimator::quality(Time now) const {
  PathQuality quality{.out = direction(out_, now), .in = direction(in_, now)};
  quality.out.reachable = reachable_out(now);
  quality.in.reachable = reachable_in(now);
  if (rtt_.known() && fresh(answered_, now)) {
    quality.rtt = rtt_.rtt();
    quality.variation = rtt_.variation();
  }
  if (long_fresh(mtu_.at, now)) quality.out.mtu = mtu_.value;
  return quality;
}

}  // namespace homeport::policy
