// Paths that come and go, or are almost equal: traffic stays where it is.
#include "tests/unit/overlay/negotiation/two_hosts.h"

#include <gtest/gtest.h>

namespace homeport::overlay {
namespace {

using namespace std::chrono_literals;

constexpr TrafficClass kClass = TrafficClass::interactive;

class Flapping : public testing::Test {
 protected:
  Flapping() {
    hosts.offer(Side::first, {policy::end_at("192.0.2.1"), policy::end_at("192.0.2.2")});
    hosts.offer(Side::second, {policy::end_at("192.0.2.9")});
    lay_paths(hosts, {10ms, 20ms});
    hosts.measure_both();
    hosts.run(5s);
    hosts.forget_history();
  }

  TwoHosts hosts{1};
  const policy::PathId faster = policy::path_of("192.0.2.1", "192.0.2.9");
  const policy::PathId slower = policy::path_of("192.0.2.2", "192.0.2.9");
};

TEST_F(Flapping, APathThatFailsAgainAndAgainIsDamped) {
  ASSERT_EQ(hosts.uses(Side::first, kClass), faster);
  for (int i = 0; i < 20; ++i) {
    hosts.truth[faster] = policy::not_carrying();
    hosts.measure_both();
    hosts.run(5s);
    EXPECT_EQ(hosts.uses(Side::first, kClass), slower);
    hosts.truth[faster] = policy::carrying(10ms);
    hosts.measure_both();
    hosts.run(5s);
  }
  EXPECT_EQ(hosts.uses(Side::first, kClass), slower);
  EXPECT_EQ(hosts.uses(Side::second, kClass), slower);
  EXPECT_LE(hosts.changes(Side::first, kClass), 5) << "there and back twice, and there";
  const auto* ranked = find(hosts.host(Side::second).ranked(kClass), faster);
  ASSERT_TRUE(ranked);
  EXPECT_EQ(ranked->standing, policy::Standing::damped) << "and everybody can see it";

  // Once it has been quiet for long it is trusted again.
  hosts.run(200s);
  EXPECT_EQ(hosts.uses(Side::first, kClass), faster);
  EXPECT_EQ(hosts.uses(Side::second, kClass), faster);
}

TEST_F(Flapping, AnInterfaceThatComesAndGoesIsDamped) {
  for (int i = 0; i < 20; ++i) {
    hosts.offer(Side::first, {policy::end_at("192.0.2.2")});
    hosts.measure_both();
    hosts.run(3s);
    hosts.offer(Side::first, {policy::end_at("192.0.2.1"), policy::end_at("192.0.2.2")});
    hosts.measure_both();
    hosts.run(3s);
  }
  EXPECT_EQ(hosts.uses(Side::second, kClass), slower);
  EXPECT_LE(hosts.changes(Side::second, kClass), 5);
}

TEST_F(Flapping, APathWhoseQualityComesAndGoesIsDamped) {
  for (int i = 0; i < 40; ++i) {
    hosts.truth[faster] = policy::carrying(i % 2 ? 10ms : 60ms);
    hosts.measure_both();
    hosts.run(5s);
  }
  EXPECT_LE(hosts.changes(Side::first, kClass), 16);
  EXPECT_EQ(hosts.uses(Side::first, kClass), slower);
}

TEST_F(Flapping, APathThatAllClassesLeaveBecauseItIsWorseHasFailedOnce) {
  hosts.truth[slower] = policy::carrying(500ms);  // so much slower that bulk is on the same one
  hosts.measure_both();
  hosts.run(5s);
  for (const TrafficClass traffic : policy::kTrafficClasses) {
    ASSERT_EQ(hosts.uses(Side::first, traffic), faster);
  }
  hosts.truth[faster] = policy::carrying(5s);
  hosts.measure_both();
  hosts.run(2s);
  for (const TrafficClass traffic : policy::kTrafficClasses) {
    EXPECT_EQ(hosts.uses(Side::first, traffic), slower);
  }
  const policy::FlapHistory& flaps = hosts.host(Side::first).flaps();
  EXPECT_GT(flaps.penalty(faster, hosts.now()), 900);
  EXPECT_LE(flaps.penalty(faster, hosts.now()), 1000);
  EXPECT_FALSE(flaps.damped(faster, hosts.now()));
  // So it is taken again as soon as it is better.
  hosts.truth[faster] = policy::carrying(10ms);
  hosts.measure_both();
  hosts.run(5s);
  EXPECT_EQ(hosts.uses(Side::first, kClass), faster);
}

TEST_F(Flapping, TheOnlyPathIsUsedHoweverOftenItFails) {
  hosts.offer(Side::first, {policy::end_at("192.0.2.1")});
  for (int i = 0; i < 5; ++i) {
    hosts.truth[faster] = policy::not_carrying();
    hosts.measure_both();
    hosts.run(1s);
    EXPECT_EQ(hosts.uses(Side::first, kClass), std::nullopt);
    hosts.truth[faster] = policy::carrying(10ms);
    hosts.measure_both();
    hosts.run(1s);
    EXPECT_EQ(hosts.uses(Side::first, kClass), faster);
  }
}

TEST_F(Flapping, TwoAlmostEqualPathsAreNot) {
  for (int i = 0; i < 600; ++i) {
    for (const policy::PathId* path : {&faster, &slower}) {
      hosts.truth[*path] = policy::carrying(Micros(policy::between(hosts.random, 9'700, 10'300)));
    }
    hosts.measure_both();
    hosts.run(100ms);
  }
  EXPECT_EQ(hosts.changes(Side::first, kClass), 0);
  EXPECT_EQ(hosts.changes(Side::second, kClass), 0);
}

}  // namespace
}  // namespace homeport::overlay
