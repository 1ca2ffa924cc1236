// A random matrix of links between two hosts, measured by probes with all their noise.
#pragma once

#include "policy/path/chooser.h"
#include "policy/path/conversation.h"
#include "policy/path/estimate.h"
#include "tests/unit/policy/path/paths.h"

#include <map>
#include <optional>

namespace homeport::policy {

/// What a link is really like.
struct TrueLink {
  double rtt_us = 0;
  double deviation_us = 0;  ///< of the round-trip time, exponentially distributed beyond its least
  double loss = 0;          ///< of each direction
  double bandwidth = 0;     ///< bit/s
};

/// 20 probes and 1,000 packets a second, and a transfer each second.
class Measured {
 public:
  Measured(const TrueLink& link, unsigned seed) : link_(link), random_(seed) {}

  void step(Micros now);
  PathQuality quality(Micros now) const { return estimator_.quality(at(now)); }

 private:
  TrueLink link_;
  Random random_;
  PathEstimator estimator_;
  std::uint64_t sent_ = 0, out_ = 0, in_ = 0;
};

/// Three interfaces here, two there, and a chooser for each class.
class LinkMatrix {
 public:
  explicit LinkMatrix(unsigned seed);

  void run(Micros time);
  /// How many times as long the chosen path takes as the best one.
  double wrong_by(TrafficClass traffic) const;

 private:
  const std::optional<PathId>& interactive() const {
    return choosers_[TrafficClass::interactive].current();
  }

  Conversation known_{{"hostA"}, {"hostB"}};
  Conversation true_{{"hostA"}, {"hostB"}};
  std::map<PathId, Measured> links_;
  PerClass<Chooser> choosers_;
  Micros now_{1'000'000};
};

}  // namespace homeport::policy
