// Keeps traffic off what fails again and again (compare RFC 2439, route flap damping).
//
// Each failure adds to a penalty that decays by half in every half-life. Above one threshold the
// path is damped, which lasts until the penalty has decayed below another. So who fails twice in a
// while is trusted at once. Who was damped before, and not long ago, is so again after fewer
// failures and for longer, up to a limit: its failures count twice, then four times, then eight
// times.
#pragma once

#include "policy/path/path.h"

#include <cstdint>
#include <map>

namespace homeport::policy {

struct DampingPolicy {
  double failure = 1000;   ///< penalty of the first failures
  double suppress = 2000;  ///< damped from here on
  double reuse = 750;      ///< no longer damped below; what is below half of it is forgotten
  Micros half_life{30'000'000};
  Micros longest{120'000'000};  ///< that a path is damped after its last failure
};

/// Of one path.
class Damping {
 public:
  void failed(Time now, const DampingPolicy& policy);
  double penalty(Time now, const DampingPolicy& policy) const;
  bool damped(Time now, const DampingPolicy& policy) const;
  /// Until it is no longer damped; 0: it is not.
  Micros until_reuse(Time now, const DampingPolicy& policy) const;

 private:
  double penalty_ = 0;  // at since_
  Time since_{};
  bool suppressed_ = false;  // at since_
  unsigned times_ = 0;       // that it has become damped
};

/// Of all paths of a conversation. Outlives the paths: an interface that comes and goes is one more
/// that fails.
class FlapHistory {
 public:
  explicit FlapHistory(DampingPolicy policy = {}) : policy_(policy) {}

  void failed(const PathId& path, Time now);

  bool damped(const PathId& path, Time now) const;
  double penalty(const PathId& path, Time now) const;
  Micros until_reuse(const PathId& path, Time now) const;
  /// When the next damped path is to be used again; Time::max(): none is damped.
  Time next_reuse(Time now) const;

 private:
  void forget_the_old(Time now);

  DampingPolicy policy_;
  std::map<PathId, Damping> paths_;
};

}  // namespace homeport::policy
