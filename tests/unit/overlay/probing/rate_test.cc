// How much is asked, and how often one has to look.
#include "tests/unit/overlay/probing/probed_network.h"

#include <gtest/gtest.h>

#include <fmt/format.h>

namespace homeport::overlay {
namespace {

using namespace std::chrono_literals;

const std::string kPeer = "hostB";

/// 100 hosts, each with two interfaces as this one has; the first of the ways is in use.
std::vector<ProbedWay> fleet(ProbedNetwork& network, int hosts) {
  std::vector<ProbedWay> all;
  for (int host = 0; host < hosts; ++host) {
    std::vector<ProbedWay> ways;
    for (int local = 1; local <= 2; ++local) {
      for (int remote = 0; remote < 2; ++remote) {
        ProbedWay way = ProbedNetwork::way(local, 0);
        way.pair.remote = *policy::parse_address(fmt::format("10.{}.{}.1", remote, host));
        way.path.second = way.pair.remote;
        way.mtu = 1500;
        way.in_use = way.watched = ways.empty();
        network.truth[way.pair];
        ways.push_back(way);
      }
    }
    network.follow(fmt::format("host{}", host), ways);
    all.insert(all.end(), ways.begin(), ways.end());
  }
  return all;
}

// 0.1% of 100 Mbit/s, of which the other hosts' asks and their answers take half.
TEST(Rate, OfAHundredSettledHostsWithFourWaysIsWithinTheBudget) {
  ProbedNetwork network(1);
  const std::vector<ProbedWay> ways = fleet(network, 100);
  network.run(60s);
  network.forget_totals();
  network.run(600s);
  EXPECT_LE(network.bytes() / 600, 6'250u);
  EXPECT_GE(network.bytes() / 600, 4'000u) << "which is made use of";
  EXPECT_LE(network.looks() / 600, 100u) << "each of them takes some 10 us";
  for (std::size_t i = 0; i < ways.size(); ++i) {
    EXPECT_TRUE(network.quality(fmt::format("host{}", i / 4), ways[i]).measured()) << i;
  }
}

TEST(Rate, OfManyNewWaysIsSpread) {
  ProbedNetwork network(1);
  fleet(network, 100);
  network.stand_still(100ms);  // all are due
  network.run(300ms);
  EXPECT_LE(network.burst(), 64u);
  for (int host = 0; host < 100; ++host) {
    for (const PathReport& report :
         network.prober.reports(fmt::format("host{}", host), network.now())) {
      EXPECT_TRUE(report.quality.measured()) << host;
    }
  }
}

TEST(Rate, OfDeadWaysIsWithinTheBudget) {
  ProbedNetwork network(1);
  fleet(network, 100);
  network.truth.clear();
  network.run(60s);
  network.forget_totals();
  network.run(100s);
  EXPECT_LE(network.bytes() / 100, 7'000u);
}

TEST(Rate, OfAWayWithALaneIsThatOfOneInUse) {
  ProbedNetwork network(1);
  ProbedWay way = ProbedNetwork::way(1, 1);
  way.lane = true;
  network.truth[way.pair];
  network.follow(kPeer, {way});
  network.run(5s);
  network.forget_totals();
  network.run(10s);
  EXPECT_NEAR(static_cast<double>(network.asks_of(way)) / 10, 22, 2);
  network.truth.erase(way.pair);
  const auto found = network.until_broken(kPeer, way, 5s);
  ASSERT_TRUE(found);
  EXPECT_LE(*found, 300ms);
}

struct Use {
  const char* what;
  bool in_use, watched, sends, receives, told;
  double least, most;  // asks per second
};

class RateOfUse : public testing::TestWithParam<Use> {};

TEST_P(RateOfUse, IsAsDocumented) {
  ProbedNetwork network(1);
  ProbedWay way = ProbedNetwork::way(1, 1);
  way.in_use = GetParam().in_use;
  way.watched = GetParam().watched;
  network.tells_use = GetParam().told;
  network.truth[way.pair].sends = GetParam().sends;
  network.truth[way.pair].receives = GetParam().receives;
  network.follow(kPeer, {way});
  network.run(10s);
  network.forget_totals();
  network.run(100s);
  const double rate = static_cast<double>(network.asks()) / 100;
  EXPECT_GE(rate, GetParam().least);
  EXPECT_LE(rate, GetParam().most);
}

INSTANTIATE_TEST_SUITE_P(, RateOfUse,
                         testing::Values(Use{"Idle", true, true, false, false, true, 0.4, 0.6},
                                         Use{"NotInUse", false, false, true, true, true, 0.4, 0.6},
                                         Use{"BothWays", true, false, true, true, true, 0.8, 1.2},
                                         Use{"OneWay", true, false, true, false, true, 18, 23},
                                         Use{"Watched", true, true, true, true, true, 300, 334},
                                         Use{"NotTold", true, true, false, false, false, 21, 23}),
                         [](const auto& info) { return info.param.what; });

// A question and its answer now and then, such as for a neighbor's address.
TEST(Rate, OfAWatchedWayIsThatOfASettledOneWhereNobodyConverses) {
  ProbedNetwork network(1);
  ProbedWay way = ProbedNetwork::used(ProbedNetwork::way(1, 1));
  way.watched = true;
  TrueWay& truth = network.truth[way.pair];
  network.follow(kPeer, {way});
  network.run(10s);
  network.forget_totals();
  for (int i = 0; i < 10; ++i) {
    truth.frame_sent = truth.frame_heard = network.now();
    network.run(10s);
  }
  EXPECT_LE(network.asks(), 100u);
}

// It shows that frames flow, and not in time whether they arrive.
TEST(Rate, OfAWayWhoseUseIsToldLateIsAsWhereItIsNotToldWhileFramesFlow) {
  ProbedNetwork network(1);
  network.tells_promptly = false;
  const ProbedWay way = ProbedNetwork::used(ProbedNetwork::way(1, 1));
  TrueWay& truth = network.truth[way.pair];
  network.follow(kPeer, {way});
  network.run(10s);
  network.forget_totals();
  network.run(100s);
  EXPECT_LE(network.asks(), 60u) << "idle";
  truth.sends = truth.receives = true;
  network.run(1s);
  network.forget_totals();
  network.run(100s);
  EXPECT_NEAR(static_cast<double>(network.asks()) / 100, 22, 1);
}

TEST(Rate, OfWatchingIsSharedAndKeepsToTheSpeed) {
  ProbedNetwork network(1);
  std::vector<ProbedWay> ways;
  for (int i = 1; i <= 10; ++i) {
    ways.push_back(ProbedNetwork::used(ProbedNetwork::way(i, i)));
    ways.back().watched = true;
    TrueWay& truth = network.truth[ways.back().pair];
    truth.sends = truth.receives = true;
  }
  ways.front().speed = 2'000'000;
  network.follow(kPeer, ways);
  network.run(10s);
  network.forget_totals();
  network.run(100s);
  EXPECT_LE(network.bytes() / 100, 88'000u);
  EXPECT_GE(network.bytes() / 100, 30'000u);
  // 0.5% of 2 Mbit/s in each direction.
  EXPECT_LE(network.asks_of(ways.front()) * 100 * 8 / 100, 11'000u);
}

TEST(Rate, OfAWatchedWayThatIsAlwaysLossyIsWithinTheBudget) {
  ProbedNetwork network(1);
  ProbedWay way = ProbedNetwork::used(ProbedNetwork::way(1, 1));
  way.watched = true;
  TrueWay& truth = network.truth[way.pair];
  truth.sends = truth.receives = true;
  truth.out_loss = truth.in_loss = 0.01;
  network.follow(kPeer, {way});
  network.run(100s);
  network.forget_totals();
  network.run(100s);
  EXPECT_LE(network.bytes() / 100, 80'000u);
}

// On a machine with other work to do one in a few is.
TEST(Rate, OfASettledWayIsNoHigherWhereSingleAnswersAreLate) {
  ProbedNetwork network(1);
  const ProbedWay way = ProbedNetwork::way(1, 1);
  network.truth[way.pair].late = 0.02;
  network.follow(kPeer, {way});
  network.run(10s);
  network.forget_totals();
  network.run(1000s);
  EXPECT_LE(network.asks(), 600u) << "every 2 s, and the one after a late one";
}

TEST(Rate, IsNotInStep) {
  for (unsigned seed = 1; seed <= 20; ++seed) {
    // Some of these begin together.
    ProbedNetwork one(seed), other(seed + 100);
    const ProbedWay way = ProbedNetwork::way(1, 1);
    for (ProbedNetwork* network : {&one, &other}) {
      network->truth[way.pair];
      network->follow(kPeer, {way});
    }
    int together = 0, asked = 0;
    for (int i = 0; i < 10'000; ++i) {
      const std::uint64_t asks = one.asks(), others = other.asks();
      one.run(10ms);
      other.run(10ms);
      asked += one.asks() > asks;
      together += one.asks() > asks && other.asks() > others;
    }
    EXPECT_GE(asked, 40);
    EXPECT_LE(together, 8) << seed;
  }
}

TEST(Rate, NothingIsToBeDoneWithoutWays) {
  Prober prober({}, 1);
  EXPECT_EQ(prober.look(policy::at(1s)).again, Time::max());
  prober.follow(kPeer, {ProbedNetwork::way(1, 1)}, policy::at(1s));
  EXPECT_LT(prober.look(policy::at(1s)).again, policy::at(2s));
  prober.forget(kPeer);
  const Prober::Look look = prober.look(policy::at(1s));
  EXPECT_EQ(look.again, Time::max());
  EXPECT_TRUE(look.asks.empty());
  EXPECT_TRUE(prober.reports(kPeer, policy::at(1s)).empty());
}

}  // namespace
}  // namespace homeport::overlay
