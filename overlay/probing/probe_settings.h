// How often ways are asked, and for how long what was found out holds. docs/paths.md shows the
// rates that come of it.
#pragma once

#include "policy/path/estimate.h"
#include "policy/path/path.h"

#include <cstdint>

namespace homeport::overlay {

/// Of a way that is looked after with this haste.
struct ProbeTimes {
  /// Between two looks at what traffic shows (ProbeWire::used()), while there is some.
  policy::Micros poll{20'000};
  /// Traffic is sent and nothing has come back for this long: the way is asked.
  policy::Micros quiet{30'000};
  /// Between two asks of a way that has not been decided on, or of which nothing else tells.
  policy::Micros quick{45'000};
  /// Between two asks of a way that owes an answer.
  policy::Micros rapid{22'000};
  policy::EstimateLimits limits = {};

  /// A way that carries no more has been found out after 180 ms without an answer.
  static ProbeTimes default_profile() { return {}; }
  /// After 30 ms.
  static ProbeTimes fast_profile();
};

struct ProbeSettings {
  ProbeTimes ordinary = ProbeTimes::default_profile();
  ProbeTimes fast = ProbeTimes::fast_profile();

  /// Of a settled way, between two asks. They are stretched up to `slowest` to keep within the
  /// budget; beyond that what is known would be old before it is confirmed.
  policy::Micros slow{2'000'000};
  policy::Micros slowest{20'000'000};
  /// Likewise of a way that does not carry.
  policy::Micros dead{1'000'000};
  /// Of a way that carries an application's traffic, so that a change is seen: where interactive
  /// traffic is sent, and where only other is.
  policy::Micros watched{3'000};
  policy::Micros flowing{1'000'000};
  /// Of such a way while it is in doubt whether more is lost on it than before.
  policy::Micros closely{1'000};
  /// Traffic was seen for the last time no longer ago than this: there is some.
  policy::Micros recent{1'000'000};
  /// Frames flow when they have done so for this long: a host asks now and then who its neighbors
  /// are, which nobody has to watch a way for.
  policy::Micros conversation{100'000};
  /// Between two measurements of the path MTU of a settled way, which are stretched as well.
  policy::Micros mtu{60'000'000};
  policy::Micros mtu_slowest{1'800'000'000};

  /// Bytes/s of this host's asks and their answers, all ways together; the other hosts' asks and
  /// their answers come to as much again. For settled ways; once more for those that do not carry.
  std::uint64_t budget = 6'000;
  /// Likewise, on top of it, while applications' traffic flows: an eighth is for asking closely.
  std::uint64_t watch_budget = 80'000;
  /// Asks that may go out closely one after the other, before that eighth is all there is.
  double most_closely = 1'000;
  /// Of an ask of the smallest size on the wire, and of its answer: the most that it is.
  std::uint64_t ask_bytes = 120;
};

}  // namespace homeport::overlay
