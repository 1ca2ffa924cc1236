#include "tests/unit/policy/path/link_matrix.h"

#include "policy/path/rank.h"

#include <algorithm>
#include <cmath>

namespace homeport::policy {
namespace {

using namespace std::chrono_literals;

TrueLink random_link(Random& random) {
  std::uniform_real_distribution<double> share(0, 1);
  TrueLink link;
  link.rtt_us = 2000 * std::pow(50, share(random));  // 2 to 100 ms
  link.deviation_us = link.rtt_us * share(random) / 10;
  // Less than a packet in a thousand is not to be counted within seconds.
  link.loss = chance(random, 0.6) ? 0 : 0.001 * std::pow(20, share(random));
  link.bandwidth = 1e7 * std::pow(100, share(random));  // 10 to 1000 Mbit/s
  return link;
}

// As a measurement without noise would have it.
PathQuality truth(const TrueLink& link) {
  PathQuality quality = carrying(Micros(std::lround(link.rtt_us + link.deviation_us)),
                                 static_cast<LossPpm>(link.loss * kAllLost),
                                 static_cast<std::uint64_t>(link.bandwidth));
  // The mean deviation of an exponential distribution.
  quality.variation = Micros(std::lround(link.deviation_us * 2 / std::exp(1)));
  return quality;
}

}  // namespace

void Measured::step(Micros now) {
  std::exponential_distribution<double> beyond(1 / std::max(link_.deviation_us, 1.0));
  estimator_.probe_sent(at(now));
  if (!chance(random_, link_.loss) && !chance(random_, link_.loss)) {
    estimator_.probe_answered(at(now), Micros(std::lround(link_.rtt_us + beyond(random_))));
  }
  sent_ += 50;
  out_ += 50 - std::binomial_distribution<std::uint64_t>(50, link_.loss)(random_);
  in_ += 50 - std::binomial_distribution<std::uint64_t>(50, link_.loss)(random_);
  estimator_.counted(at(now), Direction::out, sent_, out_);
  estimator_.counted(at(now), Direction::in, sent_, in_);
  if (now % 1s == 0s) {
    const double rate = link_.bandwidth * std::normal_distribution<double>(1, 0.03)(random_);
    estimator_.transferred(at(now), Direction::out, static_cast<std::uint64_t>(rate / 8), 1s, true);
  }
}

LinkMatrix::LinkMatrix(unsigned seed) {
  Random random(seed);
  for (int first = 1; first <= 3; ++first) {
    known_.first.ends.push_back(end_at("192.0.2." + std::to_string(first)));
  }
  for (int second = 1; second <= 2; ++second) {
    known_.second.ends.push_back(end_at("198.51.100." + std::to_string(second)));
  }
  for (const PathCandidate& candidate : candidates(known_)) {
    const TrueLink link = random_link(random);
    links_.emplace(candidate.path, Measured(link, random()));
    true_.first.reports.push_back({.path = candidate.path, .quality = truth(link)});
  }
  true_.first.ends = known_.first.ends;
  true_.second.ends = known_.second.ends;
}

void LinkMatrix::run(Micros time) {
  for (const Micros end = now_ + time; now_ < end; now_ += 50ms) {
    known_.first.reports.clear();
    for (auto& [path, link] : links_) {
      link.step(now_);
      known_.first.reports.push_back({.path = path, .quality = link.quality(now_)});
    }
    for (TrafficClass traffic : kTrafficClasses) {
      choosers_[traffic].choose(at(now_), rank(traffic, known_, {}, interactive()), {}, true);
    }
  }
}

double LinkMatrix::wrong_by(TrafficClass traffic) const {
  const auto ranked = rank(traffic, true_, {}, interactive());
  // Not the first of them, which is a decision again.
  const auto best = std::ranges::min(ranked, {}, &RankedPath::counted).counted;
  const RankedPath* chosen = find(ranked, choosers_[traffic].current());
  return static_cast<double>(chosen->counted.count()) / static_cast<double>(best.count());
}

}  // namespace homeport::policy
