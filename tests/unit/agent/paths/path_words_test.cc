// Paths in words: each criterion, and that there are words for whatever may be.
#include "agent/paths/path_words.h"

#include "tests/unit/policy/path/paths.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

namespace homeport::agent {
namespace {

using namespace std::chrono_literals;
using policy::path_of;
using policy::RankedPath;
using policy::Side;
using policy::Standing;
using policy::TrafficClass;
using testing::HasSubstr;
using testing::Not;

const std::string kPeer = "hostB";

/// Of two paths that are the same, but for what a test sets of the second.
class TwoPaths : public testing::Test {
 protected:
  TwoPaths() {
    ranked[0] = {.path = path_of("192.0.2.1", "198.51.100.1")};
    ranked[0].counted = 10ms;
    ranked[1] = ranked[0];
    ranked[1].path = path_of("192.0.2.2", "198.51.100.1");
  }

  std::string place(std::size_t index) { return place_words(viewer, ranked, index); }
  std::string remedy() { return remedy_words(ranked, 1, {}); }

  std::vector<RankedPath> ranked{2};
  policy::Conversation nothing;
  PathsViewer viewer{Side::first, kPeer, nothing};
};

TEST_F(TwoPaths, DifferByPreference) {
  ranked[0].preference = 10;
  EXPECT_EQ(place(0), "It comes first: its preference is 10, that of the second is 0.");
  EXPECT_EQ(place(1), "It comes after the first: its preference is 0, that of the first is 10.");
  EXPECT_EQ(remedy(), "It would need a preference of more than 10.");
}

TEST_F(TwoPaths, DifferByCost) {
  ranked[1].cost = 3;
  EXPECT_EQ(place(1), "It comes after the first: it costs 3, the first 0.");
  EXPECT_EQ(remedy(), "Any gain in time would put it first.") << "it cannot cost less than nothing";
  for (RankedPath& path : ranked) path.cost += 2;
  EXPECT_EQ(remedy(), "A cost of less than 2 would put it first, or any gain in time.");
}

TEST_F(TwoPaths, DifferByTheWayTheyLead) {
  ranked[1].path.relay = "hostC";
  EXPECT_EQ(place(0), "It comes first: the second leads through another host.");
  EXPECT_EQ(place(1), "It comes after the first: it leads through another host.");
  EXPECT_EQ(words_of(seen_by(viewer, ranked[1].path)), "192.0.2.2 -> 198.51.100.1 through hostC");
}

TEST_F(TwoPaths, DifferByDefaultRouteSpeedAndAddress) {
  EXPECT_EQ(place(0),
            "It comes first: it is as good as the second, and the order of addresses decides.");
  ranked[0].speed = 10'000'000'000;
  EXPECT_THAT(place(1), HasSubstr("its slower interface has an unknown speed, that of the first"));
  ranked[1].speed = 1'000'000'000;
  EXPECT_EQ(place(0),
            "It comes first: its slower interface has 10.0 Gbit/s, that of the second "
            "1.0 Gbit/s.");
  ranked[0].default_routes = 2;
  EXPECT_EQ(place(0),
            "It comes first: 2 of its ends have the default route, 0 of those of the "
            "second.");
  EXPECT_EQ(remedy(), "Any gain in time would put it first.");
}

TEST_F(TwoPaths, CountTwiceWhatInteractiveUses) {
  ranked[1].shares_interactive = true;
  ranked[1].counted = 20ms;
  EXPECT_EQ(place(1),
            "It comes after the first: an exchange counts as 20.0 ms (doubled: interactive is "
            "there), with the first as 10.0 ms.");
}

TEST_F(TwoPaths, OfOneStandingSayBothWhatDecidesAndWhatIsTheMatter) {
  for (RankedPath& path : ranked) {
    path.standing = Standing::poor;
    path.obstacle = policy::Obstacle::lossy;
    path.figure = 20'000;
    path.limit = 10'000;
  }
  ranked[1].counted = 20ms;
  EXPECT_EQ(place(1),
            "It comes after the first: an exchange counts as 20.0 ms, with the first as "
            "10.0 ms; of itself it loses 2.0 %, and 1.0 % is the most asked for.");
  ranked[0] = {.path = ranked[0].path};
  EXPECT_EQ(place(1), "It is poor: it loses 2.0 %, and 1.0 % is the most asked for.");
  EXPECT_EQ(remedy(), "It would have to lose 1.0 % at most.");
}

TEST_F(TwoPaths, OneAloneSaysSo) {
  ranked.pop_back();
  EXPECT_EQ(place(0), "It is the only one.");
  ranked[0].standing = Standing::excluded;
  ranked[0].obstacle = policy::Obstacle::broken;
  ranked[0].figure = policy::kBrokenFromFirst | policy::kBrokenFromSecond;
  EXPECT_EQ(place(0), "It is the only one, and excluded: it carries nothing in either direction.");
}

TEST(PathWords, ThereAreSomeForWhateverMayBe) {
  policy::Random random(7);
  std::set<policy::Obstacle> obstacles;
  for (int round = 0; round < 300; ++round) {
    const policy::Conversation conversation = policy::random_conversation(random);
    const policy::ClassPolicy policy = policy::random_policy(random);
    const PathsViewer viewer{policy::chance(random, 0.5) ? Side::first : Side::second, kPeer,
                             conversation};
    for (TrafficClass traffic : policy::kTrafficClasses) {
      const auto ranked = policy::rank(traffic, conversation, policy, {});
      for (std::size_t i = 0; i < ranked.size(); ++i) {
        obstacles.insert(ranked[i].obstacle);
        const std::string why = place_words(viewer, ranked, i);
        EXPECT_TRUE(why.starts_with("It ") && why.ends_with('.')) << why;
        EXPECT_THAT(why, Not(HasSubstr("nothing is the matter")));
        const std::string remedy = remedy_words(ranked, i, {});
        EXPECT_EQ(remedy.empty(), i == 0 && ranked[i].usable()) << why;
        EXPECT_TRUE(remedy.empty() || remedy.ends_with('.')) << remedy;
        EXPECT_FALSE(seen_by(viewer, ranked[i].path).local.interface.empty());
      }
    }
  }
  EXPECT_GE(obstacles.size(), 7u) << "or it is not much of a test";
}

TEST(PathWords, ThereIsOneForEveryCauseOfAChange) {
  using policy::ChoiceCause;
  const policy::Conversation nothing;
  const PathsViewer viewer{Side::second, kPeer, nothing};
  const policy::PathId one = path_of("192.0.2.1", "198.51.100.1");
  const policy::PathId other = path_of("192.0.2.2", "198.51.100.1");
  auto told = [&](const std::optional<policy::PathId>& from,
                  const std::optional<policy::PathId>& to, ChoiceCause cause) {
    return change_words(viewer, TrafficClass::bulk, from, to, cause, {});
  };
  EXPECT_EQ(told({}, one, ChoiceCause::first),
            "bulk goes 198.51.100.1 -> 192.0.2.1: there was none before.");
  EXPECT_EQ(told(one, other, ChoiceCause::lost),
            "bulk goes 198.51.100.1 -> 192.0.2.2 instead of 198.51.100.1 -> 192.0.2.1: one of its "
            "ends is no longer offered.");
  EXPECT_EQ(told(one, {}, ChoiceCause::nothing_usable),
            "bulk no longer goes 198.51.100.1 -> 192.0.2.1: one of its ends is no longer offered, "
            "and no other can be used.");
  EXPECT_EQ(told({}, {}, ChoiceCause::nothing_usable), "bulk has no path: none can be used.");
  EXPECT_THAT(told(one, other, ChoiceCause::agreement), HasSubstr(": hostB has nominated it."));
  EXPECT_THAT(told(one, other, ChoiceCause::measured), HasSubstr("was not measured."));
  EXPECT_THAT(told(one, other, ChoiceCause::worse), HasSubstr("had become worse."));
}

}  // namespace
}  // namespace homeport::agent
