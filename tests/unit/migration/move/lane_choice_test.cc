// Which lanes a move has, and which of them takes what is left.
#include "migration/move/lane_choice.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace homeport::migration {
namespace {

using boost::asio::ip::make_address;
using boost::asio::ip::tcp;
using testing::ElementsAre;

/// "1.1 - 2.1" is from eth1 of this host to eth1 of the other.
LanePath path(int local, int remote) {
  return {make_address("192.0.2." + std::to_string(local)),
          make_address("198.51.100." + std::to_string(remote)), "eth" + std::to_string(local),
          "eth" + std::to_string(remote)};
}

std::vector<tcp::endpoint> endpoints(std::initializer_list<int> remotes) {
  std::vector<tcp::endpoint> all;
  for (int remote : remotes) all.emplace_back(path(0, remote).remote, 6711);
  return all;
}

std::vector<std::string> chosen(const std::vector<LanePath>& paths,
                                const std::vector<tcp::endpoint>& endpoints,
                                const std::vector<LaneRoute>& standing = {}) {
  std::vector<std::string> names;
  for (const LaneRoute& route : choose_lanes(paths, endpoints, standing)) {
    names.push_back(route.path ? route.path->local_interface + "-" + route.path->remote_interface
                               : "any");
    if (route.path) {
      EXPECT_EQ(route.endpoint.address(), route.path->remote);
    }
  }
  return names;
}

TEST(LaneChoice, WithoutPathsThereIsOneLane) {
  EXPECT_THAT(chosen({}, endpoints({1, 2})), ElementsAre("any"));
}

TEST(LaneChoice, LanesHaveNoEndInCommon) {
  EXPECT_THAT(chosen({path(1, 1), path(1, 2), path(2, 1), path(2, 2)}, endpoints({1, 2})),
              ElementsAre("eth1-eth1", "eth2-eth2"));
  EXPECT_THAT(chosen({path(1, 1), path(1, 2)}, endpoints({1, 2})), ElementsAre("eth1-eth1"));
}

TEST(LaneChoice, TwoAddressesOfAnInterfaceAreOneEnd) {
  LanePath ipv6 = path(1, 1);
  ipv6.local = make_address("2001:db8::1");
  ipv6.remote = make_address("2001:db8::2");
  const std::vector<tcp::endpoint> both = {{path(1, 1).remote, 6711}, {ipv6.remote, 6711}};
  EXPECT_THAT(chosen({path(1, 1), ipv6}, both), ElementsAre("eth1-eth1"));
}

TEST(LaneChoice, OnlyWhereTheDestinationTakesThem) {
  EXPECT_THAT(chosen({path(1, 1), path(1, 2), path(2, 1), path(2, 2)}, endpoints({2})),
              ElementsAre("eth1-eth2"));
  EXPECT_THAT(chosen({path(1, 1)}, endpoints({7})), ElementsAre("any"));
}

TEST(LaneChoice, LanesThatStandStayBesideTheFirst) {
  const std::vector<LanePath> paths = {path(1, 1), path(2, 2), path(2, 3), path(3, 3)};
  EXPECT_THAT(chosen(paths, endpoints({1, 2, 3})),
              ElementsAre("eth1-eth1", "eth2-eth2", "eth3-eth3"));
  const LaneRoute standing{path(2, 3), {path(2, 3).remote, 6711}};
  EXPECT_THAT(chosen(paths, endpoints({1, 2, 3}), {standing}),
              ElementsAre("eth1-eth1", "eth2-eth3"));
  const std::vector<LanePath> first_is_other = {path(2, 2), path(2, 3)};
  EXPECT_THAT(chosen(first_is_other, endpoints({2, 3}), {standing}), ElementsAre("eth2-eth2"));
}

constexpr std::uint64_t kMiB = 1 << 20;

TEST(LaneChoice, ASlowLaneLeavesTheEndOfARoundToAFastOne) {
  const LanePace slow{.queued = 0, .bytes_per_second = kMiB};
  const LanePace fast{.queued = 4 * kMiB, .bytes_per_second = 100 * kMiB};
  const LaneWork much{.left = 200 * kMiB, .batch = kMiB}, little{.left = 20 * kMiB, .batch = kMiB};
  EXPECT_FALSE(leaves_to_others(slow, {{fast}}, much));
  EXPECT_TRUE(leaves_to_others(slow, {{fast}}, little));
  EXPECT_FALSE(leaves_to_others(fast, {{slow}}, little));
  EXPECT_FALSE(leaves_to_others(slow, {}, little));
}

TEST(LaneChoice, OneOfEqualLanesAlwaysTakesWhatIsLeft) {
  for (std::uint64_t left : {kMiB / 256, kMiB, 3 * kMiB}) {
    for (std::uint64_t queued : {std::uint64_t{0}, kMiB, 9 * kMiB}) {
      const LanePace one{queued, kMiB}, other{kMiB, kMiB};
      const LaneWork work{.left = left, .batch = kMiB};
      EXPECT_FALSE(leaves_to_others(one, {{other}}, work) &&
                   leaves_to_others(other, {{one}}, work));
    }
  }
}

TEST(LaneChoice, AnUnknownLaneIsNotTriedWithWhatIsUrgent) {
  const LanePace unknown{}, known{.queued = 0, .bytes_per_second = kMiB};
  EXPECT_FALSE(leaves_to_others(unknown, {{known}}, {.left = 9 * kMiB, .batch = kMiB}));
  EXPECT_TRUE(
      leaves_to_others(unknown, {{known}}, {.left = 9 * kMiB, .batch = kMiB, .urgent = true}));
  EXPECT_FALSE(leaves_to_others(unknown, {{unknown}}, {.left = 1, .batch = kMiB, .urgent = true}));
}

}  // namespace
}  // namespace homeport::migration
