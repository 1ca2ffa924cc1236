// Two hosts, one of which relays for the other, over a wire that loses, repeats and delays.
#include "overlay/negotiation/relay_talk.h"

#include "overlay/datapath/datapath.h"
#include "tests/unit/policy/path/paths.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <optional>

namespace homeport::overlay {
namespace {

using namespace std::chrono_literals;
using policy::Micros;
using policy::Time;
using testing::ElementsAre;
using testing::IsEmpty;

const std::vector<RelayAsk> kAsks = {{"hostB", {7, 8}}};
constexpr Micros kLimit{45'000'000};

RelayAnswer answer(Micros rtt = 10ms, policy::Vni label = kFirstLabel) {
  return {.host = "hostB",
          .way = policy::PathReport{.path = policy::path_of("192.0.2.2", "192.0.2.3"),
                                    .quality = policy::carrying(rtt)},
          .labels = {{7, label}, {8, label + 1}}};
}

class RelayTalkTest : public testing::Test {
 protected:
  /// Both say what they have to, for that long. What `lost` takes is lost.
  int run(
      Micros time, const std::function<bool()>& lost = [] { return false; }) {
    int said = 0;
    for (const Time end = now + time; now < end; now += 1ms) {
      for (auto [from, to] : {std::pair(&end_, &relay_), {&relay_, &end_}}) {
        auto statement = (*from)->speak(now);
        if (!statement) continue;
        ++said;
        last = *statement;
        if (!lost()) (*to)->heard(*statement, now);
      }
    }
    return said;
  }
  std::optional<RelayAnswer> told() { return end_->told_of("hostB", now, kLimit); }

