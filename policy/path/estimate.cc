#include "policy/path/estimate.h"

#include <algorithm>
#include <chrono>

namespace homeport::policy {
namespace {

constexpr std::size_t kMostUnanswered = 256;

}  // namespace

void PathEstimator::probe_sent(Time now) {
  sent_ = now;
  if (unanswered_.size() == kMostUnanswered) unanswered_.erase(unanswered_.begin() + 1);
  unanswered_.push_back(now);
}

void PathEstimator::probe_answered(Time now, Micros rtt) {
  // What is forgotten does not come back with a newer sample: here, and below.
  if (!fresh(answered_, now)) rtt_ = {};
  answered_ = std::max(answered_.value_or(now), now);
  probe_heard(now);
  while (!unanswered_.empty() && unanswered_.front() <= now - rtt) unanswered_.pop_front();
  rtt_.sample(rtt);
}

void PathEstimator::carried(Time last) {
  carried_ = std::max(carried_.value_or(last), last);
  probe_heard(last);
}

void PathEstimator::probe_withdrawn() {
  if (!unanswered_.empty()) unanswered_.pop_back();
}

void PathEstimator::forget_loss() {
  for (DirectionMeters* meters : {&out_, &in_}) meters->loss = {};
}

void PathEstimator::stood_still(Time now, Micros time) {
  if (unanswered_.empty() || dead(now - time)) return;
  if (unanswered_.front() >= back_) longest_absence_ = Micros(0);
  // Who is late all the time is to find out at some time, too.
  if (time <= 2 * longest_absence_) return;
  longest_absence_ = time;
  back_ = now;
}

void PathEstimator::counted(Time now, Direction direction, std::uint64_t sent,
                            std::uint64_t received) {
  Noted<LossMeter>& meter = meters(direction).loss;
  if (!fresh(meter.at, now)) meter.value = {};
  meter.value.count(now, sent, received);
  meter.at = now;
}

void PathEstimator::transferred(Time now, Direction direction, std::uint64_t bytes, Micros duration,
                                bool backlogged) {
  Noted<BandwidthMeter>& meter = meters(direction).bandwidth;
  if (!within(limits_.bandwidth_fresh_for, meter.at, now)) meter.value = {};
  meter.value.transferred(bytes, duration, backlogged);
  if (meter.value.bandwidth()) meter.at = now;
}

void PathEstimator::path_mtu(Time now, std::uint32_t mtu) {
  mtu_ = {mtu, now};
}

std::optional<Micros> PathEstimator::usual_answer() const {
  if (!rtt_.known()) return std::nullopt;
  return rtt_.rtt() + 4 * rtt_.variation();
}

Micros PathEstimator::patience() const {
  if (!ever_answered()) return std::max(limits_.dead_after, limits_.first_answer_within);
  return std::max(limits_.dead_after, usual_answer().value_or(Micros(0)));
}

bool PathEstimator::dead(Time now) const {
  return now >= dead_at();
}

std::optional<Time> PathEstimator::owes_since() const {
  if (unanswered_.empty()) return std::nullopt;
  return unanswered_.front();
}

Time PathEstimator::dead_at() const {
  if (unanswered_.size() < limits_.least_unanswered) return Time::max();
  // What was sent lately may be answered yet.
  const Time enough =
      unanswered_[limits_.least_unanswered - 1] + usual_answer().value_or(Micros(0));
  Time at = std::max(unanswered_.front() + patience(), enough);
  if (unanswered_.front() < back_) at = std::max(at, back_ + patience());
  return carried_ ? std::max(at, *carried_ + patience()) : at;
}

Micros PathEstimator::age(Time now) const {
  const std::optional<Time>& latest = dead(now) ? sent_ : heard_;
  // What the kernel has noted may be later than the moment that somebody has looked at the clock.
  return latest ? std::max(std::chrono::duration_cast<Micros>(now - *latest), Micros(0))
                : Micros(0);
}

std::optional<Micros> PathEstimator::silent_for(Time now) const {
  if (!heard_) return std::nullopt;
  return std::chrono::duration_cast<Micros>(now - *heard_);
}

// Nobody who does not probe knows that a path is dead: that is unknown, too.
Reachability PathEstimator::reachable_in(Time now) const {
  const std::optional<Micros> silent = silent_for(now);
  const bool heard_since = silent && *silent < patience();
  if (dead(now) && !heard_since) {
    return fresh(sent_, now) ? Reachability::no : Reachability::unknown;
  }
  return fresh(heard_, now) ? Reachability::yes : Reachability::unknown;
}

Reachability PathEstimator::reachable_out(Time now) const {
  if (begins_down_ && !ever_answered()) return Reachability::no;
  if (dead(now)) {
    // With nothing heard either, who knows which direction it is?
    const bool heard = reachable_in(now) == Reachability::yes;
    return heard && fresh(sent_, now) ? Reachability::no : Reachability::unknown;
  }
  return fresh(answered_, now) ? Reachability::yes : Reachability::unknown;
}

DirectionQuality PathEstimator::direction(const DirectionMeters& meters, Time now) const {
  DirectionQuality quality;
  if (fresh(meters.loss.at, now)) quality.loss = meters.loss.value.loss();
  if (within(limits_.bandwidth_fresh_for, meters.bandwidth.at, now)) {
    quality.bandwidth = meters.bandwidth.value.bandwidth();
  }
  return quality;
}

bool PathEstimator::loss_doubtful(Time now) const {
  const auto doubtful = [&](const DirectionMeters& of) {
    return fresh(of.loss.at, now) && of.loss.value.doubtful();
  };
  return doubtful(out_) || doubtful(in_);
}

PathQuality PathEstimator::quality(Time now) const {
  PathQuality quality{.out = direction(out_, now), .in = direction(in_, now)};
  quality.out.reachable = reachable_out(now);
  quality.in.reachable = reachable_in(now);
  if (rtt_.known() && fresh(answered_, now)) {
    quality.rtt = rtt_.rtt();
    quality.variation = rtt_.variation();
  }
  if (within(limits_.mtu_fresh_for, mtu_.at, now)) quality.out.mtu = mtu_.value;
  return quality;
}

}  // namespace homeport::policy
