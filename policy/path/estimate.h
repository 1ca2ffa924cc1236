// From the results of probes to what one host knows of one path. Fed by whoever probes; pure.
//
// A probe is answered along the path it came by. So an answer shows that both directions carry, a
// probe of the peer's that one does, and probes that stay without an answer while the peer is heard
// that the other does not. Each value is forgotten when nothing has confirmed it for a while.
#pragma once

#include "policy/path/bandwidth_meter.h"
#include "policy/path/loss_meter.h"
#include "policy/path/quality.h"
#include "policy/path/rtt_meter.h"

#include <cstdint>
#include <optional>

namespace homeport::policy {

struct EstimateLimits {
  /// A path carries no more when `least_unanswered` probes have had no answer, the first of them
  /// for this long, or for the retransmission timeout of RFC 6298 where that is longer.
  Micros dead_after{250'000};
  std::uint32_t least_unanswered = 3;
  Micros fresh_for{5'000'000};         ///< reachability, round-trip time, loss
  Micros long_fresh_for{120'000'000};  ///< bandwidth and MTU, which are measured now and then
};

enum class Direction : std::uint8_t { out, in };
/// What is counted at both ends for loss.
enum class Counted : std::uint8_t { probes, traffic };

class PathEstimator {
 public:
  explicit PathEstimator(EstimateLimits limits = {}) : limits_(limits) {}

  void probe_sent(Time now);
  void probe_answered(Time now, Micros rtt);
  /// A probe of the peer's has come this way.
  void probe_heard(Time now) { heard_ = now; }
  /// See LossMeter::count().
  void counted(Time now, Counted what, Direction direction, std::uint64_t sent,
               std::uint64_t received);
  /// See BandwidthMeter::transferred().
  void transferred(Time now, Direction direction, std::uint64_t bytes, Micros duration,
                   bool backlogged);
  /// The largest IP packet that was seen to arrive at the peer, in bytes.
  void path_mtu(Time now, std::uint32_t mtu);

  PathQuality quality(Time now) const;
  /// Since the last sign that the peer is there: an answer, or a probe of its own.
  std::optional<Micros> silent_for(Time now) const;
  /// When a probe that has no answer yet will make it dead; Time::max(): none is out.
  Time dead_at() const;

 private:
  template <class T>
  struct Noted {
    T value{};
    std::optional<Time> at{};
  };
  struct DirectionMeters {
    Noted<LossMeter> probes, traffic;
    Noted<BandwidthMeter> bandwidth;
  };

  bool fresh(const std::optional<Time>& at, Time now) const;
  bool long_fresh(const std::optional<Time>& at, Time now) const;
  bool unanswered(Time now) const;
  Reachability reachable_out(Time now) const;
  Reachability reachable_in(Time now) const;
  DirectionQuality direction(const DirectionMeters& meters, Time now) const;
  Micros patience() const;
  DirectionMeters& meters(Direction direction) { return direction == Direction::out ? out_ : in_; }

  EstimateLimits limits_;
  std::optional<Time> sent_;              // the last probe
  std::optional<Time> first_unanswered_;  // since the last answer
  std::uint32_t unanswered_count_ = 0;
  std::optional<Time> answered_;
  std::optional<Time> heard_;  // a probe or an answer of the peer's
  RttMeter rtt_;
  DirectionMeters out_, in_;
  Noted<std::uint32_t> mtu_;
};

}  // namespace homeport::policy
