// The bandwidth of one direction, from the transfers that run there anyway: nothing is sent for it.
#pragma once

#include "policy/path/path.h"

#include <algorithm>
#include <cstdint>
#include <optional>

namespace homeport::policy {

class BandwidthMeter {
 public:
  /// A stretch of a transfer. `backlogged`: the sender always had more to send, so that the path
  /// set the pace; otherwise it only shows what the path can do at least. Stretches that are too
  /// short to tell from a burst are ignored, and those that carried nothing: that is no bandwidth.
  void transferred(std::uint64_t bytes, Micros duration, bool backlogged) {
    if (bytes == 0 || duration < kLeastDuration) return;
    if (bytes < kLeastBytes && duration < kLongDuration) return;
    const std::uint64_t rate =
        bytes * 8 * 1'000'000 / static_cast<std::uint64_t>(duration.count());  // bit/s
    if (!backlogged) {
      if (bandwidth_) bandwidth_ = std::max(*bandwidth_, rate);
    } else if (!bandwidth_) {
      bandwidth_ = rate;
    } else {
      bandwidth_ = *bandwidth_ - *bandwidth_ / 4 + rate / 4;
    }
  }

  std::optional<std::uint64_t> bandwidth() const { return bandwidth_; }

 private:
  static constexpr std::uint64_t kLeastBytes = 128 << 10;
  static constexpr Micros kLeastDuration{20'000};
  /// Few bytes in so long a time are a narrow path.
  static constexpr Micros kLongDuration{200'000};

  std::optional<std::uint64_t> bandwidth_;
};

}  // namespace homeport::policy
