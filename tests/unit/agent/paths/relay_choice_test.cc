// Which hosts are asked to relay between two.
#include "agent/paths/relay_choice.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

namespace homeport::agent {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;
using testing::UnorderedElementsAre;

const policy::IpAddress kOwn = boost::asio::ip::make_address("192.0.2.1");

std::map<std::string, Host> hosts(int count, int relaying, const std::string& vtep = "192.0.2.7") {
  std::map<std::string, Host> rows;
  for (int i = 0; i < count; ++i) {
    const std::string name = fmt::format("host{:03}", i);
    Host& row = rows[name];
    row.name = name;
    row.vteps = {boost::asio::ip::make_address(vtep)};
    row.relays = i < relaying;
  }
  return rows;
}

TEST(RelayChoice, OnlyHostsThatSayThatTheyRelayAreAsked) {
  EXPECT_TRUE(RelayChoice::of(hosts(5, 0), kOwn).empty());
  const auto choice = RelayChoice::of(hosts(5, 2), kOwn);
  EXPECT_THAT(choice.between("host003", "host004"), UnorderedElementsAre("host000", "host001"));
}

TEST(RelayChoice, NoneOfTheTwoItself) {
  const auto choice = RelayChoice::of(hosts(5, 2), kOwn);
  EXPECT_THAT(choice.between("host000", "host004"), ElementsAre("host001"));
  EXPECT_THAT(choice.between("host001", "host000"), IsEmpty());
}

TEST(RelayChoice, NoneThatCannotBeReached) {
  EXPECT_TRUE(RelayChoice::of(hosts(5, 2, "2001:db8::7"), kOwn).empty());
  const policy::IpAddress other = boost::asio::ip::make_address("2001:db8::1");
  EXPECT_FALSE(RelayChoice::of(hosts(5, 2, "2001:db8::7"), other).empty());
}

TEST(RelayChoice, BothEndsChooseTheSameFew) {
  const auto choice = RelayChoice::of(hosts(100, 60), kOwn);
  std::set<std::string> asked;
  for (int i = 60; i < 100; ++i) {
    const std::string one = fmt::format("host{:03}", i);
    for (int j = i + 1; j < 100; ++j) {
      const std::string other = fmt::format("host{:03}", j);
      const auto between = choice.between(one, other);
      EXPECT_EQ(between, choice.between(other, one));
      EXPECT_THAT(between, SizeIs(kMostRelaysOfPair));
      asked.insert(between.begin(), between.end());
    }
  }
  EXPECT_THAT(asked, SizeIs(kMostRelays)) << "the work is shared among all that are asked";
}

TEST(RelayChoice, MostPairsKeepTheirChoiceWhenAHostComes) {
  const auto before = RelayChoice::of(hosts(100, 8), kOwn);
  const auto after = RelayChoice::of(hosts(100, 9), kOwn);
  int same = 0, all = 0;
  for (int i = 20; i < 40; ++i) {
    for (int j = i + 1; j < 40; ++j, ++all) {
      const auto one = fmt::format("host{:03}", i), other = fmt::format("host{:03}", j);
      same += before.between(one, other) == after.between(one, other);
    }
  }
  EXPECT_GT(same, all / 2);
}

}  // namespace
}  // namespace homeport::agent
