// What is shown of two hosts that negotiate, from both sides.
#include "agent/paths/path_snapshot.h"

#include "agent/status/path_json.h"
#include "tests/unit/agent/paths/path_pair.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <boost/json.hpp>

namespace homeport::agent {
namespace {

using namespace std::chrono_literals;
using policy::carrying;
using policy::ChoiceCause;
using policy::end_at;
using policy::Obstacle;
using policy::path_of;
using policy::Side;
using policy::Standing;
using policy::TrafficClass;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class Paths : public testing::Test {
 protected:
  Paths() {
    pair.offer(Side::first, {end_at("192.0.2.1", "eth0"), end_at("192.0.2.2", "eth1")});
    pair.offer(Side::second, {end_at("198.51.100.1", "ens1"), end_at("198.51.100.2", "ens2")});
    pair.truth = {{best, carrying(10ms)},
                  {second, carrying(20ms)},
                  {third, carrying(30ms)},
                  {path_of("192.0.2.2", "198.51.100.2"), carrying(40ms)}};
  }

  ClassPathSnapshot interactive(Side side) { return pair.snapshot(side).classes.at(0); }

  test::PathPair pair;
  const policy::PathId best = path_of("192.0.2.1", "198.51.100.1");
  const policy::PathId second = path_of("192.0.2.1", "198.51.100.2");
  const policy::PathId third = path_of("192.0.2.2", "198.51.100.1");
};

std::string written(const PathSnapshot& path) {
  return path.local.interface + " " + path.local.address.to_string() + ", " +
         path.remote.interface + " " + path.remote.address.to_string();
}

TEST_F(Paths, AreSeenFromEitherEnd) {
  pair.truth[best].out.loss = 1'000;
  pair.run(5s);
  const PeerPathsSnapshot here = pair.snapshot(Side::first);
  const PeerPathsSnapshot there = pair.snapshot(Side::second);
  EXPECT_EQ(here.peer, "hostB");
  EXPECT_EQ(here.role, "controlling");
  EXPECT_EQ(there.peer, "hostA");
  EXPECT_EQ(there.role, "following");
  EXPECT_TRUE(here.heard);
  EXPECT_EQ(here.epoch, 1u);
  EXPECT_TRUE(here.connected);
  EXPECT_EQ(here.probes_sent, 12u);
  EXPECT_EQ(here.probes_answered, 11u);
  ASSERT_EQ(here.classes.size(), 3u);
  const ClassPathSnapshot& ours = here.classes[0];
  const ClassPathSnapshot& theirs = there.classes[0];
  EXPECT_EQ(ours.traffic, TrafficClass::interactive);
  EXPECT_EQ(ours.state, "agreed");
  EXPECT_EQ(written(ours.path.value()), "eth0 192.0.2.1, ens1 198.51.100.1");
  EXPECT_EQ(written(theirs.path.value()), "ens1 198.51.100.1, eth0 192.0.2.1");
  EXPECT_EQ(ours.peer_path, ours.path);
  EXPECT_EQ(ours.quality.rtt, 10ms);
  EXPECT_EQ(ours.quality.out.loss, 1'000u);
  EXPECT_EQ(ours.quality.in.loss, 0u);
  EXPECT_EQ(theirs.quality.in.loss, 1'000u);
  EXPECT_EQ(theirs.quality.out.loss, 0u);
  EXPECT_EQ(ours.candidates, (std::map<Standing, std::uint64_t>{{Standing::good, 4}}));
}

TEST_F(Paths, TheEndsOfThePeerAreThoseItOffers) {
  pair.run(1s);
  std::vector<std::string> interfaces;
  for (const PathEndSnapshot& end : pair.snapshot(Side::first).ends) {
    interfaces.push_back(end.end.interface);
    EXPECT_EQ(end.not_offered, "");
  }
  EXPECT_THAT(interfaces, ElementsAre("ens1", "ens2"));
}

TEST_F(Paths, ASummaryHasNoCandidates) {
  pair.run(5s);
  const PeerPathsSnapshot summary = pair.snapshot(Side::first, PathsDetail::summary);
  EXPECT_THAT(summary.ends, IsEmpty());
  EXPECT_THAT(summary.recent, IsEmpty());
  ASSERT_EQ(summary.classes.size(), 3u);
  for (const ClassPathSnapshot& of : summary.classes) {
    EXPECT_TRUE(of.path);
    EXPECT_TRUE(of.quality.rtt);
    EXPECT_FALSE(of.candidates.empty());
    EXPECT_THAT(of.ranked, IsEmpty());
    EXPECT_THAT(of.explanation, IsEmpty());
  }
}

TEST_F(Paths, OfManyPeersOneIsExplained) {
  pair.run(5s);
  const PathHistory other("hostA", "hostC");
  const std::vector<PeerPathsSource> sources = {
      {pair.negotiator(Side::first), pair.history(Side::first)},
      {pair.negotiator(Side::first), other}};
  const PathsSnapshot one =
      paths_snapshot({{end_at("192.0.2.9"), "it is down"}}, sources, pair.now(), "hostB");
  ASSERT_EQ(one.ends.size(), 1u);
  EXPECT_EQ(one.ends[0].not_offered, "it is down");
  ASSERT_EQ(one.peers.size(), 2u);
  EXPECT_FALSE(one.peers[0].classes[0].ranked.empty());
  EXPECT_TRUE(one.peers[1].classes[0].ranked.empty());
  for (const PeerPathsSnapshot& peer : paths_snapshot({}, sources, pair.now(), "").peers) {
    EXPECT_TRUE(peer.classes[0].ranked.empty());
  }
}

TEST_F(Paths, AreRankedWithWhyAndWhatWouldChangeIt) {
  pair.run(5s);
  const std::vector<CandidateSnapshot> ranked = interactive(Side::first).ranked;
  ASSERT_EQ(ranked.size(), 4u);
  EXPECT_EQ(written(ranked[0].path), "eth0 192.0.2.1, ens1 198.51.100.1");
  EXPECT_TRUE(ranked[0].in_use);
  EXPECT_FALSE(ranked[1].in_use);
  EXPECT_EQ(ranked[1].quality.rtt, 20ms);
  EXPECT_EQ(ranked[0].age, 0ms);
  // 1000 bytes at the assumed 100 Mbit/s are 80 us.
  EXPECT_EQ(ranked[0].why,
            "It comes first: an exchange counts as 10.1 ms, with the second as 20.1 ms.");
  EXPECT_EQ(ranked[0].remedy, "");
  EXPECT_EQ(ranked[1].why,
            "It comes after the first: an exchange counts as 20.1 ms, with the first as 10.1 ms.");
  EXPECT_EQ(ranked[1].remedy,
            "Its exchange would have to count as less than 10.1 ms, and to replace the first as "
            "less than 9.60 ms.");
}

TEST_F(Paths, WhatIsBrokenSaysWhichWay) {
  pair.run(5s);
  pair.truth[best].out.reachable = policy::Reachability::no;
  pair.run(1s);
  const std::string both[] = {"what this host sends on it does not arrive",
                              "what hostA sends on it does not arrive"};
  for (Side side : {Side::first, Side::second}) {
    const CandidateSnapshot worst = interactive(side).ranked.at(3);
    EXPECT_EQ(worst.standing, Standing::excluded);
    EXPECT_EQ(worst.obstacle, Obstacle::broken);
    EXPECT_EQ(worst.why, "It is excluded: " + both[static_cast<int>(side)] + ".");
    EXPECT_EQ(worst.remedy, "It would have to carry in both directions.");
  }
}

TEST_F(Paths, ChangesAreToldWithTheirCause) {
  pair.run(5s);
  const SystemTime before = pair.now().system;
  pair.truth[best] = policy::not_carrying();
  pair.run(1s);
  const ClassPathSnapshot now = interactive(Side::first);
  EXPECT_EQ(now.cause, ChoiceCause::lost);
  ASSERT_TRUE(now.since);
  EXPECT_GT(*now.since, before);
  EXPECT_EQ(now.changes.at(ChoiceCause::lost), 1u);
  std::vector<std::string> told;
  for (const PathChange& change : pair.snapshot(Side::first).recent) {
    if (change.traffic == TrafficClass::interactive) told.push_back(change.text);
  }
  EXPECT_EQ(told.back(),
            "interactive goes eth0 192.0.2.1 -> ens2 198.51.100.2 instead of eth0 192.0.2.1 -> "
            "ens1 198.51.100.1: what hostB sends on that does not arrive.");
  EXPECT_THAT(now.explanation,
              ElementsAre("interactive goes eth0 192.0.2.1 -> ens2 198.51.100.2: the one before "
                          "could not be used any more.",
                          "hostB uses the same path, and has said so.",
                          "It comes first: an exchange counts as 20.1 ms, with the second as 30.1 "
                          "ms."));
  EXPECT_THAT(pair.snapshot(Side::second).recent.back().text, HasSubstr("198.51.100.2 -> "));
}

TEST_F(Paths, WhatIsPinnedIsSaidToBe) {
  policy::PathPolicy policy;
  policy[TrafficClass::interactive].pinned = {{.one = {.host = "hostA", .interface = "eth1"},
                                               .other = {.host = "hostB", .interface = "ens1"}}};
  pair.run(5s);
  pair.apply(policy);
  pair.run(1s);
  const ClassPathSnapshot pinned = interactive(Side::first);
  EXPECT_EQ(pinned.cause, ChoiceCause::pinned);
  EXPECT_EQ(pinned.ranked.at(0).why, "It comes first: the controller has pinned it.");
  EXPECT_EQ(pinned.ranked.at(1).why,
            "It comes after the first: the controller has pinned the first.");
  EXPECT_EQ(pinned.ranked.at(1).remedy,
            "Only the controller changes that, by pinning this one or no longer the first.");
}

TEST_F(Paths, EveryObstacleIsNamedWithFigureAndLimit) {
  policy::PathPolicy policy;
  policy[TrafficClass::interactive].minimum = {
      .most_rtt = 15ms, .most_loss = 10'000, .least_bandwidth = 100'000'000, .least_mtu = 1400};
  pair.truth[best] = carrying(10ms, 20'000);
  pair.truth[third] = carrying(10ms, 0, 50'000'000);
  pair.truth[path_of("192.0.2.2", "198.51.100.2")].out.mtu = 1300;
  pair.truth[path_of("192.0.2.2", "198.51.100.2")].rtt = 5ms;
  pair.apply(policy);
  pair.run(5s);
  std::map<Obstacle, CandidateSnapshot> found;
  for (const CandidateSnapshot& path : interactive(Side::first).ranked) found[path.obstacle] = path;
  ASSERT_EQ(found.size(), 4u);
  EXPECT_EQ(found[Obstacle::slow].figure, 20'000u);
  EXPECT_EQ(found[Obstacle::slow].limit, 15'000u);
  EXPECT_THAT(found[Obstacle::slow].why,
              HasSubstr("its round trip takes 20.0 ms, and 15.0 ms is the most asked for."));
  EXPECT_THAT(found[Obstacle::lossy].why,
              HasSubstr("it loses 2.0 %, and 1.0 % is the most asked for."));
  EXPECT_THAT(found[Obstacle::narrow].why,
              HasSubstr("it has 50.0 Mbit/s, and 100 Mbit/s is the least asked for."));
  EXPECT_THAT(found[Obstacle::small_mtu].why,
              HasSubstr("packets of 1300 bytes fit, and 1400 is the least asked for."));
}

TEST_F(Paths, WhatTheControllerForbidsOrFindsTooCostlyIsNamed) {
  policy::PathPolicy policy;
  policy[TrafficClass::interactive].forbidden = {{.host = "hostB", .interface = "ens2"}};
  policy[TrafficClass::interactive].cost_ceiling = 20;
  policy::PathEnd dear = end_at("192.0.2.2", "eth1");
  dear.cost = 30;
  pair.offer(Side::first, {end_at("192.0.2.1", "eth0"), dear});
  pair.apply(policy);
  pair.run(5s);
  std::map<Obstacle, CandidateSnapshot> found;
  for (const CandidateSnapshot& path : interactive(Side::first).ranked) found[path.obstacle] = path;
  EXPECT_EQ(found[Obstacle::forbidden].why,
            "It is excluded: the controller forbids one of its ends.");
  EXPECT_EQ(found[Obstacle::forbidden].remedy, "The controller would have to allow it.");
  EXPECT_EQ(found[Obstacle::too_costly].why,
            "It is excluded: it costs 30, and 20 is the most allowed.");
  EXPECT_THAT(found[Obstacle::too_costly].remedy, HasSubstr("cost 20 at most"));
}

TEST_F(Paths, ADampedPathSaysUntilWhen) {
  pair.run(5s);
  for (int i = 0; i < 3; ++i) {
    pair.truth[best] = policy::not_carrying();
    pair.run(1s);
    pair.truth[best] = carrying(10ms);
    pair.run(4s);
  }
  const auto ranked = interactive(Side::first).ranked;
  const auto damped = std::find_if(ranked.begin(), ranked.end(),
                                   [](const CandidateSnapshot& path) { return path.damped; });
  ASSERT_NE(damped, ranked.end());
  EXPECT_EQ(damped->standing, Standing::damped);
  ASSERT_TRUE(damped->damped_until);
  EXPECT_GT(*damped->damped_until, pair.now().system);
  EXPECT_LT(*damped->damped_until, pair.now().system + 130s);
  EXPECT_EQ(damped->remedy, "It would have to stay up until it is no longer damped.");
}

TEST_F(Paths, APathThatIsKeptSaysWhyTheFirstIsNotTaken) {
  pair.run(5s);
  pair.truth[second] = carrying(9'900us);
  pair.run(1s);
  const ClassPathSnapshot here = interactive(Side::first);
  ASSERT_FALSE(here.ranked.front().in_use) << "it is better by less than the margin";
  EXPECT_EQ(here.explanation.back(),
            "eth0 192.0.2.1 -> ens2 198.51.100.2 would come first, and is taken when it has been "
            "better for 300 ms: by standing, preference, or 5 % and 0.20 ms of time. A path that "
            "carries is kept for 2.00 s at least.");
  EXPECT_THAT(interactive(Side::second).explanation.back(), HasSubstr("hostA controls"));
}

TEST_F(Paths, WhatNobodyMeasuresIsUnknownAgain) {
  pair.run(5s);
  pair.measuring = false;
  pair.run(1s);
  EXPECT_EQ(interactive(Side::first).ranked.at(0).age, 1s);
  pair.run(40s);
  const ClassPathSnapshot now = interactive(Side::first);
  ASSERT_EQ(now.ranked.size(), 4u);
  EXPECT_EQ(now.ranked[0].standing, Standing::unmeasured);
  EXPECT_FALSE(now.ranked[0].quality.rtt);
  EXPECT_FALSE(now.ranked[0].age);
  EXPECT_FALSE(now.ranked[0].counted);
  EXPECT_THAT(now.ranked[1].why, HasSubstr("nobody knows whether it carries"));
}

TEST_F(Paths, OfTwoFamiliesThereIsNone) {
  test::PathPair other;
  other.offer(Side::first, {end_at("192.0.2.1", "eth0")});
  other.offer(Side::second, {end_at("2001:db8::1", "eth0")});
  other.run(1s);
  const ClassPathSnapshot none = other.snapshot(Side::first).classes[0];
  EXPECT_EQ(none.state, "idle");
  EXPECT_FALSE(none.path);
  EXPECT_FALSE(none.since);
  EXPECT_THAT(none.explanation,
              ElementsAre("interactive has no path: none can be used.",
                          "No interface of this host has an address of the same family as one of "
                          "hostB."));
}

TEST_F(Paths, BeforeThePeerHasSaidAnythingThatIsSaid) {
  const overlay::PathNegotiator alone("hostA", "hostB", 7);
  const PathHistory history("hostA", "hostB");
  const PeerPathsSnapshot snapshot =
      path_snapshot({alone, history}, pair.now(), PathsDetail::everything);
  EXPECT_FALSE(snapshot.connected);
  EXPECT_FALSE(snapshot.since);
  EXPECT_EQ(snapshot.epoch, 7u);
  EXPECT_EQ(snapshot.classes[0].explanation.back(),
            "This host offers no interface: /v1/paths says why.");
  test::PathPair silent;
  silent.offer(Side::first, {end_at("192.0.2.1")});
  const PeerPathsSnapshot unsaid =
      path_snapshot({silent.negotiator(Side::first), silent.history(Side::first)}, silent.now(),
                    PathsDetail::everything);
  EXPECT_EQ(unsaid.classes[0].explanation.back(), "hostB has not said yet what it offers.");
}

TEST_F(Paths, WhatWasFoundInUseIsNoChange) {
  pair.run(5s);
  PathHistory history("hostA", "hostB");
  history.found(TrafficClass::interactive, best);
  const PeerPathsSnapshot snapshot =
      path_snapshot({pair.negotiator(Side::first), history}, pair.now(), PathsDetail::everything);
  EXPECT_FALSE(snapshot.classes[0].since);
  EXPECT_EQ(snapshot.classes[0].explanation[0],
            "interactive goes eth0 192.0.2.1 -> ens1 198.51.100.1: it was in use when the agent "
            "was started.");
  EXPECT_THAT(snapshot.classes[0].changes, IsEmpty());
}

TEST_F(Paths, TheHistoryIsBoundedAndCountsAll) {
  pair.run(5s);
  PathHistory history("hostA", "hostB");
  for (std::size_t i = 0; i < 2 * PathHistory::kKept; ++i) {
    history.changed(pair.now(),
                    {TrafficClass::bulk, i % 2 == 0 ? best : second, ChoiceCause::better},
                    pair.negotiator(Side::first));
  }
  EXPECT_EQ(history.recent().size(), PathHistory::kKept);
  EXPECT_EQ(history.current(TrafficClass::bulk).changes.at(ChoiceCause::better),
            2 * PathHistory::kKept);
  EXPECT_THAT(history.recent().back().text,
              HasSubstr("it was better than the one before; an exchange counts as "));
}

TEST_F(Paths, AtTheBoundsTheAnswerIsOfAReasonableSize) {
  std::vector<policy::PathEnd> ours, theirs;
  for (int i = 0; i < 12; ++i) {
    const std::string number = std::to_string(i);
    ours.push_back(end_at("2001:db8:aaaa:bbbb:cccc:dddd:eeee:1" + number, "enp130s0f1np" + number));
    theirs.push_back(
        end_at("2001:db8:aaaa:bbbb:cccc:dddd:eeee:2" + number, "enp130s0f1np" + number));
  }
  pair.offer(Side::first, ours);
  pair.offer(Side::second, theirs);
  pair.run(1s);
  const PeerPathsSnapshot most = pair.snapshot(Side::first);
  EXPECT_EQ(most.ends.size(), policy::kMostEnds);
  for (const ClassPathSnapshot& of : most.classes) {
    EXPECT_EQ(of.ranked.size(), policy::kMostPaths);
    EXPECT_LE(of.explanation.size(), 5u);
  }
  EXPECT_LT(boost::json::serialize(peer_paths_json("hostA", {}, most)).size(), 300'000u);
}

}  // namespace
}  // namespace homeport::agent
