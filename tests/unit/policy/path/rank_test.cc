// What puts a path before another.
#include "policy/path/rank.h"
#include "tests/unit/policy/path/paths.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

namespace homeport::policy {
namespace {

using namespace std::chrono_literals;

// Two interfaces at host A, one at host B: two paths, the first of which is a little faster.
Conversation two_paths() {
  Conversation conversation{{"hostA"}, {"hostB"}};
  conversation.first.ends = {end_at("192.0.2.1", "eth0"), end_at("192.0.2.2", "eth1")};
  conversation.second.ends = {end_at("192.0.2.9", "eth0")};
  conversation.first.reports = {
      {.path = path_of("192.0.2.1", "192.0.2.9"), .quality = carrying(10ms)},
      {.path = path_of("192.0.2.2", "192.0.2.9"), .quality = carrying(11ms)}};
  return conversation;
}

const PathId kFaster = path_of("192.0.2.1", "192.0.2.9");
const PathId kSlower = path_of("192.0.2.2", "192.0.2.9");

using Change = std::function<void(Conversation&, ClassPolicy&)>;

struct Case {
  std::string name;
  Change change;
  PathId first;
  Standing faster = Standing::good;
  Obstacle obstacle = Obstacle::none;  // of the faster one
};
void PrintTo(const Case& value, std::ostream* out) {
  *out << value.name;
}

PathQuality& faster(Conversation& conversation) {
  return conversation.first.reports[0].quality;
}

class Ranks : public testing::TestWithParam<Case> {};

INSTANTIATE_TEST_SUITE_P(
    Paths, Ranks,
    testing::Values(
        Case{"TheFasterFirst", [](auto&, auto&) {}, kFaster},
        Case{"BehindWhatIsPreferred",
             [](auto& conversation, auto& policy) {
               conversation.first.ends[1].labels = {"fiber", "leased"};
               policy.preferences = {{"fiber", 3}};
             },
             kSlower},
        Case{"PreferenceOfBothEndsTogether",
             [](auto& conversation, auto& policy) {
               conversation.second.ends[0].labels = {"fiber"};
               conversation.first.ends[1].labels = {"radio"};
               policy.preferences = {{"fiber", 3}, {"radio", 2}};
             },
             kSlower},
        Case{"NotWhatIsForbidden",
             [](auto&, auto& policy) {
               policy.forbidden = {{.host = "hostA", .interface = "eth0"}};
             },
             kSlower, Standing::excluded, Obstacle::forbidden},
        Case{"AnEndOfAnotherHostIsAnother",
             [](auto&, auto& policy) {
               policy.forbidden = {{.host = "hostC", .interface = "eth0"}};
             },
             kFaster},
        Case{"WhatIsPinnedFirst",
             [](auto&, auto& policy) {
               policy.pinned = {{{.host = "hostA", .interface = "eth1"}, {.host = "hostB"}}};
             },
             kSlower},
        Case{"WhatIsPinnedFromEitherEnd",
             [](auto&, auto& policy) {
               policy.pinned = {{{.host = "hostB"}, {.host = "hostA", .interface = "eth1"}}};
             },
             kSlower},
        Case{"OneOfSeveralThatArePinned",
             [](auto&, auto& policy) {
               policy.pinned = {
                   {{.host = "hostA", .interface = "eth7"}, {.host = "hostB", .interface = "eth7"}},
                   {{.host = "hostA", .interface = "eth1"}, {.host = "hostB"}}};
             },
             kSlower},
        Case{"APinHasToMatchAltogether",
             [](auto&, auto& policy) {
               policy.pinned = {{{.host = "hostA", .interface = "eth1"},
                                 {.host = "hostB", .interface = "eth7"}}};
             },
             kFaster},
        Case{"APinIsOfTheEndsAtBothHosts",
             [](auto& conversation, auto& policy) {
               conversation.first.ends[1].labels = {"wan"};
               policy.pinned = {{{.label = "wan"}, {.label = "wan"}}};
             },
             kFaster},
        Case{"NotWhatIsTooCostly",
             [](auto& conversation, auto& policy) {
               conversation.first.ends[0].cost = 4;
               conversation.second.ends[0].cost = 3;
               policy.cost_ceiling = 6;
             },
             kSlower, Standing::excluded, Obstacle::too_costly},
        Case{"CostCountsAsTime",
             [](auto& conversation, auto&) { conversation.first.ends[0].cost = 20; }, kSlower},
        Case{"NotWhatDoesNotCarryOneWay",
             [](auto& conversation, auto&) {
               faster(conversation).out.reachable = Reachability::no;
             },
             kSlower, Standing::excluded, Obstacle::broken},
        Case{"WhatWasNotMeasuredLast",
             [](auto& conversation, auto&) { faster(conversation).rtt.reset(); }, kSlower,
             Standing::unmeasured, Obstacle::unmeasured},
        Case{"WhatIsDampedBehindWhatIsNot",
             [](auto& conversation, auto&) { conversation.first.reports[0].damped = true; },
             kSlower, Standing::damped, Obstacle::damped},
        Case{"BehindWhatMeetsTheMinimum",
             [](auto& conversation, auto& policy) {
               faster(conversation).in.loss = 30'000;
               conversation.first.reports[1].quality = carrying(90ms);
               policy.minimum.most_loss = 20'000;
             },
             kSlower, Standing::poor, Obstacle::lossy},
        Case{"TooSlowIsPoor",
             [](auto& conversation, auto& policy) {
               policy.minimum.most_rtt = 9ms;
               conversation.first.reports[1].quality = carrying(8ms);
             },
             kSlower, Standing::poor, Obstacle::slow},
        Case{"TooNarrowIsPoor",
             [](auto& conversation, auto& policy) {
               faster(conversation).out.bandwidth = 50'000'000;
               policy.minimum.least_bandwidth = 60'000'000;
             },
             kSlower, Standing::poor, Obstacle::narrow},
        Case{"TooSmallAnMtuIsPoor",
             [](auto& conversation, auto& policy) {
               conversation.first.ends[0].mtu = 9000;
               faster(conversation).out.mtu = 1400;
               policy.minimum.least_mtu = 1500;
             },
             kSlower, Standing::poor, Obstacle::small_mtu},
        Case{"AmongEqualOnesTheDefaultRoute",
             [](auto& conversation, auto&) {
               for (PathReport& report : conversation.first.reports) report.quality = carrying(9ms);
               conversation.first.ends[1].default_route = true;
             },
             kSlower}),
    [](const auto& info) { return info.param.name; });

TEST_P(Ranks, InOrder) {
  Conversation conversation = two_paths();
  ClassPolicy policy;
  GetParam().change(conversation, policy);
  const auto ranked = rank(TrafficClass::interactive, conversation, policy, std::nullopt);
  ASSERT_EQ(ranked.size(), 2u);
  EXPECT_EQ(to_string(ranked.front().path), to_string(GetParam().first));
  const RankedPath* faster = find(ranked, kFaster);
  ASSERT_TRUE(faster);
  EXPECT_EQ(to_string(faster->standing), to_string(GetParam().faster));
  EXPECT_EQ(to_string(faster->obstacle), to_string(GetParam().obstacle));
}

TEST(Rank, WhatIsPinnedIsUsedForAsLongAsItCarries) {
  Conversation conversation = two_paths();
  ClassPolicy policy{.pinned = {{{.host = "hostA", .interface = "eth1"}, {}}}};
  conversation.first.reports[1].damped = true;
  EXPECT_EQ(rank(TrafficClass::bulk, conversation, policy, {}).front().path, kSlower);
  conversation.second.reports = {{.path = kSlower, .quality = not_carrying()}};
  EXPECT_EQ(rank(TrafficClass::bulk, conversation, policy, {}).front().path, kFaster);
}

TEST(Rank, WhatIsPinnedWaitsForProofWhereAnotherCarries) {
  Conversation conversation = two_paths();
  const ClassPolicy policy{.pinned = {{{.host = "hostA", .interface = "eth1"}, {}}}};
  conversation.first.reports[1].quality = {};
  const auto ranked = rank(TrafficClass::bulk, conversation, policy, {});
  EXPECT_EQ(ranked.front().path, kFaster);
  EXPECT_EQ(find(ranked, kSlower)->standing, Standing::unmeasured);
  conversation.first.reports[0].quality = {};
  EXPECT_EQ(rank(TrafficClass::bulk, conversation, policy, {}).front().standing, Standing::pinned);
  conversation.first.reports[0].quality = not_carrying();
  EXPECT_EQ(rank(TrafficClass::bulk, conversation, policy, {}).front().path, kSlower);
}

TEST(Rank, WhatOneHostHasYetToReportIsNotMeasured) {
  Conversation conversation = two_paths();
  EXPECT_EQ(rank(TrafficClass::bulk, conversation, {}, {}).front().path, kFaster)
      << "the other does not measure, or is not heard";
  conversation.second.reports = {{.path = kSlower, .quality = carrying(20ms)}};
  auto ranked = rank(TrafficClass::bulk, conversation, {}, {});
  EXPECT_EQ(ranked.front().path, kSlower);
  EXPECT_EQ(find(ranked, kFaster)->obstacle, Obstacle::unmeasured);
  conversation.second.reports.push_back({.path = kFaster});
  ranked = rank(TrafficClass::bulk, conversation, {}, {});
  EXPECT_EQ(ranked.front().path, kFaster) << "it has nothing to say against it";
}

TEST(Rank, SaysWhichDirectionIsBroken) {
  Conversation conversation = two_paths();
  // What does not come to the second host does not get away from the first.
  conversation.second.reports = {{.path = kFaster, .quality = not_carrying()}};
  const auto ranked = rank(TrafficClass::bulk, conversation, {}, {});
  EXPECT_EQ(find(ranked, kFaster)->figure, kBrokenFromFirst);
  EXPECT_TRUE(find(ranked, kFaster)->broken);
}

TEST(Rank, BulkKeepsAwayFromInteractive) {
  Conversation conversation = two_paths();
  conversation.second.ends.push_back(end_at("192.0.2.8", "eth1"));
  const PathId apart = path_of("192.0.2.2", "192.0.2.8");
  conversation.first.reports = {{.path = kFaster, .quality = carrying(10ms, 0, 900'000'000)},
                                {.path = apart, .quality = carrying(10ms, 0, 500'000'000)}};
  EXPECT_EQ(rank(TrafficClass::bulk, conversation, {}, kFaster).front().path, apart);
  EXPECT_EQ(rank(TrafficClass::best_effort, conversation, {}, kFaster).front().path, kFaster);
  // Where it is not worth it, it does not.
  conversation.first.reports[1].quality = carrying(10ms, 0, 300'000'000);
  EXPECT_EQ(rank(TrafficClass::bulk, conversation, {}, kFaster).front().path, kFaster);
}

TEST(Rank, RelayedPathsAreThereWhereTheyAreReportedAndAllowed) {
  Conversation conversation = two_paths();
  const PathId relayed = path_of("192.0.2.1", "192.0.2.9", "hostC");
  EXPECT_EQ(find(rank(TrafficClass::bulk, conversation, {}, {}), relayed), nullptr);
  conversation.second.reports = {{.path = relayed, .quality = carrying(1ms)}};
  EXPECT_EQ(rank(TrafficClass::bulk, conversation, {}, {}).front().path, relayed);
  const auto ranked = rank(TrafficClass::bulk, conversation, {.relays = false}, {});
  EXPECT_EQ(find(ranked, relayed)->obstacle, Obstacle::relay_not_allowed);
  // Through one of the two themselves, or between interfaces that nobody offers: no such path.
  conversation.second.reports = {{.path = path_of("192.0.2.1", "192.0.2.9", "hostA")},
                                 {.path = path_of("192.0.2.7", "192.0.2.9", "hostC")}};
  EXPECT_EQ(rank(TrafficClass::bulk, conversation, {}, {}).size(), 2u);
}

TEST(Rank, PathsStayWithinAFamily) {
  Conversation conversation{{"hostA", {end_at("192.0.2.1"), end_at("2001:db8::1")}},
                            {"hostB", {end_at("2001:db8::9"), end_at("192.0.2.9")}}};
  const auto ranked = rank(TrafficClass::bulk, conversation, {}, {});
  ASSERT_EQ(ranked.size(), 2u);
  EXPECT_TRUE(find(ranked, path_of("192.0.2.1", "192.0.2.9")));
  EXPECT_TRUE(find(ranked, path_of("2001:db8::1", "2001:db8::9")));
}

}  // namespace
}  // namespace homeport::policy
