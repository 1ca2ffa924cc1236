// Two hosts that negotiate, one thing at a time.
#include "overlay/negotiation/negotiator.h"

#include "tests/unit/overlay/negotiation/two_hosts.h"

#include <gtest/gtest.h>

namespace homeport::overlay {
namespace {

using namespace std::chrono_literals;
using policy::carrying;
using policy::end_at;
using policy::path_of;

constexpr TrafficClass kClass = TrafficClass::interactive;

// Host A has two interfaces and host B two: four paths.
class Negotiating : public testing::Test {
 protected:
  Negotiating() {
    hosts.offer(Side::first, {end_at("192.0.2.1", "eth0"), end_at("192.0.2.2", "eth1")});
    hosts.offer(Side::second, {end_at("198.51.100.1", "eth0"), end_at("198.51.100.2", "eth1")});
    lay_paths(hosts, {10ms, 20ms, 30ms, 40ms});
  }

  void settle() {
    hosts.measure_both();
    hosts.run(5s);
    expect_both(best);
    hosts.forget_history();
  }

  void expect_both(const std::optional<policy::PathId>& path) {
    EXPECT_EQ(hosts.uses(Side::first, kClass), path);
    EXPECT_EQ(hosts.uses(Side::second, kClass), path);
  }

  void breaks(const policy::PathId& path) { hosts.truth[path] = policy::not_carrying(); }