  Time now = policy::at(Micros(1'000'000'000));
  std::optional<RelayTalk> end_{std::in_place, 1};    // of a path
  std::optional<RelayTalk> relay_{std::in_place, 1};  // the host that relays
  RelayStatement last;
};

TEST_F(RelayTalkTest, WhatIsAskedIsHeardAndAnswered) {
  end_->ask(kAsks);
  run(10ms);
  ASSERT_TRUE(relay_->asked());
  EXPECT_EQ(*relay_->asked(), kAsks);
  relay_->answer({answer()}, now);
  run(10ms);
  ASSERT_TRUE(told());
  EXPECT_EQ(told()->labels, answer().labels);
  EXPECT_EQ(told()->way->quality, answer().way->quality);
  EXPECT_FALSE(end_->told_of("hostC", now, kLimit));
}

TEST_F(RelayTalkTest, WhoHasNothingToSaySaysNothing) {
  end_->connected();
  relay_->connected();
  EXPECT_EQ(end_->due(), Time::max());
  EXPECT_EQ(run(60s), 0);
  end_->ask(kAsks);
  run(1s);
  EXPECT_EQ(run(60s), 0) << "what is asked does not grow old";
  relay_->answer({answer()}, now);
  run(1s);
  // The answer does: every ten seconds, each of which is acknowledged.
  EXPECT_THAT(run(60s), testing::AllOf(testing::Ge(10), testing::Le(14)));
}

TEST_F(RelayTalkTest, WhatIsLostIsSaidAgain) {
  for (unsigned seed = 0; seed < 50; ++seed) {
    policy::Random random(seed);
    end_.emplace(seed + 2);
    relay_.emplace(seed + 2);
    const auto lost = [&] { return policy::chance(random, 0.7); };
    end_->ask(kAsks);
    run(30s, lost);
    ASSERT_TRUE(relay_->asked()) << seed;
    EXPECT_EQ(*relay_->asked(), kAsks);
    relay_->answer({answer()}, now);
    run(30s, lost);
    ASSERT_TRUE(told()) << seed;
    EXPECT_EQ(told()->labels, answer().labels);
    end_->ask({});
    run(30s, lost);
    EXPECT_THAT(*relay_->asked(), IsEmpty());
  }
}

TEST_F(RelayTalkTest, WhatComesLateOrTwiceIsNoNews) {
  end_->ask(kAsks);
  const RelayStatement first = *end_->speak(now);
  end_->ask({{"hostD", {9}}});
  now += 10ms;
  const RelayStatement second = *end_->speak(now);
  EXPECT_TRUE(relay_->heard(second, now));
  EXPECT_FALSE(relay_->heard(second, now));
  EXPECT_FALSE(relay_->heard(first, now));
  EXPECT_THAT(*relay_->asked(), ElementsAre(RelayAsk{"hostD", {9}}));
}

TEST_F(RelayTalkTest, AnEndThatStartsAgainHearsWhatHoldsAndAsksAnew) {
  end_->ask(kAsks);
  run(10ms);
  relay_->answer({answer()}, now);
  run(1s);
  for (const std::uint64_t epoch : {2u, 1u}) {  // its clock may have been set back
    end_.emplace(epoch);
    end_->ask({{"hostD", {9}}});
    end_->connected();
    run(3s);
    EXPECT_THAT(*relay_->asked(), ElementsAre(RelayAsk{"hostD", {9}})) << epoch;
    ASSERT_TRUE(told()) << epoch;
    EXPECT_EQ(told()->labels, answer().labels);
  }
}

TEST_F(RelayTalkTest, ARelayThatStartsAgainIsAskedAgainAndItsWaysAreAsTheyWere) {
  end_->ask(kAsks);
  run(10ms);
  relay_->answer({answer()}, now);
  run(1s);
  relay_.emplace(2);
  relay_->connected();
  end_->connected();
  run(100ms);
  ASSERT_TRUE(relay_->asked());
  EXPECT_EQ(*relay_->asked(), kAsks);
  // It has the labels, and does not know yet how its path is.
  RelayAnswer labels_only = answer();
  labels_only.way.reset();
  relay_->answer({labels_only}, now);
  run(100ms);
  ASSERT_TRUE(told() && told()->way);
  EXPECT_TRUE(told()->way->quality.measured());
  EXPECT_GT(told()->way->age, 1s) << "it grows old all the same";
  run(50s);
  EXPECT_FALSE(told()->way->quality.measured());
  EXPECT_FALSE(told()->way->quality.broken());
  // A refusal is none of that.
  relay_->answer({{.host = "hostB", .refusal = "it does not relay"}}, now);
  run(100ms);
  EXPECT_EQ(told()->refusal, "it does not relay");
  EXPECT_FALSE(told()->way);
}

TEST_F(RelayTalkTest, WhatBreaksIsSaidAtOnceWhatIsWorseSoonAndNoiseLater) {
  end_->ask(kAsks);
  run(10ms);
  relay_->answer({answer(10ms)}, now);
  run(1s);
  relay_->answer({answer(10'300us)}, now);
  EXPECT_EQ(run(1s), 0);
  relay_->answer({answer(20ms)}, now);
  EXPECT_GT(run(300ms), 0);
  EXPECT_EQ(told()->way->quality.rtt, 20ms);
  RelayAnswer broken = answer(20ms);
  broken.way->quality.out.reachable = policy::Reachability::no;
  relay_->answer({broken}, now);
  EXPECT_GT(run(6ms), 0);
  EXPECT_TRUE(told()->way->quality.broken());
  relay_->answer({answer(20ms, kFirstLabel + 8)}, now);
  EXPECT_GT(run(6ms), 0);
  EXPECT_EQ(told()->labels.at(7), kFirstLabel + 8);
}

TEST_F(RelayTalkTest, NoiseIsToldWithTheNextSignOfLife) {
  end_->ask(kAsks);
  run(10ms);
  relay_->answer({answer(10ms)}, now);
  run(1s);
  relay_->answer({answer(10'300us)}, now);
  run(12s);
  EXPECT_EQ(told()->way->quality.rtt, 10'300us);
}

TEST_F(RelayTalkTest, WhatIsBeyondTheBoundsIsLeftOut) {
  std::vector<RelayAsk> asks;
  for (int i = 0; i < 300; ++i) asks.push_back({"host" + std::to_string(i), {1, 2}});
  end_->ask(asks);
  run(10ms);
  asks.resize(kMostRelayLabels / 2);
  EXPECT_EQ(*relay_->asked(), asks);
}

}  // namespace
}  // namespace homeport::overlay
