#include "policy/path/damping.h"

#include "tests/unit/policy/path/paths.h"

#include <gtest/gtest.h>

namespace homeport::policy {
namespace {

using namespace std::chrono_literals;

const PathId kPath = path_of("192.0.2.1", "192.0.2.2");

TEST(Damping, TrustsAPathThatHasFailedOnce) {
  FlapHistory flaps;
  EXPECT_FALSE(flaps.damped(kPath, at(1s)));
  flaps.failed(kPath, at(1s));
  EXPECT_FALSE(flaps.damped(kPath, at(1s)));
  EXPECT_EQ(flaps.until_reuse(kPath, at(1s)), 0s);
  EXPECT_EQ(flaps.next_reuse(at(1s)), Time::max());
}

TEST(Damping, KeepsOffAPathThatFailsAgainAndAgain) {
  FlapHistory flaps;
  for (Micros time : {1s, 3s, 5s}) flaps.failed(kPath, at(time));
  EXPECT_TRUE(flaps.damped(kPath, at(5s)));
  const Micros wait = flaps.until_reuse(kPath, at(5s));
  EXPECT_GT(wait, 50s);
  EXPECT_LT(wait, 60s) << "two half-lives, from a little below 3000 to 750";
  EXPECT_EQ(flaps.next_reuse(at(5s)), at(5s + wait));
  EXPECT_TRUE(flaps.damped(kPath, at(5s + wait - 10us)));
  EXPECT_FALSE(flaps.damped(kPath, at(5s + wait)));
  EXPECT_FALSE(flaps.damped(path_of("192.0.2.1", "192.0.2.3"), at(5s))) << "another path";
}

TEST(Damping, WaitsLongerTheMoreItFailsUpToALimit) {
  FlapHistory flaps;
  Micros last = 0s;
  for (int i = 0; i < 5; ++i) {
    flaps.failed(kPath, at(1s));
    const Micros wait = flaps.until_reuse(kPath, at(1s));
    EXPECT_GE(wait, last);
    last = wait;
  }
  EXPECT_GT(last, 80s);
  for (int i = 0; i < 1000; ++i) flaps.failed(kPath, at(1s));
  EXPECT_NEAR(std::chrono::duration<double>(flaps.until_reuse(kPath, at(1s))).count(), 120, 0.01);
}

TEST(Damping, BacksOffFromAPathThatFailsWheneverItIsUsedAgain) {
  FlapHistory flaps;
  for (int i = 0; i < 3; ++i) flaps.failed(kPath, at(1s));
  Time now = at(1s);
  for (Micros least : {60s, 50s, 75s, 100s}) {  // 4000; then 750 and 2000, 4000, 8000
    const Micros wait = flaps.until_reuse(kPath, now);
    EXPECT_GE(wait, least);
    now += wait;
    flaps.failed(kPath, now);
  }
  EXPECT_LE(flaps.until_reuse(kPath, now), 120s + 1us);
  // Once it has been forgotten it is as any other.
  now += 200s;
  flaps.failed(kPath, now);
  flaps.failed(kPath, now);
  EXPECT_EQ(flaps.penalty(kPath, now) >= 2000, flaps.damped(kPath, now));
  EXPECT_LT(flaps.until_reuse(kPath, now), 50s);
}

TEST(Damping, RemembersABoundedNumberOfPaths) {
  FlapHistory flaps;
  for (int i = 0; i < 3; ++i) flaps.failed(kPath, at(1s));
  for (int i = 0; i < 1000; ++i) {
    flaps.failed(
        path_of("10.0." + std::to_string(i / 250) + "." + std::to_string(i % 250 + 1), "192.0.2.2"),
        at(1s));
  }
  EXPECT_TRUE(flaps.damped(kPath, at(1s))) << "the worst are remembered";
  EXPECT_EQ(flaps.penalty(path_of("10.0.0.1", "192.0.2.2"), at(1s)), 0);
}

}  // namespace
}  // namespace homeport::policy