  TwoHosts hosts{1};
  const policy::PathId best = path_of("192.0.2.1", "198.51.100.1");
  const policy::PathId second = path_of("192.0.2.1", "198.51.100.2");
  const policy::PathId third = path_of("192.0.2.2", "198.51.100.1");
};

TEST_F(Negotiating, BothUseSomePathBeforeAnythingIsMeasured) {
  TwoHosts unmeasured{1};
  unmeasured.offer(Side::first, hosts.ends(Side::first));
  unmeasured.offer(Side::second, hosts.ends(Side::second));
  for (auto& [path, quality] : hosts.truth) unmeasured.truth[path] = {};
  unmeasured.measure_both();
  unmeasured.run(50ms);
  EXPECT_TRUE(unmeasured.uses(Side::first, kClass));
  EXPECT_TRUE(unmeasured.same(kClass));
}

TEST_F(Negotiating, BothAgreeOnTheBest) {
  settle();
  EXPECT_EQ(hosts.host(Side::first).role(), AgreementRole::controlling);
  EXPECT_EQ(hosts.host(Side::second).role(), AgreementRole::following);
  for (Side side : {Side::first, Side::second}) {
    EXPECT_EQ(hosts.host(side).agreement(kClass).state(), AgreementState::agreed);
    EXPECT_TRUE(hosts.host(side).heard_by_peer());
  }
}

TEST_F(Negotiating, BulkUsesOtherInterfacesThanInteractive) {
  settle();
  const auto apart = path_of("192.0.2.2", "198.51.100.2");
  EXPECT_EQ(hosts.uses(Side::first, TrafficClass::bulk), apart);
  EXPECT_EQ(hosts.uses(Side::second, TrafficClass::bulk), apart);
}

TEST_F(Negotiating, WhoeverSeesThePathFailMovesAtOnce) {
  for (Side side : {Side::first, Side::second}) {
    SCOPED_TRACE(side == Side::first ? "the controlling host" : "the following host");
    hosts.truth[best] = carrying(10ms);
    hosts.measure_both();
    hosts.run(60s);
    expect_both(best);
    hosts.forget_history();
    breaks(best);
    hosts.measure(side);
    EXPECT_EQ(hosts.uses(side, kClass), second);
    EXPECT_EQ(hosts.uses(other(side), kClass), best) << "it does not know yet";
    hosts.run(11ms);
    EXPECT_EQ(hosts.uses(other(side), kClass), second);
    EXPECT_LE(hosts.longest_apart(), 10ms) << "half a round trip";
  }
}

TEST_F(Negotiating, FindsTheWayRoundALinkThatCarriesOneWayOnly) {
  settle();
  // Nothing that the first host sends there arrives; the second host alone can tell.
  hosts.truth[best].out.reachable = policy::Reachability::no;
  hosts.measure(Side::second);
  hosts.run(15ms);
  expect_both(second);
}

TEST_F(Negotiating, MovesBothWithinASecondWhenThePathGetsWorse) {
  settle();
  hosts.truth[best] = carrying(10ms, 20'000);
  hosts.measure_both();
  hosts.run(1s);
  expect_both(second);
}

TEST_F(Negotiating, TakesABetterInterfaceThatIsAdded) {
  settle();
  auto ends = hosts.ends(Side::second);
  ends.push_back(end_at("198.51.100.3", "eth2"));
  hosts.offer(Side::second, ends);
  const auto added = path_of("192.0.2.2", "198.51.100.3");
  hosts.truth[added] = carrying(1ms);
  hosts.measure_both();
  hosts.run(1s);
  expect_both(added);
}

TEST_F(Negotiating, LeavesAnAddressThatIsWithdrawn) {
  settle();
  hosts.offer(Side::second, {end_at("198.51.100.2", "eth1")});
  EXPECT_EQ(hosts.uses(Side::second, kClass), second) << "at once";
  hosts.run(15ms);
  expect_both(second);
}

TEST_F(Negotiating, DoesWhatTheControllerPinsAtOnce) {
  settle();
  policy::PathPolicy policy;
  policy[kClass].pinned = {
      {{.host = "hostA", .interface = "eth1"}, {.host = "hostB", .interface = "eth0"}}};
  hosts.apply(Side::second, policy);
  expect_both(best);  // the controlling host has not read it yet
  hosts.apply(Side::first, policy);
  hosts.run(15ms);
  expect_both(third);
}

TEST_F(Negotiating, UsesNoneWhereNothingCarries) {
  settle();
  for (auto& [path, quality] : hosts.truth) quality = policy::not_carrying();
  hosts.measure_both();
  hosts.run(50ms);
  expect_both(std::nullopt);
  hosts.truth[third] = carrying(30ms);
  hosts.measure_both();
  hosts.run(50ms);
  expect_both(third);
}

TEST_F(Negotiating, ARestartOfEitherAgentMovesNothing) {
  settle();
  for (Side side : {Side::second, Side::first}) {
    // The clock may have been set back.
    for (std::uint64_t epoch : {7, 3}) {
      hosts.restart(side, epoch);
      hosts.run(50ms);
      hosts.measure(side);
      hosts.run(5s);
      expect_both(best);
      EXPECT_EQ(hosts.changes(other(side), kClass), 0);
      EXPECT_EQ(hosts.host(side).agreement(kClass).state(), AgreementState::agreed);
    }
  }
}

TEST_F(Negotiating, AHostThatDoesNotAnswerIsNotLedFromPathToPath) {
  settle();
  hosts.weather.loss = 1;
  for (int i = 0; i < 10; ++i) {
    hosts.truth[best] = carrying(i % 2 ? 10ms : 90ms);
    hosts.measure_both();
    hosts.run(10s);
  }
  EXPECT_LE(hosts.changes(Side::first, kClass), 1);
  breaks(*hosts.uses(Side::first, kClass));
  hosts.measure(Side::first);
  EXPECT_LE(hosts.changes(Side::first, kClass), 2) << "but a dead path is left";
  hosts.weather.loss = 0;
  hosts.run(5s);
  EXPECT_TRUE(hosts.same(kClass));
}

TEST_F(Negotiating, SaysLittleWhenItIsSettled) {
  settle();
  hosts.run(10s);
  hosts.forget_history();
  hosts.run(100s);
  // Of a link of 100 Mbit/s a thousandth is for probing a hundred peers: 125 bytes/s for each.
  EXPECT_LT(hosts.bytes_said(Side::first), 100u * 125 / 2);
  EXPECT_LT(hosts.bytes_said(Side::second), 100u * 125 / 2);
}

TEST_F(Negotiating, ForgetsWhatADeadMeasurerHasSaid) {
  PathNegotiator negotiator("hostA", "hostB", 1);
  negotiator.on(OffersEnds{{end_at("192.0.2.1")}}, policy::at(1s));
  PathStatement peers{.id = {1, 1}};
  peers.ends = {end_at("192.0.2.2")};
  peers.reports.emplace();
  negotiator.on(PeerSays{peers}, policy::at(1s));
  const auto path = path_of("192.0.2.1", "192.0.2.2");
  auto actions =
      negotiator.on(HasMeasured{{{.path = path, .quality = carrying(1ms)}}}, policy::at(2s));
  EXPECT_EQ(negotiator.ranked(kClass).at(0).standing, policy::Standing::good);
  Time now{};
  do {
    now = actions.look_again;
    actions = negotiator.on(TimeHasCome(), now);
  } while (actions.look_again <= policy::at(33s));
  EXPECT_EQ(negotiator.ranked(kClass).at(0).standing, policy::Standing::unmeasured);
}

// It may have been for a moment, and there is nobody to say that it is over.
TEST_F(Negotiating, WhatAPeerHasSaidIsBrokenIsTriedWhenItCannotBeReachedAndNothingElseIsLeft) {
  settle();
  breaks(third);
  hosts.measure(Side::second);
  hosts.run(100ms);
  hosts.weather.loss = 1;
  for (auto& [path, quality] : hosts.truth) breaks(path);
  hosts.truth[third] = carrying(30ms);
  hosts.measure(Side::first);
  hosts.run(100ms);
  EXPECT_EQ(hosts.uses(Side::first, kClass), std::nullopt);
  hosts.host(Side::first).on(Disconnected{}, hosts.now());
  EXPECT_EQ(hosts.host(Side::first).agreement(kClass).choice().path, third);
}

TEST_F(Negotiating, WhatComesLateSaysNothingOfWhatThePeerKnowsNow) {
  PathNegotiator negotiator("hostA", "hostB", 1);
  const auto first = negotiator.on(OffersEnds{}, policy::at(1s));
  ASSERT_TRUE(first.say);
  PathStatement peers{.id = {5, 1}, .seen = first.say->id};
  peers.ends.emplace();
  peers.reports.emplace();
  negotiator.on(PeerSays{peers}, policy::at(2s));
  EXPECT_TRUE(negotiator.heard_by_peer());
  PathStatement restarted = peers;
  restarted.id = {9, 1};
  restarted.seen = {};
  negotiator.on(PeerSays{restarted}, policy::at(3s));
  EXPECT_FALSE(negotiator.heard_by_peer());
  peers.id = {5, 2};
  negotiator.on(PeerSays{peers}, policy::at(4s));
  EXPECT_FALSE(negotiator.heard_by_peer());
}

TEST_F(Negotiating, OffersOnlyWhatAnotherHostCanUse) {
  PathNegotiator negotiator("hostA", "hostB", 1);
  std::vector<policy::PathEnd> ends = {end_at("fe80::1"), end_at("127.0.0.1"), end_at("192.0.2.1"),
                                       end_at("192.0.2.1", "eth7"), end_at("192.0.2.99", "eth\n")};
  for (int i = 2; i < 20; ++i) ends.push_back(end_at("192.0.2." + std::to_string(i)));
  const auto actions = negotiator.on(OffersEnds{ends}, policy::at(1s));
  ASSERT_TRUE(actions.say && actions.say->ends);
  EXPECT_EQ(actions.say->ends->size(), policy::kMostEnds);
  EXPECT_EQ(actions.say->ends->at(0), end_at("192.0.2.1"));
  EXPECT_EQ(actions.say->ends->at(1), end_at("192.0.2.2"));
}

TEST_F(Negotiating, SaysNothingWhereNothingHasChanged) {
  settle();
  hosts.offer(Side::first, hosts.ends(Side::first));
  hosts.apply(Side::first, {});
  hosts.measure(Side::first);
  hosts.run(1s);
  EXPECT_EQ(hosts.bytes_said(Side::first), 0u);
}

TEST_F(Negotiating, APeerThatTalksWithoutEndIsAnsweredNowAndThen) {
  PathNegotiator negotiator("hostA", "hostB", 1);
  negotiator.on(OffersEnds{}, policy::at(1s));
  int answers = 0;
  for (std::uint64_t i = 1; i <= 1000; ++i) {
    PathStatement noise{.id = {1, i}, .seen = {i, i}, .wants_answer = true};
    noise.ends.emplace();
    noise.reports.emplace();
    const auto actions = negotiator.on(PeerSays{noise}, policy::at(1s + Micros(i * 10)));
    answers += actions.say.has_value();
  }
  EXPECT_LE(answers, 2) << "in ten milliseconds";
}

}  // namespace
}  // namespace homeport::overlay
