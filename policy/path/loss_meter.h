// The loss of one direction, from counters at both of its ends (compare ITU-T Y.1731, section 8.1).
//
// The sender puts how many packets it has sent into a packet, the receiver notes beside it how many
// have come: what one pair of readings has grown less than the other was lost on the way.
//
// Packets are pooled, so that the estimate gets steadier with each. Whether more are lost than
// before is asked packet by packet (Page's cumulative sum of the logarithm of Wald's probability
// ratio): one that is lost speaks for it, one that arrives against it, and the more so the less was
// lost before.
//
//            one is lost                            more are lost
//     usual -------------> doubtful --------------------------------> risen ---.
//       ^ <--------------------'  ^ <----------------------------------'       |
//       |    enough have arrived         enough have arrived                   |
//       '----------- that is usual now, after enough packets ------------------'
//
// A rise is believed early, on weak evidence, and given up as early if it does not go on: who must
// not act on chance waits whether it stays (ChooserPolicy::proof), and whoever asks asks more often
// meanwhile.
#pragma once

#include "policy/path/path.h"
#include "policy/path/quality.h"

#include <cstdint>
#include <optional>

namespace homeport::policy {

class LossMeter {
 public:
  /// Running totals, read at the same packet. Counters that begin anew are noticed.
  void count(Time now, std::uint64_t sent, std::uint64_t received);

  /// Unknown until a few packets were counted.
  std::optional<LossPpm> loss() const;
  /// More packets would tell whether more are lost than before.
  bool doubtful() const { return doubt_ > 0; }

 private:
  struct Totals {
    std::uint64_t sent = 0;
    std::uint64_t received = 0;
  };
  struct Pool {
    double sent = 0;
    double lost = 0;  // less than 0 while packets come late

    Pool& operator+=(const Pool& other) {
      sent += other.sent;
      lost += other.lost;
      return *this;
    }
    Pool& operator*=(double factor) {
      sent *= factor;
      lost *= factor;
      return *this;
    }
  };

  void weigh(Time now, const Pool& packets);
  void pool(Time now);
  double usual() const;
  double expected() const;
  double tolerance() const;
  void fade(Time now);

  std::optional<Totals> last_;
  Time faded_{};
  Pool pool_;      // of the past
  Pool fresh_;     // of the last packets, to be pooled
  Pool doubtful_;  // of those since the first that was lost, while that may be the beginning
  Time fresh_since_{};
  double doubt_ = 0;
  bool risen_ = false;
};

}  // namespace homeport::policy
