// The loss of one direction, from counters at both of its ends (compare ITU-T Y.1731, section 8.1).
//
// The sender puts how many packets it has sent into a packet, the receiver notes beside it how many
// have come: what one pair of readings has grown less than the other was lost on the way. Packets
// are pooled, so that the estimate gets steadier with each, and when clearly more or fewer are lost
// than before a new pool is begun, so that this is known soon.
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

 private:
  struct Totals {
    std::uint64_t sent = 0;
    std::uint64_t received = 0;
  };
  struct Pool {
    double sent = 0;
    double lost = 0;  // less than 0 while packets come late
  };

  double expected() const;
  double tolerance() const;
  void fade(Time now);
  void begin_anew(Time now);

  std::optional<Totals> last_;
  Time faded_{};
  Pool pool_;   // of the past
  Pool fresh_;  // of the last packets, to be compared with it
  Time fresh_since_{};
};

}  // namespace homeport::policy
