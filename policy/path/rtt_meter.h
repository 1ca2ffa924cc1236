// The smoothed round-trip time and its mean deviation (RFC 6298, section 2.3).
//
// The gains are half of TCP's: probes give many samples where TCP has one in each round trip, and
// what two paths are compared by should not follow each of them.
#pragma once

#include "policy/path/path.h"

#include <chrono>

namespace homeport::policy {

class RttMeter {
 public:
  void sample(Micros rtt) {
    const Nanos now = rtt;
    if (!known_) {
      smoothed_ = now;
      variation_ = now / 2;
      known_ = true;
      return;
    }
    const Nanos error = now > smoothed_ ? now - smoothed_ : smoothed_ - now;
    variation_ += (error - variation_) / 8;
    smoothed_ += (now - smoothed_) / 16;
  }

  bool known() const { return known_; }
  Micros rtt() const { return std::chrono::duration_cast<Micros>(smoothed_); }
  Micros variation() const { return std::chrono::duration_cast<Micros>(variation_); }

 private:
  using Nanos = std::chrono::nanoseconds;

  bool known_ = false;
  Nanos smoothed_{};
  Nanos variation_{};
};

}  // namespace homeport::policy
