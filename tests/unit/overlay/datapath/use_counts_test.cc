// What flows have counted, from one reading to the next.
#include "overlay/datapath/ovs/use_counts.h"

#include "overlay/datapath/ovs/flow_image.h"
#include "overlay/datapath/ovs/pipeline.h"

#include <gtest/gtest.h>

#include <chrono>
#include <string>

namespace homeport::overlay::ovs {
namespace {

using namespace std::chrono_literals;

policy::IpAddress ip(const std::string& text) {
  return *policy::parse_address(text);
}

class UseCountsTest : public testing::Test {
 protected:
  /// The flows of these, as a switch would tell of them.
  void note(std::chrono::seconds when, std::uint64_t sent, std::uint64_t received) {
    DesiredState desired;
    desired.vteps = {vtep};
    desired.aliases = {{pair.remote, vtep}};
    desired.paths = {{vtep, policy::TrafficClass::interactive, pair.local, pair.remote},
                     {vtep, policy::TrafficClass::bulk, ip("192.0.2.1"), vtep}};
    std::vector<vswitch::Flow> flows;
    for (const auto& [key, flow] : compile(desired, {}).flows) {
      vswitch::Flow told{key, flow.body, {}};
      if (key.table == kPath && key.match.find("reg7=0x1") != std::string::npos) {
        told.counts.packets = sent;
      }
      if (key.table == kFromTunnel && key.priority == kKnownPriority &&
          key.match.find(pair.remote.to_string()) != std::string::npos) {
        told.counts.packets = received;
      }
      flows.push_back(told);
    }
    history.note(flows, ProbeTime(when));
  }
  std::optional<WayUsed> used() const {
    for (const WayUsed& each : history.used()) {
      EXPECT_FALSE(each.prompt);
      if (each.pair == pair) return each;
    }
    return std::nullopt;
  }

  const policy::IpAddress vtep = ip("192.0.2.2");
  const ProbePair pair{ip("198.51.100.1"), ip("198.51.100.2")};
  UseHistory history;
};

TEST_F(UseCountsTest, AreOfTheTimeThatTheyHaveGrown) {
  note(1s, 100, 50);
  EXPECT_EQ(history.used().size(), 2u) << "each way that something is sent on, if it is";
  ASSERT_TRUE(used());
  EXPECT_EQ(used()->sent, std::nullopt) << "that may have been long ago";
  EXPECT_EQ(used()->heard, std::nullopt);
  note(2s, 101, 50);
  EXPECT_EQ(used()->sent, ProbeTime(2s));
  EXPECT_EQ(used()->heard, std::nullopt);
  note(3s, 101, 51);
  EXPECT_EQ(used()->sent, ProbeTime(2s));
  EXPECT_EQ(used()->heard, ProbeTime(3s));
}

TEST_F(UseCountsTest, OfAFlowThatIsWrittenAnewBeginAgain) {
  note(1s, 100, 100);
  note(2s, 0, 3);
  EXPECT_EQ(used()->sent, std::nullopt);
  EXPECT_EQ(used()->heard, ProbeTime(2s));
}

TEST_F(UseCountsTest, OfAWayThatIsNoneAnyMoreAreForgotten) {
  note(1s, 1, 1);
  note(2s, 2, 2);
  history.note({}, ProbeTime(3s));
  EXPECT_TRUE(history.used().empty());
  note(4s, 3, 3);
  EXPECT_EQ(used()->sent, std::nullopt);
}

TEST_F(UseCountsTest, OutliveOneReadingThatFails) {
  note(1s, 1, 1);
  note(2s, 2, 1);
  for (int i = 0; i < 2; ++i) {
    history.note_failure();
    ASSERT_TRUE(used()) << "the way is no less used because the switch is busy";
    EXPECT_EQ(used()->sent, ProbeTime(2s));
    note(3s, 2, 1);
  }
  history.note_failure();
  history.note_failure();
  EXPECT_TRUE(history.used().empty()) << "who does not answer at all tells nothing";
  note(4s, 3, 1);
  EXPECT_EQ(used()->sent, ProbeTime(4s));
}

}  // namespace
}  // namespace homeport::overlay::ovs
