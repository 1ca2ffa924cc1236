#include "policy/path/quality.h"

#include "tests/unit/policy/path/paths.h"

#include <gtest/gtest.h>

namespace homeport::policy {
namespace {

using namespace std::chrono_literals;

TEST(PathQuality, OfTwoHostsTheWorseIsKnown) {
  PathQuality first = carrying(10ms, 1000, 500);
  PathQuality second;
  second.rtt = 12ms;
  second.in = {.reachable = Reachability::yes, .loss = 3000, .bandwidth = 400, .mtu = 1400};
  const PathQuality both = merge(first, second);
  EXPECT_EQ(both.rtt, 12ms);
  EXPECT_EQ(both.variation, 0ms) << "one of them knows";
  // What leaves the first host comes to the second.
  EXPECT_EQ(both.out,
            (DirectionQuality{
                .reachable = Reachability::yes, .loss = 3000, .bandwidth = 400, .mtu = 1400}));
  EXPECT_EQ(both.in, first.in);
  EXPECT_EQ(seen_from_other_end(both), merge(second, first));
}

TEST(PathQuality, OneHostIsEnoughToKnowThatItIsBroken) {
  const PathQuality both = merge(carrying(1ms), not_carrying());
  EXPECT_EQ(both.out.reachable, Reachability::no);
  EXPECT_TRUE(both.broken());
  EXPECT_FALSE(both.measured());
  EXPECT_FALSE(merge({}, {}).broken()) << "unknown is something else";
  EXPECT_FALSE(merge({}, {}).measured());
}

TEST(PathReport, IsUnknownOnceItIsOld) {
  const PathReport report{.path = path_of("192.0.2.1", "192.0.2.2"),
                          .quality = carrying(1ms),
                          .damped = true,
                          .age = 2s};
  EXPECT_EQ(aged(report, 3s, 5s).quality, report.quality);
  const PathReport old = aged(report, 3s + 1us, 5s);
  EXPECT_EQ(old.quality, PathQuality());
  EXPECT_TRUE(old.damped);
  EXPECT_EQ(aged(old, 1us, 5s).quality, PathQuality()) << "it does not come back";
}

TEST(PathQuality, TellsNoiseFromNews) {
  const PathQuality quality = carrying(20ms, 1000, 1000);
  EXPECT_FALSE(differ_materially(quality, carrying(24ms, 5000, 800)));
  EXPECT_TRUE(differ_materially(quality, carrying(27ms, 1000, 1000)));
  EXPECT_TRUE(differ_materially(quality, carrying(20ms, 9000, 1000)));
  EXPECT_TRUE(differ_materially(quality, carrying(20ms, 1000, 700)));
  EXPECT_TRUE(differ_materially(quality, carrying(20ms, 1000)));
  EXPECT_TRUE(differ_materially(quality, {}));
  EXPECT_FALSE(differ_materially(carrying(100us), carrying(900us))) << "of a quiet link";
}

}  // namespace
}  // namespace homeport::policy
