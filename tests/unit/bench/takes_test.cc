#include "tests/bench/cutover/takes.h"

#include <gtest/gtest.h>

namespace homeport::lab {
namespace {

constexpr std::uint64_t kMs = 1'000'000;

/// `count` datagrams, one each millisecond from 100 ms on.
std::vector<std::uint64_t> sent_each_ms(std::size_t count) {
  std::vector<std::uint64_t> sent;
  for (std::size_t i = 0; i < count; ++i) sent.push_back((100 + i) * kMs);
  return sent;
}

TEST(FlowWindow, CountsWhatIsLostByWhenItWasSent) {
  const auto sent = sent_each_ms(6);
  const std::vector<Take> takes = {{0, 100 * kMs}, {3, 103 * kMs}, {5, 105 * kMs}};
  EXPECT_EQ(flow_window(sent, takes, 0, 200 * kMs).lost, 3u);
  const FlowWindow late = flow_window(sent, takes, 103 * kMs, 200 * kMs);
  EXPECT_EQ(late.sent, 3u);
  EXPECT_EQ(late.lost, 1u);
}

TEST(FlowWindow, TellsAgainFromLate) {
  const auto sent = sent_each_ms(4);
  const std::vector<Take> takes = {
      {0, 100 * kMs}, {2, 102 * kMs}, {1, 103 * kMs}, {2, 104 * kMs}, {3, 105 * kMs}};
  const FlowWindow window = flow_window(sent, takes, 0, 200 * kMs);
  EXPECT_EQ(window.reordered, 1u);
  EXPECT_EQ(window.duplicated, 1u);
  EXPECT_EQ(window.lost, 0u);
}

TEST(FlowWindow, KnowsOfWhatCameBeforeIt) {
  const auto sent = sent_each_ms(3);
  const std::vector<Take> takes = {{2, 102 * kMs}, {1, 110 * kMs}, {2, 111 * kMs}};
  const FlowWindow window = flow_window(sent, takes, 105 * kMs, 120 * kMs);
  EXPECT_EQ(window.reordered, 1u);
  EXPECT_EQ(window.duplicated, 1u);
}

TEST(FlowWindow, MeasuresGapsBetweenTakesAndAtTheEdges) {
  const auto sent = sent_each_ms(3);
  const std::vector<Take> takes = {{0, 100 * kMs}, {1, 107 * kMs}, {2, 108 * kMs}};
  EXPECT_DOUBLE_EQ(flow_window(sent, takes, 99 * kMs, 109 * kMs).longest_gap_ms, 7);
  EXPECT_DOUBLE_EQ(flow_window(sent, takes, 80 * kMs, 109 * kMs).longest_gap_ms, 20);
  EXPECT_DOUBLE_EQ(flow_window(sent, takes, 99 * kMs, 148 * kMs).longest_gap_ms, 40);
  EXPECT_DOUBLE_EQ(flow_window(sent, {}, 100 * kMs, 150 * kMs).longest_gap_ms, 50);
}

TEST(FlowWindow, HoldIsFromSendingToTaking) {
  const auto sent = sent_each_ms(2);
  const std::vector<Take> takes = {{0, 125 * kMs}, {1, 126 * kMs}};
  EXPECT_DOUBLE_EQ(flow_window(sent, takes, 0, 200 * kMs).longest_hold_ms, 25);
}

}  // namespace
}  // namespace homeport::lab
