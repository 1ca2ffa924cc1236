// What two hosts offer each other, as ways.
#include "agent/paths/ways.h"

#include "tests/unit/agent/paths/path_pair.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

namespace homeport::agent {
namespace {

using overlay::ProbedWay;
using policy::end_at;
using policy::path_of;
using policy::Side;
using policy::TrafficClass;
using testing::ElementsAre;
using testing::SizeIs;
using namespace std::chrono_literals;

policy::IpAddress ip(const std::string& text) {
  return boost::asio::ip::make_address(text);
}

class WaysTest : public testing::Test {
 protected:
  /// As a host sees it.
  std::vector<ProbedWay> ways(Side side) {
    const overlay::PathNegotiator& negotiator = hosts.negotiator(side);
    return ways_of(negotiator.conversation(hosts.now().steady), side, own, negotiator, fast);
  }
  /// The only one between those two.
  ProbedWay way(Side side, const std::string& local, const std::string& remote) {
    for (const ProbedWay& each : ways(side)) {
      if (each.pair == overlay::ProbePair{ip(local), ip(remote)}) return each;
    }
    ADD_FAILURE() << "no way from " << local << " to " << remote;
    return {};
  }

  test::PathPair hosts;
  std::set<policy::IpAddress> own;
  policy::PerClass<bool> fast;
};

TEST_F(WaysTest, AreOfOneFamilyEachAndSeenFromHere) {
  hosts.offer(Side::first, {end_at("192.0.2.1"), end_at("2001:db8::1")});
  hosts.offer(Side::second, {end_at("192.0.2.9"), end_at("2001:db8::9")});
  ASSERT_THAT(ways(Side::first), SizeIs(2));
  ASSERT_THAT(ways(Side::second), SizeIs(2));
  EXPECT_EQ(way(Side::first, "192.0.2.1", "192.0.2.9").path, path_of("192.0.2.1", "192.0.2.9"));
  EXPECT_EQ(way(Side::second, "2001:db8::9", "2001:db8::1").path,
            path_of("2001:db8::1", "2001:db8::9"));
}

TEST_F(WaysTest, LeadToNoAddressOfThisHostNorToWhatIsNoHosts) {
  hosts.offer(Side::first, {end_at("192.0.2.1")});
  hosts.offer(Side::second, {end_at("192.0.2.9"), end_at("172.17.0.1", "docker0")});
  own = {ip("192.0.2.1"), ip("172.17.0.1")};
  EXPECT_THAT(ways(Side::first), SizeIs(1));
  const policy::Party peer{
      "hostB",
      {end_at("192.0.2.9"), end_at("192.0.2.1"), end_at("172.17.0.1"), end_at("224.0.0.1"),
       end_at("127.0.0.1"), end_at("fe80::1"), end_at("0.0.0.0"), end_at("2001:db8::9")}};
  EXPECT_THAT(addresses_of(peer, own), ElementsAre(ip("192.0.2.9"), ip("2001:db8::9")));
}

TEST_F(WaysTest, CarryWhatBothEndsDoAsFarAsThatIsKnown) {
  policy::PathEnd slow = end_at("192.0.2.1"), large = end_at("192.0.2.9"), other = large;
  slow.speed = 1'000'000'000;
  slow.mtu = 1500;
  large.speed = 10'000'000'000;
  large.mtu = 9000;
  other.address = ip("192.0.2.8");
  other.speed = 0;
  other.mtu = 0;
  hosts.offer(Side::first, {slow, end_at("192.0.2.2")});
  hosts.offer(Side::second, {large, other});
  for (Side side : {Side::first, Side::second}) {
    auto between = [&](const std::string& first, const std::string& second) {
      return side == Side::first ? way(side, first, second) : way(side, second, first);
    };
    EXPECT_EQ(between("192.0.2.1", "192.0.2.9").speed, 1'000'000'000u);
    EXPECT_EQ(between("192.0.2.1", "192.0.2.9").mtu, 1500u);
    EXPECT_EQ(between("192.0.2.1", "192.0.2.8").speed, 1'000'000'000u);
    EXPECT_EQ(between("192.0.2.2", "192.0.2.9").mtu, 9000u);
    EXPECT_EQ(between("192.0.2.2", "192.0.2.8").mtu, 0u);
    EXPECT_EQ(between("192.0.2.2", "192.0.2.8").speed, 0u);
  }
}

TEST_F(WaysTest, AreLookedAfterByWhatUsesThem) {
  hosts.offer(Side::first, {end_at("192.0.2.1"), end_at("192.0.2.2", "eth1")});
  hosts.offer(Side::second, {end_at("192.0.2.9")});
  policy::PathPolicy policy;
  policy[TrafficClass::bulk].pinned = {{{.host = "hostA", .interface = "eth1"}, {}}};
  hosts.apply(policy);
  hosts.truth[path_of("192.0.2.1", "192.0.2.9")] = policy::carrying(1ms);
  hosts.truth[path_of("192.0.2.2", "192.0.2.9")] = policy::carrying(9ms);
  hosts.run(5s);
  ProbedWay first = way(Side::first, "192.0.2.1", "192.0.2.9");
  ProbedWay second = way(Side::first, "192.0.2.2", "192.0.2.9");
  EXPECT_TRUE(first.in_use);
  EXPECT_TRUE(first.watched) << "interactive uses it";
  EXPECT_TRUE(second.in_use);
  EXPECT_FALSE(second.watched) << "bulk uses it";
  EXPECT_FALSE(first.fast || second.fast);
  fast[TrafficClass::bulk] = true;
  EXPECT_TRUE(way(Side::first, "192.0.2.2", "192.0.2.9").fast);
  EXPECT_FALSE(way(Side::first, "192.0.2.1", "192.0.2.9").fast);
}

TEST_F(WaysTest, WhatNobodyUsesIsNotInUse) {
  hosts.offer(Side::first, {end_at("192.0.2.1"), end_at("192.0.2.2")});
  hosts.offer(Side::second, {end_at("192.0.2.9")});
  hosts.truth[path_of("192.0.2.1", "192.0.2.9")] = policy::carrying(1ms);
  hosts.truth[path_of("192.0.2.2", "192.0.2.9")] = policy::not_carrying();
  hosts.run(5s);
  fast = policy::PerClass<bool>(true);
  const ProbedWay unused = way(Side::second, "192.0.2.9", "192.0.2.2");
  EXPECT_FALSE(unused.in_use || unused.fast || unused.watched);
  EXPECT_TRUE(way(Side::second, "192.0.2.9", "192.0.2.1").fast);
}

TEST_F(WaysTest, ThroughOtherHostsAreNotProbedHere) {
  hosts.offer(Side::first, {end_at("192.0.2.1")});
  hosts.offer(Side::second, {end_at("192.0.2.9")});
  hosts.truth[path_of("192.0.2.1", "192.0.2.9", "hostC")] = policy::carrying(1ms);
  hosts.run(1s);
  ASSERT_THAT(policy::candidates(hosts.negotiator(Side::first).conversation(hosts.now().steady)),
              SizeIs(2));
  EXPECT_THAT(ways(Side::first), SizeIs(1));
}

}  // namespace
}  // namespace homeport::agent
