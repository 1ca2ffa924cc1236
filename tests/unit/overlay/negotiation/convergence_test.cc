// Whatever happens, and however bad the network between two agents is: once it is quiet both use
// the same path, or none, and from then on they are never apart for longer than a round trip.
#include "tests/unit/overlay/negotiation/two_hosts.h"

#include <gtest/gtest.h>

#include <string>

namespace homeport::overlay {
namespace {

using namespace std::chrono_literals;

constexpr Micros kDelay = 10ms;  // one way, when the network is quiet
// A round trip, and at each end a statement may have to wait for the one before it.
constexpr Micros kRoundTrip = 2 * kDelay + 2 * SpeakerTimes().least_gap;
// For what was lost before it was quiet to be said again.
constexpr Micros kCalm = SpeakerTimes().last_repeat + 10 * kRoundTrip;

class Chaos {
 public:
  explicit Chaos(unsigned seed) : hosts(seed) {
    for (Side side : {Side::first, Side::second}) hosts.offer(side, some_ends(side));
    hosts.weather = {.least_delay = 1ms, .most_delay = 200ms, .loss = 0.3, .twice = 0.2};
  }

  void rage(int events) {
    for (int i = 0; i < events; ++i) {
      something_happens();
      hosts.run(Micros(policy::between(hosts.random, 0, 400'000)));
    }
  }

  // Nothing happens any more, and both know what is true.
  void be_quiet() {
    hosts.weather = {.least_delay = kDelay, .most_delay = kDelay};
    const policy::PathPolicy policy = some_policy();
    for (Side side : {Side::first, Side::second}) hosts.apply(side, policy);
    hosts.measure_both();
    hosts.run(kCalm);
  }

  void something_happens() {
    const Side side = policy::chance(hosts.random, 0.5) ? Side::first : Side::second;
    switch (policy::between(hosts.random, 0, 7)) {
      case 0:
      case 1:
      case 2:
        a_path_changes();
        break;
      case 3:
      case 4:
        hosts.measure(side);
        break;
      case 5:
        hosts.offer(side, some_ends(side));
        break;
      case 6:
        hosts.apply(side, some_policy());
        break;
      default:
        // Its clock may have been set back meanwhile.
        hosts.restart(side, policy::between(hosts.random, 1, 1'000'000'000));
    }
  }

  void a_path_changes() {
    const policy::Conversation offered{{"hostA", hosts.ends(Side::first)},
                                       {"hostB", hosts.ends(Side::second)}};
    const auto paths = candidates(offered);
    if (paths.empty()) return;
    const auto& path = paths[policy::between(hosts.random, 0, paths.size() - 1)].path;
    hosts.truth[path] = policy::random_quality(hosts.random);
  }

  TwoHosts hosts;

 private:
  std::vector<policy::PathEnd> some_ends(Side side) {
    return policy::random_ends(hosts.random, side == Side::first ? 1 : 2);
  }

  policy::PathPolicy some_policy() {
    policy::PathPolicy policy;
    for (TrafficClass traffic : policy::kTrafficClasses) {
      policy[traffic] = policy::random_policy(hosts.random);
    }
    return policy;
  }
};

std::string used(const TwoHosts& hosts, Side side, TrafficClass traffic) {
  const auto& path = hosts.uses(side, traffic);
  return path ? to_string(*path) : "none";
}

void expect_same(TwoHosts& hosts) {
  // Just now one may have found something better, or that a path is damped no longer.
  for (Side side : {Side::first, Side::second}) {
    if (!hosts.host(side).heard_by_peer()) hosts.run(kRoundTrip);
  }
  for (TrafficClass traffic : policy::kTrafficClasses) {
    EXPECT_EQ(used(hosts, Side::first, traffic), used(hosts, Side::second, traffic))
        << to_string(traffic) << ": "
        << to_string(hosts.host(Side::first).agreement(traffic).state()) << ", "
        << to_string(hosts.host(Side::second).agreement(traffic).state());
    EXPECT_TRUE(hosts.host(Side::first).ranked(traffic) == hosts.host(Side::second).ranked(traffic))
        << to_string(traffic);
    const AgreementState settled =
        hosts.uses(Side::first, traffic) ? AgreementState::agreed : AgreementState::idle;
    for (Side side : {Side::first, Side::second}) {
      EXPECT_EQ(to_string(hosts.host(side).agreement(traffic).state()), to_string(settled))
          << to_string(traffic);
    }
  }
}

class Converges : public testing::TestWithParam<unsigned> {};

// A thousand histories and three hundred: under a sanitizer all of them at once would take too
// long.
INSTANTIATE_TEST_SUITE_P(Seeds, Converges, testing::Range(0u, 40u));

TEST_P(Converges, OnceItIsQuiet) {
  for (unsigned seed = 25 * GetParam(); seed < 25 * GetParam() + 25; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Chaos chaos(seed);
    chaos.rage(40);
    chaos.be_quiet();
    chaos.hosts.forget_history();
    chaos.hosts.run(20s);
    ASSERT_LE(chaos.hosts.longest_apart(), kRoundTrip);
    expect_same(chaos.hosts);
    ASSERT_FALSE(HasFailure());
  }
}

TEST_P(Converges, AndNeverPartsForLongerThanARoundTrip) {
  for (unsigned seed = 25 * GetParam(); seed < 25 * GetParam() + 8; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Chaos chaos(seed);
    chaos.rage(10);
    chaos.be_quiet();
    TwoHosts& hosts = chaos.hosts;
    hosts.forget_history();
    for (int i = 0; i < 20; ++i) {
      chaos.a_path_changes();
      // Who finds out first?
      hosts.measure(policy::chance(hosts.random, 0.5) ? Side::first : Side::second);
      hosts.something_happened();
      hosts.run(Micros(policy::between(hosts.random, 0, 100'000)));
      hosts.measure_both();
      hosts.something_happened();
      hosts.run(Micros(policy::between(hosts.random, 0, 3'000'000)));
      ASSERT_LE(hosts.longest_apart(), kRoundTrip) << "change " << i;
    }
    hosts.run(kCalm);
    expect_same(hosts);
    ASSERT_FALSE(HasFailure());
  }
}

}  // namespace
}  // namespace homeport::overlay
