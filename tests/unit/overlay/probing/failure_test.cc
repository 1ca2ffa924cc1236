// Ways that fail: how soon that is known, and that what has not failed is not taken for failed.
#include "tests/unit/overlay/probing/probed_network.h"

#include <gtest/gtest.h>

#include <string>
#include <tuple>

namespace homeport::overlay {
namespace {

using namespace std::chrono_literals;

const std::string kPeer = "hostB";

struct Case {
  const char* what;
  bool sends, receives, watched, told;
};

class Blackhole : public testing::TestWithParam<Case> {
 protected:
  // The longest that it takes to find a blackhole, which begins at any moment.
  Micros longest(bool fast) {
    Micros longest{};
    for (unsigned seed = 0; seed < 100; ++seed) {
      ProbedNetwork network(seed);
      ProbedWay way = ProbedNetwork::used(ProbedNetwork::way(1, 1));
      way.fast = fast;
      way.watched = GetParam().watched;
      const ProbedWay spare = ProbedNetwork::way(2, 2);
      network.tells_use = GetParam().told;
      network.truth[way.pair].sends = GetParam().sends;
      network.truth[way.pair].receives = GetParam().receives;
      network.truth[spare.pair];
      network.follow(kPeer, {way, spare});
      network.run(3s + Micros(policy::between(network.random, 0, 1'000'000)));
      EXPECT_TRUE(network.quality(kPeer, way).measured());
      network.truth[way.pair].out_carries = false;
      network.truth[way.pair].in_carries = false;
      const auto found = network.until_broken(kPeer, way, 5s);
      EXPECT_TRUE(found) << "seed " << seed;
      longest = std::max(longest, found.value_or(5s));
      EXPECT_TRUE(network.quality(kPeer, spare).measured());
    }
    return longest;
  }
};

// The figures are 300 ms and 60 ms until traffic has moved, of which some is for that.
TEST_P(Blackhole, IsFoundInTime) {
  EXPECT_LE(longest(false), 250ms);
}

TEST_P(Blackhole, IsFoundInTimeWithTheFastProfile) {
  EXPECT_LE(longest(true), 52ms);
}

INSTANTIATE_TEST_SUITE_P(OfTraffic, Blackhole,
                         testing::Values(Case{"Sent", true, false, false, true},
                                         Case{"BothWays", true, true, false, true},
                                         Case{"SentAndWatched", true, false, true, true},
                                         Case{"BothWaysAndWatched", true, true, true, true},
                                         Case{"NotTold", false, false, false, false}),
                         [](const auto& info) { return info.param.what; });

TEST(Failure, OfTheWayOutIsFoundThoughOthersAreHeardFromTheSameAddress) {
  ProbedNetwork network(1);
  const ProbedWay way = ProbedNetwork::used(ProbedNetwork::way(1, 1));
  const ProbedWay other = ProbedNetwork::used(ProbedNetwork::way(2, 1));
  network.truth[way.pair].sends = true;
  network.truth[other.pair].sends = network.truth[other.pair].receives = true;
  network.follow(kPeer, {way, other});
  network.run(3s);
  network.truth[way.pair].out_carries = false;
  const auto found = network.until_broken(kPeer, way, 5s);
  ASSERT_TRUE(found);
  EXPECT_LE(*found, 250ms);
}

TEST(Failure, OfOneDirectionIsToldWhereThePeerIsHeard) {
  ProbedNetwork network(1);
  const ProbedWay way = ProbedNetwork::used(ProbedNetwork::way(1, 1));
  network.truth[way.pair].sends = network.truth[way.pair].peer_asks = true;
  network.follow(kPeer, {way});
  network.run(3s);
  network.truth[way.pair].out_carries = false;
  ASSERT_TRUE(network.until_broken(kPeer, way, 5s));
  EXPECT_EQ(network.quality(kPeer, way).out.reachable, policy::Reachability::no);
  EXPECT_EQ(network.quality(kPeer, way).in.reachable, policy::Reachability::yes);
}

// Where both send: the one whose frames do not arrive hears the other, and need not ask.
TEST(Failure, OfOneDirectionIsFoundByTheHostThatHearsNothing) {
  ProbedNetwork network(1);
  const ProbedWay way = ProbedNetwork::used(ProbedNetwork::way(1, 1));
  network.truth[way.pair].sends = network.truth[way.pair].receives = true;
  network.follow(kPeer, {way});
  network.run(3s);
  network.truth[way.pair].in_carries = false;
  const auto found = network.until_broken(kPeer, way, 5s);
  ASSERT_TRUE(found);
  EXPECT_LE(*found, 250ms);
}

/// Answers wait in queues that lanes have filled.
TEST(Failure, IsNotWhatALaneGetsThrough) {
  for (const bool fast : {false, true}) {
    ProbedNetwork network(1);
    ProbedWay way = ProbedNetwork::used(ProbedNetwork::way(1, 1));
    way.lane = true;
    way.fast = fast;
    network.tells_use = false;
    network.truth[way.pair].lane = true;
    network.follow(kPeer, {way});
    network.run(3s);
    network.truth[way.pair].swamped = true;
    EXPECT_FALSE(network.until_broken(kPeer, way, 2s));
    network.truth[way.pair].out_carries = false;
    const auto found = network.until_broken(kPeer, way, 5s);
    ASSERT_TRUE(found);
    EXPECT_LE(*found, fast ? 52ms : 250ms);
  }
}

TEST(Failure, OfALaneIsNoneOfTheRelayedWayBetweenTheSameAddresses) {
  ProbedNetwork network(1);
  ProbedWay way = ProbedNetwork::used(ProbedNetwork::way(1, 1));
  way.path.relay = "hostC";
  network.tells_use = false;
  network.truth[way.pair].lane = true;
  network.follow(kPeer, {way});
  network.run(3s);
  network.truth[way.pair].swamped = true;
  EXPECT_TRUE(network.until_broken(kPeer, way, 2s));
}

TEST(Failure, OfAWayThatTrafficHasJustBegunOnIsFound) {
  ProbedNetwork network(1);
  const ProbedWay way = ProbedNetwork::used(ProbedNetwork::way(1, 1));
  network.truth[way.pair];
  network.follow(kPeer, {way});
  network.run(3s);
  network.truth[way.pair].out_carries = false;
  network.truth[way.pair].sends = true;
  const auto found = network.until_broken(kPeer, way, 5s);
  ASSERT_TRUE(found);
  EXPECT_LE(*found, 280ms);
}

TEST(Failure, OfAWayWhoseUseIsToldLateIsFound) {
  for (unsigned seed = 0; seed < 50; ++seed) {
    ProbedNetwork network(seed);
    network.tells_promptly = false;
    const ProbedWay way = ProbedNetwork::used(ProbedNetwork::way(1, 1));
    network.truth[way.pair].sends = network.truth[way.pair].receives = true;
    network.follow(kPeer, {way});
    network.run(3s + Micros(policy::between(network.random, 0, 1'000'000)));
    // What has come before shows later.
    network.truth[way.pair].out_carries = false;
    const auto found = network.until_broken(kPeer, way, 5s);
    ASSERT_TRUE(found);
    EXPECT_LE(*found, 250ms);
  }
}

TEST(Failure, IsFoundWhereUseIsNotToldAnyMore) {
  ProbedNetwork network(1);
  const ProbedWay way = ProbedNetwork::used(ProbedNetwork::way(1, 1));
  network.truth[way.pair];
  network.follow(kPeer, {way});
  network.run(3s);
  network.tells_use = false;
  network.run(1s);
  network.truth[way.pair].out_carries = false;
  const auto found = network.until_broken(kPeer, way, 5s);
  ASSERT_TRUE(found);
  EXPECT_LE(*found, 250ms);
}

TEST(Failure, OfAnIdleWayIsFoundByTheNextAsk) {
  ProbedNetwork network(1);
  const ProbedWay way = ProbedNetwork::way(1, 1);
  network.truth[way.pair];
  network.follow(kPeer, {way});
  network.run(10s);
  network.truth[way.pair].in_carries = false;
  network.forget_totals();
  const auto found = network.until_broken(kPeer, way, 10s);
  ASSERT_TRUE(found);
  EXPECT_LE(*found, 2s * 9 / 8 + 250ms);
  EXPECT_GE(network.asks(), 8u) << "a verdict has more than five of them where it can";
}

TEST(Failure, OfWaysNotInUseIsKnownAsSoonAsThatOfTheOneInUse) {
  ProbedNetwork network(1);
  const ProbedWay way = ProbedNetwork::used(ProbedNetwork::way(1, 1));
  const ProbedWay same_switch = ProbedNetwork::way(1, 2), spare = ProbedNetwork::way(2, 2);
  network.truth[way.pair].sends = true;
  network.truth[same_switch.pair], network.truth[spare.pair];
  network.follow(kPeer, {way, same_switch, spare});
  network.run(10s);
  network.truth.erase(way.pair), network.truth.erase(same_switch.pair);
  ASSERT_TRUE(network.until_broken(kPeer, way, 5s));
  network.run(70ms);
  EXPECT_TRUE(network.quality(kPeer, same_switch).broken());
  EXPECT_TRUE(network.quality(kPeer, spare).measured());
}

TEST(Failure, IsOverSoonAfterTheWayCarriesAgain) {
  ProbedNetwork network(1);
  const ProbedWay way = ProbedNetwork::used(ProbedNetwork::way(1, 1));
  network.follow(kPeer, {way});
  network.run(30s);
  EXPECT_TRUE(network.quality(kPeer, way).broken()) << "still";
  network.forget_totals();
  network.run(60s);
  EXPECT_NEAR(static_cast<double>(network.asks()), 60, 10);
  network.truth[way.pair];
  const auto measured = [&] { return network.quality(kPeer, way).measured(); };
  const auto found = network.until(kPeer, measured, 5s);
  ASSERT_TRUE(found);
  EXPECT_LE(*found, 1s * 9 / 8 + 20ms);
}

struct Weather {
  const char* what;
  double loss;
  Micros jitter;
};

// An hour of each, in quarters, so that sanitizers keep up.
class BadWeather : public testing::TestWithParam<std::tuple<Weather, bool, unsigned>> {};

/// Whoever keeps what is known of ways hears of it, lest they know it when it is there again.
TEST(Failure, IsToldOfAWayThatIsNotFollowedAnyMore) {
  ProbedNetwork network(1);
  const ProbedWay way = ProbedNetwork::way(1, 1), other = ProbedNetwork::way(2, 2);
  network.truth[way.pair], network.truth[other.pair];
  network.follow(kPeer, {way, other});
  network.run(3s);
  network.follow(kPeer, {way});
  EXPECT_EQ(network.until(
                kPeer, [] { return true; }, 10ms),
            0us);
}

/// The other host may have measured it before.
TEST(Failure, IsWhatAWayBeginsWithWhereAnotherCarries) {
  ProbedNetwork network(1);
  const ProbedWay way = ProbedNetwork::way(1, 1), added = ProbedNetwork::way(2, 2);
  network.truth[way.pair];
  network.follow(kPeer, {way});
  EXPECT_FALSE(network.quality(kPeer, way).broken()) << "it is the only one";
  network.run(3s);
  network.truth[added.pair].in_carries = false;
  network.follow(kPeer, {way, added});
  EXPECT_TRUE(network.quality(kPeer, added).broken());
  network.run(300ms);
  EXPECT_TRUE(network.quality(kPeer, added).broken());
  network.truth[added.pair].in_carries = true;
  network.run(80ms);
  EXPECT_TRUE(network.quality(kPeer, added).measured());
  // And not where nothing is known of the others, or they do not carry.
  network.truth.erase(way.pair), network.truth.erase(added.pair);
  network.run(3s);
  const ProbedWay last = ProbedNetwork::way(3, 3);
  network.follow(kPeer, {way, added, last});
  EXPECT_TRUE(network.quality(kPeer, added).broken());
  EXPECT_FALSE(network.quality(kPeer, last).broken());
}

/// Otherwise it would not be used for a quarter of an hour: few packets are asked on an idle way.
TEST(Failure, IsNoLossOnceItIsOver) {
  for (bool counts : {true, false}) {
    ProbedNetwork network(1);
    const ProbedWay way = ProbedNetwork::way(1, 1);
    network.truth[way.pair].counts = counts;
    network.follow("hostB", {way});
    network.run(5s);
    network.truth[way.pair].out_carries = false;
    network.run(5s);
    network.truth[way.pair].out_carries = true;
    network.run(60s);
    const policy::PathQuality quality = network.quality("hostB", way);
    EXPECT_TRUE(quality.measured());
    EXPECT_EQ(quality.out.loss.value_or(0), 0u) << counts;
    EXPECT_EQ(quality.in.loss.value_or(0), 0u) << counts;
  }
}

TEST_P(BadWeather, IsNoFailure) {
  const auto& [weather, fast, seed] = GetParam();
  ProbedNetwork network(seed);
  ProbedWay sent = ProbedNetwork::used(ProbedNetwork::way(1, 1));
  sent.fast = fast;
  const ProbedWay idle = ProbedNetwork::way(2, 2);
  for (const ProbedWay& way : {sent, idle}) {
    TrueWay& truth = network.truth[way.pair];
    truth.out_loss = truth.in_loss = weather.loss;
    truth.jitter = weather.jitter;
  }
  network.truth[sent.pair].sends = true;
  network.follow(kPeer, {sent, idle});
  const auto broken = [&] {
    return network.quality(kPeer, sent).broken() || network.quality(kPeer, idle).broken();
  };
  EXPECT_FALSE(network.until(kPeer, broken, 900s))
      << "at " << network.now().time_since_epoch() / 1ms;
  EXPECT_TRUE(network.quality(kPeer, sent).measured());
  EXPECT_TRUE(network.quality(kPeer, idle).measured());
}

std::string name_of(const testing::TestParamInfo<BadWeather::ParamType>& info) {
  const auto& [weather, fast, seed] = info.param;
  return weather.what + std::string(fast ? "Fast" : "") + std::to_string(seed);
}

INSTANTIATE_TEST_SUITE_P(Of, BadWeather,
                         testing::Combine(testing::Values(Weather{"Loss", 0.01, 0us},
                                                          Weather{"Jitter", 0, 4ms},
                                                          Weather{"Both", 0.01, 2ms}),
                                          testing::Bool(), testing::Range(1u, 5u)),
                         name_of);

TEST(StandingStill, IsNoFailureOfTheWays) {
  for (unsigned seed = 0; seed < 50; ++seed) {
    ProbedNetwork network(seed);
    ProbedWay way = ProbedNetwork::used(ProbedNetwork::way(1, 1));
    way.watched = way.fast = seed % 2;
    TrueWay& truth = network.truth[way.pair];
    truth.sends = true;
    truth.out = truth.in = 30ms;
    network.follow(kPeer, {way});
    network.run(3s + Micros(policy::between(network.random, 0, 100'000)));
    // What arrives in the meantime is lost: the buffer is not that large.
    network.answers = false;
    network.stand_still(Micros(policy::between(network.random, 10'000, 5'000'000)));
    network.run(1us);
    network.answers = true;
    const auto broken = [&] { return network.quality(kPeer, way).broken(); };
    EXPECT_FALSE(broken()) << "seed " << seed;
    EXPECT_FALSE(network.until(kPeer, broken, 3s)) << "seed " << seed;
  }
}

TEST(StandingStill, DoesNotKeepAFailureFromBeingFound) {
  ProbedNetwork network(1);
  const ProbedWay way = ProbedNetwork::used(ProbedNetwork::way(1, 1));
  network.truth[way.pair].sends = true;
  network.follow(kPeer, {way});
  network.run(3s);
  network.truth[way.pair].out_carries = false;
  // A machine so busy that each look is late.
  for (int i = 0; i < 30 && !network.quality(kPeer, way).broken(); ++i) {
    network.run(1us);
    network.stand_still(50ms);
  }
  EXPECT_TRUE(network.quality(kPeer, way).broken());
}

}  // namespace
}  // namespace homeport::overlay
