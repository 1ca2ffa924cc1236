#include "policy/path/legs.h"

#include "tests/unit/policy/path/paths.h"

#include <gtest/gtest.h>

namespace homeport::policy {
namespace {

using namespace std::chrono_literals;

TEST(Legs, TimesAddUpAndLossesDoAlmost) {
  PathQuality near = carrying(10ms, 100'000, 500), far = carrying(7ms, 50'000, 400);
  near.variation = 2ms;
  far.variation = 1ms;
  near.out.mtu = 1500;
  far.out.mtu = 1400;
  const PathQuality whole = one_after_the_other(near, far);
  EXPECT_TRUE(whole.measured());
  EXPECT_EQ(whole.rtt, 17ms);
  EXPECT_EQ(whole.variation, 3ms);
  EXPECT_EQ(whole.out.loss, 145'000u) << "of a tenth a twentieth is lost again";
  EXPECT_EQ(whole.out.bandwidth, 400u);
  EXPECT_EQ(whole.out.mtu, 1400u);
}

TEST(Legs, WhatEitherPartDoesNotCarryIsNotCarried) {
  const PathQuality good = carrying(10ms);
  PathQuality bad = good;
  bad.out.reachable = Reachability::no;
  for (const PathQuality& whole :
       {one_after_the_other(good, bad), one_after_the_other(bad, good)}) {
    EXPECT_EQ(whole.out.reachable, Reachability::no);
    EXPECT_EQ(whole.in.reachable, Reachability::yes);
  }
  EXPECT_TRUE(one_after_the_other(bad, {}).broken());
}

TEST(Legs, WhatIsKnownOfOnePartOnlyIsABound) {
  PathQuality near = carrying(10ms, 1000, 500);
  near.in.mtu = 1400;
  const PathQuality whole = one_after_the_other(near, {});
  EXPECT_FALSE(whole.measured());
  EXPECT_FALSE(whole.broken());
  EXPECT_EQ(whole.rtt, std::nullopt);
  EXPECT_EQ(whole.variation, std::nullopt);
  EXPECT_EQ(whole.out.reachable, Reachability::unknown);
  EXPECT_EQ(whole.out.loss, 1000u);
  EXPECT_EQ(whole.out.bandwidth, 500u);
  EXPECT_EQ(whole.in.mtu, 1400u);
  EXPECT_EQ(whole, one_after_the_other({}, near));
}

TEST(Legs, AllIsLostOnce) {
  PathQuality lost = carrying(1ms, kAllLost);
  EXPECT_EQ(one_after_the_other(lost, lost).out.loss, kAllLost);
}

}  // namespace
}  // namespace homeport::policy
