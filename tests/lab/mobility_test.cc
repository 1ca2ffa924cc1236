// Who may send to an application that moves is told by the host that it leaves, and that host sends
// on what comes there until all of them have confirmed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <utility>

#include "tests/lab/failure.h"
#include "tests/lab/fleet.h"
#include "tests/lab/wait.h"

namespace homeport::lab {
namespace {

using testing::IsEmpty;

const std::vector<std::string> kExpected = {"control database", "inactivity probe"};

class Mobility : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    fleet_ = std::make_unique<Fleet>(FleetOptions{.name = "mobility", .containers = true});
  }
  static void TearDownTestSuite() { fleet_.reset(); }

  void TearDown() override {
    fleet_->lab().start_agents();
    fleet_->wait_settled(fleet_->wait_somewhere());
    EXPECT_THAT(fleet_->lab().complaints(kExpected), IsEmpty());
  }

  static std::uint64_t metric(const Host& host, const std::string& name) {
    const std::string all = host.get("/metrics");
    const std::size_t at = all.find("\n" + name + " ");
    if (at == std::string::npos) throw LabFailure(host.name() + " has no metric " + name);
    return std::stoull(all.substr(at + name.size() + 2));
  }
  static std::uint64_t relayed_addresses(const Host& host) {
    return metric(host, "homeport_datapath_relayed_addresses");
  }
  static std::uint64_t sent_on(const Host& host) {
    return metric(host, R"(homeport_datapath_packets_total{event="forwarded"})");
  }
  static void wait_confirmed(const Host& host) {
    wait_until([&] { return relayed_addresses(host) == 0; }, 30s,
               host.name() + " to send nothing on any more");
  }

  static void expect_whole(Flow& flow) {
    flow.wait_progress(200, 20s);
    const FlowReport report = flow.finish();
    EXPECT_EQ(report.lost, 0u) << report.to_string();
    EXPECT_EQ(report.duplicated, 0u) << report.to_string();
    EXPECT_EQ(report.unreachable, 0u) << report.to_string();
  }

  /// Moves it, and returns the host that it has left.
  static Host& move() {
    Host& here = fleet_->wait_somewhere();
    const MoveOutcome outcome = fleet_->move(fleet_->other_than(here));
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    return here;
  }

  static std::unique_ptr<Fleet> fleet_;
};

std::unique_ptr<Fleet> Mobility::fleet_;

TEST_F(Mobility, WhenAllHaveConfirmedNothingIsSentOn) {
  auto flow = fleet_->start_flow(1000);
  Host& left = move();
  EXPECT_EQ(relayed_addresses(left), 1u);
  wait_confirmed(left);
  const std::uint64_t before = sent_on(left);
  flow->wait_progress(1000, 20s);
  EXPECT_EQ(sent_on(left), before);
  expect_whole(*flow);
}

TEST_F(Mobility, AHostThatTheDatabaseDoesNotReachHearsOfIt) {
  fleet_->c().management().cut();
  auto flow = fleet_->start_flow(1000);
  Host& left = move();
  wait_confirmed(left);
  const std::uint64_t before = sent_on(left);
  flow->wait_progress(1000, 20s);
  EXPECT_EQ(sent_on(left), before);
  expect_whole(*flow);
  fleet_->c().management().restore();
}

TEST_F(Mobility, TheHostThatItHasComeToTellsWhomTheOtherDoesNotReach) {
  // C hears neither from the database nor from the host that is left.
  fleet_->c().management().cut();
  auto flow = fleet_->start_flow(1000);
  Host& here = fleet_->wait_somewhere();
  const std::string route = " blackhole " + fleet_->c().underlay_address();
  here.inside().ip("route add" + route);
  EXPECT_EQ(&move(), &here);
  std::uint64_t before = 0;
  wait_until(
      [&] {
        const std::uint64_t earlier = std::exchange(before, sent_on(here));
        flow->wait_progress(200, 20s);
        return earlier == before;
      },
      30s, "C to send to the host where the application is");
  EXPECT_EQ(relayed_addresses(here), 1u);  // C has not confirmed it to that one
  here.inside().ip("route del" + route);
  wait_confirmed(here);
  expect_whole(*flow);
  fleet_->c().management().restore();
}

TEST_F(Mobility, AHostWithoutAnAgentIsWaitedFor) {
  auto flow = fleet_->start_flow(1000);
  fleet_->c().kill_agent();
  Host& left = move();
  const std::uint64_t before = sent_on(left);
  flow->wait_progress(1000, 20s);
  EXPECT_GE(sent_on(left), before + 500);  // what is received is read with a delay
  // Also by the next agent of the host that it has left.
  left.kill_agent();
  flow->wait_progress(200, 20s);
  left.start_agent();
  left.wait_ready();
  flow->wait_progress(200, 20s);
  EXPECT_EQ(relayed_addresses(left), 1u);
  fleet_->c().start_agent();
  wait_confirmed(left);
  expect_whole(*flow);
}

}  // namespace
}  // namespace homeport::lab
