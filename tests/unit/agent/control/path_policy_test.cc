#include "agent/control/path_policy.h"

#include "agent/control/interest.h"
#include "agent/control/tables.h"
#include "policy/path/end_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <boost/json/array.hpp>

namespace homeport::agent {
namespace {

namespace json = boost::json;
using namespace std::chrono_literals;
using policy::TrafficClass;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

const Uuid kUuid = *parse_uuid("00112233-4455-6677-8899-aabbccddeeff");

class PathPolicyTest : public testing::Test {
 protected:
  PathPolicyRow& row(TrafficClass traffic_class) {
    PathPolicyRow& found = contents.path_policies[traffic_class];
    found.traffic_class = traffic_class;
    return found;
  }
  /// As texts, between a and b.
  std::vector<std::string> pinned(std::initializer_list<const char*> pairs) {
    for (const char* pair : pairs) {
      row(TrafficClass::bulk).pinned.push_back(*policy::parse_pair(pair));
    }
    std::vector<std::string> texts;
    const policy::PathPolicy asked = path_policy(contents, "a", "b");
    for (const auto& pair : asked[TrafficClass::bulk].pinned) {
      texts.push_back(to_string(pair));
    }
    return texts;
  }

  Contents contents;
};

TEST_F(PathPolicyTest, OfNoRowsAsksForNothing) {
  EXPECT_EQ(path_policy(contents, "a", "b"), policy::PathPolicy());
  EXPECT_FALSE(fast_detection(contents, TrafficClass::interactive));
}

TEST_F(PathPolicyTest, IsOfEachClassWhatItsRowSays) {
  row(TrafficClass::interactive) = {.traffic_class = TrafficClass::interactive,
                                    .preferred = {{"fiber", 7}},
                                    .cost_ceiling = 9,
                                    .most_rtt = 1500us,
                                    .most_loss_ppm = 10'000,
                                    .least_bandwidth_mbps = 100,
                                    .least_mtu = 1400,
                                    .relays = false,
                                    .detection = Detection::fast};
  row(TrafficClass::bulk).detection = Detection::normal;
  const policy::PathPolicy asked = path_policy(contents, "a", "b");
  const policy::ClassPolicy expected{.preferences = {{"fiber", 7}},
                                     .cost_ceiling = 9,
                                     .minimum = {.most_rtt = 1500us,
                                                 .most_loss = 10'000,
                                                 .least_bandwidth = 100'000'000,
                                                 .least_mtu = 1400},
                                     .relays = false};
  EXPECT_EQ(asked[TrafficClass::interactive], expected);
  EXPECT_EQ(asked[TrafficClass::best_effort], policy::ClassPolicy());
  EXPECT_EQ(asked[TrafficClass::bulk], policy::ClassPolicy());
  EXPECT_TRUE(fast_detection(contents, TrafficClass::interactive));
  EXPECT_FALSE(fast_detection(contents, TrafficClass::best_effort));
  EXPECT_FALSE(fast_detection(contents, TrafficClass::bulk));
}

TEST_F(PathPolicyTest, HasThePinsBetweenTheTwoHosts) {
  EXPECT_THAT(
      pinned({"a/eth0 b/eth0", "b/eth1 a/eth1", "*/label:wan */label:wan", "*/eth0 b/eth0",
              "a/eth0 a/eth1", "a/eth0 c/eth0", "c/eth0 */eth0", "c/eth0 d/eth0"}),
      ElementsAre("a/eth0 b/eth0", "b/eth1 a/eth1", "*/label:wan */label:wan", "*/eth0 b/eth0"));
}

TEST_F(PathPolicyTest, HasWhatIsForbiddenAtEitherHost) {
  for (const char* end : {"a/eth0", "b/label:wan", "*/label:backup", "c/eth0"}) {
    row(TrafficClass::best_effort).forbidden.push_back(*policy::parse_end(end));
  }
  std::vector<std::string> texts;
  const policy::PathPolicy asked = path_policy(contents, "a", "b");
  for (const auto& end : asked[TrafficClass::best_effort].forbidden) {
    texts.push_back(to_string(end));
  }
  EXPECT_THAT(texts, ElementsAre("a/eth0", "b/label:wan", "*/label:backup"));
}

TEST_F(PathPolicyTest, IsTheSameForBothHosts) {
  pinned({"a/eth0 b/eth0", "*/eth1 b/eth1"});
  row(TrafficClass::bulk).forbidden = {*policy::parse_end("b/eth7")};
  EXPECT_EQ(path_policy(contents, "a", "b"), path_policy(contents, "b", "a"));
}

TEST_F(PathPolicyTest, RulesForPortsAreThoseOfAllRows) {
  EXPECT_THAT(port_rules(contents), IsEmpty());
  row(TrafficClass::interactive).ports = {{6, 22, 22}, {17, 5000, 5009}};
  row(TrafficClass::bulk).ports = {{6, 1, 1000}, {6, 22, 22}};
  row(TrafficClass::best_effort).ports = {{17, 53, 53}};
  // Of the same ports of two classes, the one that chooses first has them.
  EXPECT_THAT(port_rules(contents),
              ElementsAre(policy::PortRule{{6, 22, 22}, TrafficClass::interactive},
                          policy::PortRule{{17, 53, 53}, TrafficClass::best_effort},
                          policy::PortRule{{17, 5000, 5009}, TrafficClass::interactive},
                          policy::PortRule{{6, 1, 1000}, TrafficClass::bulk}));
}

/// As a session reports the row, with a column that may be wrong.
const policy::Error* report(Tables& tables, json::value forbidden) {
  Row row{kUuid, columns(PathPolicyRow{.traffic_class = TrafficClass::bulk, .relays = false})};
  row.columns["forbidden"] = std::move(forbidden);
  return tables.apply({PathPolicyRow::kTable, kUuid, row});
}

TEST(PathPolicyTables, RowOfWhichAPartIsWrongIsKeptAndNamedOnce) {
  Tables tables;
  const auto* problem = report(tables, "eth0");
  ASSERT_TRUE(problem);
  EXPECT_THAT(problem->message, HasSubstr("column forbidden"));
  EXPECT_FALSE(report(tables, "eth0")) << "said already";
  ASSERT_TRUE(tables.contents().path_policies.contains(TrafficClass::bulk));
  EXPECT_EQ(tables.contents().path_policies.at(TrafficClass::bulk).relays, false);
  EXPECT_EQ(tables.contents().problems.size(), 1u);
  EXPECT_FALSE(report(tables, "a/eth0"));
  EXPECT_THAT(tables.contents().problems, IsEmpty());
  EXPECT_EQ(tables.contents().path_policies.at(TrafficClass::bulk).forbidden.size(), 1u);
  tables.apply({PathPolicyRow::kTable, kUuid, {}});
  EXPECT_THAT(tables.contents().path_policies, IsEmpty());
}

TEST(PathPolicyTables, AreFollowedByEveryAgent) {
  const auto names = Tables().names();
  EXPECT_THAT(names, testing::Contains(PathPolicyRow::kTable));
  EXPECT_FALSE(conditions_of({}, "a", 1000).contains(PathPolicyRow::kTable));
}

}  // namespace
}  // namespace homeport::agent
