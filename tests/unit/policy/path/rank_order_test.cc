// The order is the same at both ends, whatever was measured.
#include "policy/path/rank.h"
#include "tests/unit/policy/path/paths.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>

namespace homeport::policy {
namespace {

// As the same conversation may be written down at the other host: nobody says in what order ends
// and reports come.
Conversation shuffled(Conversation conversation, Random& random) {
  for (Party* party : {&conversation.first, &conversation.second}) {
    std::shuffle(party->ends.begin(), party->ends.end(), random);
    std::shuffle(party->reports.begin(), party->reports.end(), random);
  }
  return conversation;
}

TEST(RankOrder, IsTheSameAtBothEnds) {
  for (unsigned seed = 0; seed < 1000; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Random random(seed);
    const Conversation here = random_conversation(random);
    const Conversation there = shuffled(here, random);
    const ClassPolicy policy = random_policy(random);
    std::optional<PathId> interactive;
    for (TrafficClass traffic : kTrafficClasses) {
      const auto one = rank(traffic, here, policy, interactive);
      ASSERT_EQ(one, rank(traffic, there, policy, interactive)) << to_string(traffic);
      if (traffic == TrafficClass::interactive && !one.empty()) interactive = one.front().path;
    }
  }
}

TEST(RankOrder, IsTotal) {
  for (unsigned seed = 0; seed < 300; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Random random(seed);
    const Conversation conversation = random_conversation(random);
    const auto ranked = rank(TrafficClass::bulk, conversation, random_policy(random), std::nullopt);
    for (std::size_t i = 0; i < ranked.size(); ++i) {
      for (std::size_t j = 0; j < ranked.size(); ++j) {
        ASSERT_EQ(compare(ranked[i], ranked[j]).order < 0, i < j) << i << ", " << j;
        ASSERT_EQ(compare(ranked[i], ranked[j]).order > 0, i > j) << i << ", " << j;
      }
    }
  }
}

TEST(RankOrder, BoundsThePaths) {
  Conversation conversation{{"hostA"}, {"hostB"}};
  for (std::size_t i = 0; i < kMostEnds; ++i) {
    conversation.first.ends.push_back(end_at("192.0.2." + std::to_string(i + 1)));
    conversation.second.ends.push_back(end_at("198.51.100." + std::to_string(i + 1)));
  }
  PathReport relayed{.path = path_of("192.0.2.1", "198.51.100.1", "hostC")};
  conversation.first.reports.push_back(relayed);
  const auto ranked = rank(TrafficClass::bulk, conversation, {}, std::nullopt);
  EXPECT_EQ(ranked.size(), kMostPaths);
  EXPECT_EQ(find(ranked, relayed.path), nullptr) << "direct paths come first";
  EXPECT_NE(find(ranked, path_of("192.0.2.8", "198.51.100.8")), nullptr);
}

}  // namespace
}  // namespace homeport::policy
