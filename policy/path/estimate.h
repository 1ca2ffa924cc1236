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

#include <algorithm>
#include <cstdint>
#include <deque>
#include <optional>

namespace homeport::policy {

struct EstimateLimits {
  /// A path carries no more when `least_unanswered` probes have had no answer, each of them for the
  /// retransmission timeout of RFC 6298, and the first of them for this long.
  Micros dead_after{180'000};
  std::uint32_t least_unanswered = 5;  ///< at least 1
  /// The same of a path on which nothing has ever been answered: the peer takes nothing from an
  /// address that it has not taken notice of, and nobody depends on such a path yet.
  Micros first_answer_within{1'000'000};
  /// Reachability, round-trip time, loss: longer than from one probe of a settled path to the next.
  Micros fresh_for{30'000'000};
  Micros bandwidth_fresh_for{120'000'000};
  Micros mtu_fresh_for{3'600'000'000};

  bool operator==(const EstimateLimits&) const = default;
};

enum class Direction : std::uint8_t { out, in };

class PathEstimator {
 public:
  explicit PathEstimator(EstimateLimits limits = {}) : limits_(limits) {}
  /// What is known stays.
  void set_limits(const EstimateLimits& limits) { limits_ = limits; }

  /// Of one that nobody needs at once: until the first answer it is said not to carry, not that it
  /// is unknown (as a session of RFC 5880 begins in Down).
  void begin_down() { begins_down_ = true; }
  void probe_sent(Time now);
  /// Of the probes that have had no answer only those count from now on that were sent later than
  /// the one that has it now, which was sent at `now - rtt`.
  void probe_answered(Time now, Micros rtt);
  bool ever_answered() const { return answered_.has_value(); }
  /// A probe of the peer's has come this way.
  void probe_heard(Time now) { heard_ = std::max(heard_.value_or(now), now); }
  /// It was seen otherwise that both directions carry, lastly then: probes without an answer may be
  /// late. It is not dead before it has not been seen for as long as an answer is waited for.
  void carried(Time last);
  /// The last probe was not sent after all.
  void probe_withdrawn();
  /// What was lost until now was so because nothing was carried, and says nothing of what will be.
  void forget_loss();
  /// Nobody was there to send probes and take answers for so long, which ends now: what is sent
  /// from now on gets the time to be answered.
  void stood_still(Time now, Micros time);
  /// See LossMeter::count().
  void counted(Time now, Direction direction, std::uint64_t sent, std::uint64_t received);
  /// See BandwidthMeter::transferred().
  void transferred(Time now, Direction direction, std::uint64_t bytes, Micros duration,
                   bool backlogged);
  /// The largest IP packet that was seen to arrive at the peer, in bytes.
  void path_mtu(Time now, std::uint32_t mtu);

  PathQuality quality(Time now) const;
  /// More probes would tell whether more are lost than before, in either direction.
  bool loss_doubtful(Time now) const;
  /// Since the last sign that the peer is there: an answer, or a probe of its own.
  std::optional<Micros> silent_for(Time now) const;
  /// Since when a probe has had no answer; nullopt: none is out.
  std::optional<Time> owes_since() const;
  /// When that makes it dead; Time::max(): too few are out.
  Time dead_at() const;
  /// It is: probes have had no answer.
  bool dead(Time now) const;
  /// Within which a probe is answered, usually (RFC 6298, section 2.3); nullopt: not known.
  std::optional<Micros> usual_answer() const;
  /// Within which it is, if it is not lost, however late: for what overtakes it on the way.
  Micros latest_answer() const { return rtt_.rtt() + 8 * rtt_.variation(); }
  /// How old the latest of what quality() says is; 0 where that is nothing.
  Micros age(Time now) const;

 private:
  template <class T>
  struct Noted {
    T value{};
    std::optional<Time> at{};
  };
  struct DirectionMeters {
    Noted<LossMeter> loss;
    Noted<BandwidthMeter> bandwidth;
  };

  static bool within(Micros limit, const std::optional<Time>& at, Time now) {
    return at && now - *at <= limit;
  }
  bool fresh(const std::optional<Time>& at, Time now) const {
    return within(limits_.fresh_for, at, now);
  }
  Reachability reachable_out(Time now) const;
  Reachability reachable_in(Time now) const;
  DirectionQuality direction(const DirectionMeters& meters, Time now) const;
  Micros patience() const;
  DirectionMeters& meters(Direction direction) { return direction == Direction::out ? out_ : in_; }

  EstimateLimits limits_;
  bool begins_down_ = false;
  std::optional<Time> sent_;  // the last probe
  /// When those were sent that have had no answer, nor has any that was sent later. Bounded: of too
  /// many the first and the last ones.
  std::deque<Time> unanswered_;
  Time back_{};  // from the longest absence while one of them was out
  Micros longest_absence_{};
  std::optional<Time> carried_;
  std::optional<Time> answered_;
  std::optional<Time> heard_;  // a probe or an answer of the peer's
  RttMeter rtt_;
  DirectionMeters out_, in_;
  Noted<std::uint32_t> mtu_;
};

}  // namespace homeport::policy
