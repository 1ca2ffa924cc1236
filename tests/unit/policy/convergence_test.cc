#include "policy/convergence.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

namespace homeport::policy {
namespace {

using namespace std::chrono_literals;
using std::chrono::nanoseconds;

constexpr std::uint64_t kMiB = 1u << 20;

struct Case {
  std::string name;
  std::vector<CopyRound> rounds;
  nanoseconds elapsed;
  OnNoConvergence on_no_convergence = OnNoConvergence::force;
  ConvergenceStep expected;
};
void PrintTo(const Case& value, std::ostream* out) {
  *out << value.name;
}

class Decides : public testing::TestWithParam<Case> {};

// Limit 300 ms, 10 rounds, 60 s; the switch itself takes 20 ms, each round 5 ms.
INSTANTIATE_TEST_SUITE_P(
    Convergence, Decides,
    testing::Values(
        Case{"BeginsWithARound", {}, 0s, OnNoConvergence::force, ConvergenceStep::another_round},
        Case{"GoesOnAboveTheLimit",
             {{500 * kMiB, 10s, 50 * kMiB}},
             10s,
             OnNoConvergence::force,
             ConvergenceStep::another_round},
        // 5 MiB take 100 ms of downtime, and the guest hardly writes.
        Case{"GoesOnBelowTheLimitWhenThatPays",
             {{500 * kMiB, 10s, 5 * kMiB}},
             10s,
             OnNoConvergence::force,
             ConvergenceStep::another_round},
        // The same 5 MiB, written anew in every round of 100 ms.
        Case{"SwitchesWhenRoundsNoLongerGain",
             {{500 * kMiB, 10s, 5 * kMiB}, {5 * kMiB, 105ms, 5 * kMiB}},
             10100ms,
             OnNoConvergence::force,
             ConvergenceStep::switch_now},
        Case{"SwitchesWithNothingLeft",
             {{500 * kMiB, 10s, 0}},
             10s,
             OnNoConvergence::force,
             ConvergenceStep::switch_now},
        Case{"SwitchesWithLittleLeft",
             {{500 * kMiB, 10s, 64 << 10}},
             10s,
             OnNoConvergence::force,
             ConvergenceStep::switch_now},
        Case{
            "SwitchesWhenLoweringTookItsShare",
            {{50 * kMiB, 1s, 9 * kMiB}, {20 * kMiB, 500ms, 9 * kMiB}, {20 * kMiB, 600ms, 6 * kMiB}},
            2100ms,
            OnNoConvergence::force,
            ConvergenceStep::switch_now},
        Case{"ForcesAfterTheTimeout",
             {{3000 * kMiB, 60s, 50 * kMiB}},
             60s,
             OnNoConvergence::force,
             ConvergenceStep::switch_by_force},
        Case{"GivesUpAfterTheTimeout",
             {{3000 * kMiB, 60s, 50 * kMiB}},
             60s,
             OnNoConvergence::rollback,
             ConvergenceStep::give_up},
        Case{"GivesUpAfterTooManyRounds",
             std::vector<CopyRound>(10, CopyRound{50 * kMiB, 1s, 50 * kMiB}), 10s,
             OnNoConvergence::rollback, ConvergenceStep::give_up},
        Case{"GoesOnBeforeTooManyRounds",
             std::vector<CopyRound>(9, CopyRound{50 * kMiB, 1s, 50 * kMiB}), 9s,
             OnNoConvergence::rollback, ConvergenceStep::another_round},
        // Within the limit the timeout does not matter any more.
        Case{"SwitchesWithinTheLimitAtTheTimeout",
             {{3000 * kMiB, 60s, 5 * kMiB}},
             60s,
             OnNoConvergence::rollback,
             ConvergenceStep::switch_now},
        // Nothing was sent, so there is no bandwidth to go by.
        Case{"GoesOnWithoutABandwidth",
             {{0, 1s, 50 * kMiB}},
             1s,
             OnNoConvergence::force,
             ConvergenceStep::another_round},
        Case{"SurvivesARoundWithoutDuration",
             {{50 * kMiB, 0s, 50 * kMiB}},
             1s,
             OnNoConvergence::force,
             ConvergenceStep::another_round}),
    [](const auto& info) { return info.param.name; });

TEST_P(Decides, AsExpected) {
  const Case& test = GetParam();
  ConvergenceLimits limits{300ms, 60s, 10, test.on_no_convergence};
  auto decision = decide_convergence(limits, test.rounds, {20ms, 5ms}, test.elapsed);
  EXPECT_EQ(to_string(decision.step), to_string(test.expected)) << decision.reason;
  EXPECT_FALSE(decision.reason.empty());
  EXPECT_GE(decision.predicted_downtime, 0ns);
}

TEST(Convergence, DoesNotCopyOnWhenTheSwitchAloneBreaksTheLimit) {
  std::vector<CopyRound> rounds{{500 * kMiB, 10s, 0}};
  ConvergenceLimits limits{300ms, 60s, 10, OnNoConvergence::force};
  EXPECT_EQ(decide_convergence(limits, rounds, {400ms, 5ms}, 10s).step,
            ConvergenceStep::switch_by_force);
  limits.on_no_convergence = OnNoConvergence::rollback;
  EXPECT_EQ(decide_convergence(limits, rounds, {400ms, 5ms}, 10s).step, ConvergenceStep::give_up);
}

TEST(Convergence, GivesWayUnlessOthersKeepItFromAnEnd) {
  struct Given {
    const char* name;
    std::vector<CopyRound> rounds;
    bool gives_way;
  };
  const CopyRound all{500 * kMiB, 5s, 100 * kMiB};  // 100 MiB/s
  for (const Given& each : {
           Given{"the first round", {all}, true},
           Given{"others, but it gets somewhere", {all, {100 * kMiB, 4s, 40 * kMiB}}, true},
           Given{"the guest writes much, and nobody else sends",
                 {all, {100 * kMiB, 1s, 90 * kMiB}},
                 true},
           Given{"others take the most of it", {all, {100 * kMiB, 4s, 90 * kMiB}}, false},
           Given{"too short to say", {all, {1 * kMiB, 90ms, 90 * kMiB}}, true},
           Given{"it fits all the same", {all, {1 * kMiB, 1s, 0}, {1 * kMiB, 1s, 64 << 10}}, true},
       }) {
    EXPECT_EQ(decide_convergence({}, each.rounds, {}, 10s).gives_way, each.gives_way) << each.name;
  }
}

TEST(Convergence, PredictsTheDowntime) {
  std::vector<CopyRound> rounds{{500 * kMiB, 10s + 5ms, 5 * kMiB}};
  auto decision = decide_convergence({}, rounds, {20ms, 5ms}, 10s);
  EXPECT_NEAR(static_cast<double>(decision.bandwidth), 50.0 * kMiB, 1e5);
  EXPECT_NEAR(static_cast<double>(decision.predicted_downtime.count()), 120e6, 1e6);
}

TEST(Convergence, DoesNotTakeTheLatencyOfSmallRoundsForBandwidth) {
  std::vector<CopyRound> rounds{{500 * kMiB, 10s, kMiB}, {kMiB, 25ms, 64 << 10}};
  auto decision = decide_convergence({}, rounds, {20ms, 5ms}, 10s);
  EXPECT_GT(decision.bandwidth, 45 * kMiB);
}

// A guest that rewrites a hot set, round and round, over a link: what becomes of a whole move.
struct Guest {
  std::uint64_t memory, hot_set;
  double write_rate, bandwidth;  // bytes per second
};
struct Move {
  ConvergenceStep end = ConvergenceStep::another_round;
  double total = 0, downtime = 0;  // seconds
  std::size_t rounds = 0;
};

Move simulate(const Guest& guest, const ConvergenceLimits& limits) {
  constexpr double kSwitch = 0.02;
  constexpr double kRound = 0.005;
  Move move;
  std::vector<CopyRound> rounds;
  auto left = static_cast<double>(guest.memory);
  while (move.end == ConvergenceStep::another_round) {
    double time = left / guest.bandwidth + kRound;
    double sent = left;
    left = std::min(static_cast<double>(guest.hot_set), guest.write_rate * time);
    move.total += time;
    rounds.push_back({static_cast<std::uint64_t>(sent),
                      std::chrono::duration_cast<nanoseconds>(std::chrono::duration<double>(time)),
                      static_cast<std::uint64_t>(left)});
    auto elapsed =
        std::chrono::duration_cast<nanoseconds>(std::chrono::duration<double>(move.total));
    move.end = decide_convergence(limits, rounds, {20ms, 5ms}, elapsed).step;
  }
  move.downtime = kSwitch + left / guest.bandwidth;
  move.total += move.downtime;
  move.rounds = rounds.size();
  return move;
}

TEST(Convergence, AHotSetOnAModestLinkMovesFastAndHardlyStops) {
  Move move = simulate({256 * kMiB, 24 * kMiB, 20e6, 47e6}, {});
  EXPECT_EQ(move.end, ConvergenceStep::switch_now);
  EXPECT_LT(move.downtime, 0.05);
  EXPECT_LT(move.total, 7.5);
}

TEST(Convergence, AnIdleGuestNeedsFewRounds) {
  Move move = simulate({4096 * kMiB, kMiB, 1e5, 1e9}, {});
  EXPECT_EQ(move.end, ConvergenceStep::switch_now);
  EXPECT_LE(move.rounds, 3u);
  EXPECT_LT(move.downtime, 0.025);
}

TEST(Convergence, AGuestThatWritesAlmostAsFastAsTheLinkIsNotChasedForLong) {
  Move move = simulate({1024 * kMiB, 8 * kMiB, 45e6, 47e6}, {});
  EXPECT_EQ(move.end, ConvergenceStep::switch_now);
  EXPECT_LT(move.downtime, 0.3);
  EXPECT_LT(move.total, 1024.0 * kMiB / 47e6 * 1.1);
}

TEST(Convergence, AGuestThatWritesFasterThanTheLinkEndsAsThePolicySays) {
  Guest guest{1024 * kMiB, 512 * kMiB, 100e6, 47e6};
  ConvergenceLimits limits{300ms, 60s, 100, OnNoConvergence::force};
  EXPECT_EQ(simulate(guest, limits).end, ConvergenceStep::switch_by_force);
  limits.on_no_convergence = OnNoConvergence::rollback;
  EXPECT_EQ(simulate(guest, limits).end, ConvergenceStep::give_up);
}

}  // namespace
}  // namespace homeport::policy
