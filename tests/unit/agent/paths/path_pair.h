// Two hosts that agree on paths over a network without delay, with the history that each keeps.
#pragma once

#include "agent/paths/path_history.h"
#include "agent/paths/path_snapshot.h"
#include "tests/unit/policy/path/paths.h"

#include <array>
#include <chrono>
#include <map>
#include <optional>
#include <utility>
#include <vector>

namespace homeport::agent::test {

using policy::Micros;
using policy::Side;

class PathPair {
 public:
  PathPair() {
    for (Side side : {Side::first, Side::second}) {
      tell(side, overlay::Connected());
    }
  }

  void offer(Side side, std::vector<policy::PathEnd> ends) {
    tell(side, overlay::OffersEnds{std::move(ends)});
  }
  void apply(const policy::PathPolicy& policy) {
    for (Side side : {Side::first, Side::second}) tell(side, overlay::PolicyIs{policy});
  }
  /// `truth`: as the first host sees it. A side that measures tells what is in there.
  void measure(Side side) {
    overlay::HasMeasured measured;
    for (const auto& [path, quality] : truth) {
      const bool first = side == Side::first;
      measured.reports.push_back(
          {.path = path, .quality = first ? quality : policy::seen_from_other_end(quality)});
    }
    tell(side, std::move(measured));
  }

  /// Both look again, and measure unless they have stopped, every 50 ms.
  void run(Micros time) {
    for (const policy::Time end = now_ + time; now_ < end;) {
      now_ += Micros(50'000);
      for (Side side : {Side::first, Side::second}) {
        if (measuring) measure(side);
        tell(side, overlay::TimeHasCome());
      }
    }
  }

  PathsMoment now() const { return {now_, SystemTime(now_ - policy::Time())}; }
  PathHistory& history(Side side) { return hosts_[index(side)].history; }
  const overlay::PathNegotiator& negotiator(Side side) { return hosts_[index(side)].negotiator; }

  PeerPathsSnapshot snapshot(Side side, PathsDetail detail = PathsDetail::everything) {
    return path_snapshot({negotiator(side), history(side), true, now().system, 12, 11}, now(),
                         detail);
  }

  std::map<policy::PathId, policy::PathQuality> truth;
  bool measuring = true;

 private:
  struct Host {
    Host(const char* own, const char* peer) : negotiator(own, peer, 1), history(own, peer) {}
    overlay::PathNegotiator negotiator;
    PathHistory history;
  };

  static std::size_t index(Side side) { return static_cast<std::size_t>(side); }

  void tell(Side side, overlay::NegotiationEvent event) {
    Host& host = hosts_[index(side)];
    overlay::NegotiationActions actions = host.negotiator.on(std::move(event), now_);
    for (const overlay::PathUse& use : actions.use) {
      host.history.changed(now(), use, host.negotiator);
    }
    if (actions.say) tell(policy::other(side), overlay::PeerSays{std::move(*actions.say)});
  }

  std::array<Host, 2> hosts_{Host("hostA", "hostB"), Host("hostB", "hostA")};
  policy::Time now_ = policy::at(Micros(1'000'000'000));
};

}  // namespace homeport::agent::test
