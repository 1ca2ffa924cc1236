// Which paths lanes of moves may take, and who hears of them.
#include "agent/paths/lane_paths.h"

#include "tests/unit/agent/paths/path_pair.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace homeport::agent {
namespace {

using migration::LanePath;
using migration::LanePaths;
using migration::LaneReport;
using policy::end_at;
using policy::path_of;
using policy::Side;
using testing::ElementsAre;
using testing::IsEmpty;
using namespace std::chrono_literals;

/// Two hosts with two interfaces each, 192.0.2.1 and 198.51.100.1, and .9 there.
class LanePathsTest : public testing::Test {
 protected:
  LanePathsTest() {
    for (const auto& [side, number] : {std::pair(Side::first, "1"), {Side::second, "9"}}) {
      hosts.offer(side, {end_at(std::string("192.0.2.") + number, "eth0"),
                         end_at(std::string("198.51.100.") + number, "eth1")});
    }
    hosts.truth[zero] = policy::carrying(2ms);
    hosts.truth[one] = policy::carrying(4ms);
    hosts.truth[path_of("192.0.2.1", "198.51.100.9")] = policy::not_carrying();
    hosts.truth[path_of("198.51.100.1", "192.0.2.9")] = policy::not_carrying();
    hosts.run(5s);
  }

  std::vector<std::string> names(Side side) {
    std::vector<std::string> all;
    for (const LanePath& path : paths_for_lanes(hosts.negotiator(side), side, hosts.now().steady)) {
      all.push_back(path.local.to_string() + " " + path.local_interface + " - " +
                    path.remote.to_string() + " " + path.remote_interface);
    }
    return all;
  }
  void apply(policy::ClassPolicy bulk) {
    policy::PathPolicy policy;
    policy[policy::TrafficClass::bulk] = std::move(bulk);
    hosts.apply(policy);
    hosts.run(5s);
  }

  const policy::PathId zero = path_of("192.0.2.1", "192.0.2.9");
  const policy::PathId one = path_of("198.51.100.1", "198.51.100.9");
  const std::string zero_name = "192.0.2.1 eth0 - 192.0.2.9 eth0";
  const std::string one_name = "198.51.100.1 eth1 - 198.51.100.9 eth1";
  test::PathPair hosts;
};

TEST_F(LanePathsTest, BeginWithBulksOwn) {
  // Interactive uses the faster one.
  EXPECT_THAT(names(Side::first), ElementsAre(one_name, zero_name));
  EXPECT_THAT(names(Side::second), ElementsAre("198.51.100.9 eth1 - 198.51.100.1 eth1",
                                               "192.0.2.9 eth0 - 192.0.2.1 eth0"));
}

TEST_F(LanePathsTest, WhatCarriesNothingIsNone) {
  hosts.truth[one] = policy::not_carrying();
  hosts.run(1s);
  EXPECT_THAT(names(Side::first), ElementsAre(zero_name));
  hosts.truth[zero] = policy::not_carrying();
  hosts.run(1s);
  EXPECT_THAT(names(Side::first), IsEmpty());
}

TEST_F(LanePathsTest, WhatFailsOftenIsUsedAllTheSame) {
  for (int i = 0; i < 3; ++i) {
    hosts.truth[zero] = policy::not_carrying();
    hosts.run(1s);
    hosts.truth[zero] = policy::carrying(2ms);
    hosts.run(1s);
  }
  const auto* damped =
      policy::find(hosts.negotiator(Side::first).ranked(policy::TrafficClass::bulk), zero);
  ASSERT_EQ(damped->standing, policy::Standing::damped);
  EXPECT_THAT(names(Side::first), ElementsAre(one_name, zero_name));
}

TEST_F(LanePathsTest, ThePolicyIsHeeded) {
  apply({.forbidden = {{.interface = "eth0"}}});
  EXPECT_THAT(names(Side::first), ElementsAre(one_name));
  apply({.pinned = {{{.interface = "eth0"}, {.interface = "eth0"}}}});
  EXPECT_THAT(names(Side::first), ElementsAre(zero_name));
  apply({.minimum = {.most_rtt = 3ms}});
  EXPECT_THAT(names(Side::first), ElementsAre(zero_name)) << "the other is poor";
  apply({.minimum = {.most_rtt = 1ms}});
  EXPECT_THAT(names(Side::first), testing::SizeIs(2)) << "both are";
}

class LaneFollowersTest : public testing::Test {
 protected:
  static LanePath path(const char* local) {
    return {boost::asio::ip::make_address(local), boost::asio::ip::make_address("192.0.2.9")};
  }
  std::unique_ptr<LanePaths::Following> follow(const std::string& host) {
    return followers.follow(host, [this, host](std::vector<LanePath> paths) {
      heard.push_back(host + " " + std::to_string(paths.size()));
    });
  }

  std::vector<std::string> asked, heard, reported;
  LaneFollowers followers{{[this](const std::string& host) { asked.push_back(host); },
                           [this](const std::string& host, const std::vector<LaneReport>& all) {
                             reported.push_back(host + " " + std::to_string(all.size()));
                           }}};
};

TEST_F(LaneFollowersTest, HearOfTheirHostWhenSomethingIsNew) {
  EXPECT_FALSE(followers.followed("hostB"));
  auto following = follow("hostB");
  EXPECT_TRUE(followers.followed("hostB"));
  EXPECT_THAT(asked, ElementsAre("hostB"));
  followers.offer("hostB", {path("192.0.2.1")});
  followers.offer("hostB", {path("192.0.2.1")});
  followers.offer("hostC", {path("192.0.2.1")});
  EXPECT_THAT(heard, ElementsAre("hostB 0", "hostB 1"));
  auto another = follow("hostB");
  EXPECT_THAT(heard, ElementsAre("hostB 0", "hostB 1", "hostB 1"));
  following.reset();
  another.reset();
  EXPECT_FALSE(followers.followed("hostB"));
  followers.offer("hostB", {});
  auto later = follow("hostB");
  EXPECT_EQ(heard.back(), "hostB 0") << "what was known before may not be true any more";
}

TEST_F(LaneFollowersTest, LanesAreReportedUntilTheyEnd) {
  auto following = follow("hostB");
  following->lanes({LaneReport{.path = path("192.0.2.1")}, LaneReport{}});
  EXPECT_THAT(followers.pairs("hostB"),
              ElementsAre(overlay::ProbePair{path("192.0.2.1").local, path("192.0.2.1").remote}));
  following.reset();
  EXPECT_THAT(followers.pairs("hostB"), IsEmpty());
  EXPECT_THAT(reported, ElementsAre("hostB 2", "hostB 0"));
}

}  // namespace
}  // namespace homeport::agent
