// Two hosts that negotiate over a network as bad as a test likes, in simulated time.
//
// What is true of the paths and what each host has found out of it are kept apart: a host measures
// when it is told to. Statements travel as bytes, through the codec.
#pragma once

#include "overlay/negotiation/negotiator.h"
#include "tests/unit/policy/path/paths.h"

#include <array>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace homeport::overlay {

using policy::Micros;
using policy::Random;
using policy::Side;
using policy::Time;
using policy::TrafficClass;

/// The channel between the two, in each direction.
struct Weather {
  Micros least_delay{10'000};
  Micros most_delay{10'000};  ///< statements overtake each other where this is longer
  double loss = 0;
  double twice = 0;  ///< delivered a second time, later
};

class TwoHosts {
 public:
  explicit TwoHosts(unsigned seed, NegotiationSettings settings = {});

  Random random;
  Weather weather;
  /// What is true, as the first host sees it. Paths that are not in here do not carry.
  std::map<policy::PathId, policy::PathQuality> truth;

  void offer(Side side, std::vector<policy::PathEnd> ends);
  void apply(Side side, const policy::PathPolicy& policy);
  /// Has the host find out what is true now.
  void measure(Side side);
  void measure_both();
  /// Its agent starts again: it knows nothing, and what it sends the traffic on stays.
  void restart(Side side, std::uint64_t epoch);

  /// Lets time pass. Each host measures every half second.
  void run(Micros time);
  Time now() const { return now_; }

  PathNegotiator& host(Side side) { return *at(side).negotiator; }
  const std::vector<policy::PathEnd>& ends(Side side) const { return at(side).ends; }
  /// What the host sends the class on.
  const std::optional<policy::PathId>& uses(Side side, TrafficClass traffic) const {
    return at(side).uses[traffic];
  }
  bool same(TrafficClass traffic) const {
    return uses(Side::first, traffic) == uses(Side::second, traffic);
  }
  /// The longest that the two have used different paths, of any class, since forget_history(), and
  /// each time since something_happened() last: what comes on top of a difference is another one.
  Micros longest_apart() const { return longest_apart_; }
  void something_happened();
  /// How often a host has changed the path of a class since then.
  int changes(Side side, TrafficClass traffic) const { return at(side).changes[traffic]; }
  /// Bytes that a host has sent to the other since then.
  std::size_t bytes_said(Side side) const { return at(side).bytes_said; }
  void forget_history();

 private:
  struct Host {
    std::unique_ptr<PathNegotiator> negotiator;
    std::vector<policy::PathEnd> ends;
    policy::PathPolicy policy;
    policy::PerClass<std::optional<policy::PathId>> uses;
    policy::PerClass<int> changes;
    std::size_t bytes_said = 0;
    Time look_again = Time::max();
    Time measures_next{};
  };
  struct Delivery {
    Side to;
    std::string bytes;
  };

  Host& at(Side side) { return hosts_[static_cast<std::size_t>(side)]; }
  const Host& at(Side side) const { return hosts_[static_cast<std::size_t>(side)]; }
  void start(Side side, std::uint64_t epoch);
  void tell(Side side, NegotiationEvent event);
  void send(Side to, const std::string& bytes);
  void deliver(const Delivery& delivery);
  void note_differences();

  NegotiationSettings settings_;
  std::array<Host, 2> hosts_;
  std::multimap<Time, Delivery> network_;
  Time now_ = policy::at(Micros(1'000'000));
  policy::PerClass<std::optional<Time>> apart_since_;
  Micros longest_apart_{};
};

/// Every path between the ends of the two that carries nothing but delay, in the order of `rtts`.
void lay_paths(TwoHosts& hosts, const std::vector<Micros>& rtts);

}  // namespace homeport::overlay
