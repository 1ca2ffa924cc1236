// An application behind a network device, such as a container, moves: its traffic goes to where the
// control database says that it is, whatever fails on the way.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/lab/fault.h"

namespace homeport::lab {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

/// What the log says about what is done to the agents here.
const std::vector<std::string> kExpected = {"move: ", "task: move of", "refused vm1 of",
                                            "control database"};

class Netdev : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    fleet_ = std::make_unique<Fleet>(
        FleetOptions{.name = "netdev", .containers = true, .holdable = true});
  }
  static void TearDownTestSuite() { fleet_.reset(); }

  void TearDown() override {
    fleet_->lab().start_agents();
    fleet_->wait_settled(fleet_->wait_somewhere());
    EXPECT_THAT(fleet_->lab().complaints(kExpected), IsEmpty());
  }

  /// Nothing may be missing, and each of `switches` moves, forth or back, is seen once.
  static void expect_whole(Flow& flow, std::uint64_t switches) {
    const FlowReport report = flow.finish();
    EXPECT_EQ(report.lost, 0u) << report.to_string();
    EXPECT_EQ(report.duplicated, 0u) << report.to_string();
    EXPECT_EQ(report.reordered, 0u) << report.to_string();
    EXPECT_EQ(report.unreachable, 0u) << report.to_string();
    EXPECT_EQ(report.switches, switches) << report.to_string();
  }

  /// Traffic goes to `owner` and nowhere else.
  static void expect_traffic(const Host& owner) {
    auto flow = fleet_->start_flow(2000);
    const FlowReport report = flow->finish();
    const std::size_t place = &owner == &fleet_->a() ? 0 : 1;
    EXPECT_EQ(report.lost, 0u) << report.to_string();
    EXPECT_EQ(report.places.at(place), report.sent) << report.to_string();
  }

  /// Refused with `why`; nothing has changed.
  static void expect_refused(const std::string& why) {
    Host& here = fleet_->wait_somewhere();
    auto flow = fleet_->start_flow(2000);
    const MoveOutcome outcome = fleet_->move(fleet_->other_than(here));
    EXPECT_EQ(outcome.status, 1);
    EXPECT_EQ(outcome.task.state, "rolled-back");
    EXPECT_THAT(outcome.task.error, HasSubstr(why));
    flow->wait_progress(200, 20s);
    expect_whole(*flow, 0);
    fleet_->wait_settled(here);
  }

  static void expect_moves() {
    Host& there = fleet_->other_than(fleet_->wait_somewhere());
    const MoveOutcome outcome = fleet_->move(there);
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    fleet_->wait_settled(there);
    expect_traffic(there);
  }

  static std::unique_ptr<Fleet> fleet_;
};

std::unique_ptr<Fleet> Netdev::fleet_;

TEST_F(Netdev, MovesForthAndBackUnderAFlow) {
  for (const char* address : {"10.1.0.5", "fd01::5"}) {
    auto flow = fleet_->start_flow(2000, address);
    for (int i = 0; i < 2; ++i) {
      Host& there = fleet_->other_than(fleet_->wait_somewhere());
      const MoveOutcome outcome = fleet_->move(there);
      ASSERT_EQ(outcome.status, 0) << outcome.err;
      EXPECT_EQ(outcome.task.state, "succeeded");
      EXPECT_EQ(outcome.task.bytes_sent, 0u);
      EXPECT_EQ(outcome.task.ram_bytes, 0u);
      fleet_->wait_settled(there);
      flow->wait_progress(200, 20s);
    }
    expect_whole(*flow, 2);
  }
}

// The one way in which packets of a flow change places: docs/life-of-a-move.md, "Order". Here the
// host that is left is so slow that it is certain.
TEST_F(Netdev, WhatIsSentOnIsOvertakenOnlyByWhatComesDirectly) {
  Host& here = fleet_->wait_somewhere();
  Host& there = fleet_->other_than(here);
  auto flow = fleet_->start_flow(2000);
  here.inside().tc("qdisc replace dev eth0 root tbf rate 500kbit burst 2kb latency 20s");
  EXPECT_EQ(fleet_->move(there).status, 0);
  flow->wait_progress(1000, 20s);
  const FlowReport report = flow->finish();
  here.inside().tc("qdisc replace dev eth0 root tbf rate 1000mbit burst 128kb latency 400ms");
  EXPECT_GT(report.overtaken_at_change, 0u) << report.to_string();
  EXPECT_EQ(report.reordered, 0u) << report.to_string();
  EXPECT_EQ(report.lost, 0u) << report.to_string();
  EXPECT_EQ(report.duplicated, 0u) << report.to_string();
  EXPECT_EQ(report.switches, 1u) << report.to_string();
}

// From its new home it reaches the others, the container that was left does not.
TEST_F(Netdev, SpeaksWhereItIs) {
  Host& here = fleet_->wait_somewhere();
  Host& there = fleet_->other_than(here);
  int flows = 0;
  auto is_heard = [&](const Host& host) {
    const Namespace& container = *fleet_->containers().at(&host == &fleet_->a() ? 0 : 1);
    // It asks anew. What it asked while nobody heard it would otherwise end now, unanswered, and
    // take the first datagram along.
    container.ip("neigh flush all");
    Flow flow(container, "10.1.0.2", {&fleet_->lab().client()},
              fleet_->lab().directory() / ("spoken-" + std::to_string(++flows)), 1000);
    flow.wait_sent(100, 10s);
    const FlowReport report = flow.finish();
    EXPECT_TRUE(report.lost == 0 || report.lost == report.sent) << report.to_string();
    return report.lost == 0;
  };
  EXPECT_TRUE(is_heard(here));
  EXPECT_FALSE(is_heard(there));
  ASSERT_EQ(fleet_->move(there).status, 0);
  fleet_->wait_settled(there);
  EXPECT_TRUE(is_heard(there));
  EXPECT_FALSE(is_heard(here));
}

TEST_F(Netdev, CancelledBeforeTheCommitItsTrafficComesBack) {
  for (const char* step : {"requested", "prepared", "redirected", "device-state"}) {
    SCOPED_TRACE(step);
    Host& here = fleet_->wait_somewhere();
    auto flow = fleet_->start_flow(2000);
    here.hold_at(step);
    auto waiting = fleet_->start_move(fleet_->other_than(here));
    here.wait_held();
    flow->wait_progress(200, 20s);
    const std::string id = fleet_->last_task().id;
    fleet_->lab().homeport_checked("task cancel " + id);
    here.agent().wait_for_log("to be cancelled task=" + id, 10s);
    here.release();
    EXPECT_EQ(fleet_->wait_ended().state, "cancelled");
    EXPECT_NE(waiting->wait(10s), 0);
    fleet_->wait_settled(here);
    flow->wait_progress(200, 20s);
    const bool was_away = step == std::string("redirected") || step == std::string("device-state");
    expect_whole(*flow, was_away ? 2 : 0);
  }
  expect_moves();
}

TEST_F(Netdev, ADestinationWithoutItsDeviceIsRefused) {
  Host& there = fleet_->other_than(fleet_->wait_somewhere());
  there.inside().ip(std::string("link set ") + kContainerDevice + " down");
  there.inside().ip(std::string("link set ") + kContainerDevice + " name away0");
  expect_refused("app0 of vm1 is not there on " + there.name());
  there.inside().ip(std::string("link set away0 name ") + kContainerDevice);
  there.inside().ip(std::string("link set ") + kContainerDevice + " up");
  expect_moves();
}

// It has 5 s to be connected to, once: what it was never told need not be called off.
TEST_F(Netdev, ADestinationThatIsOutOfReachIsWaitedForOnce) {
  Host& here = fleet_->wait_somewhere();
  Host& there = fleet_->other_than(here);
  there.underlay().cut();
  const MoveOutcome outcome = fleet_->move(there);
  there.underlay().restore();
  EXPECT_EQ(outcome.status, 1);
  EXPECT_EQ(outcome.task.state, "rolled-back");
  EXPECT_THAT(outcome.task.error, HasSubstr(there.name() + " at "));
  EXPECT_LT(outcome.task.total_ms, 6000u) << outcome.task.error;
  RecordProperty("total_ms", static_cast<int>(outcome.task.total_ms));
  fleet_->wait_settled(here);
  expect_moves();
}

TEST_F(Netdev, ADestinationWhoseDeviceIsDownIsRefused) {
  Host& here = fleet_->wait_somewhere();
  Host& there = fleet_->other_than(here);
  there.inside().ip(std::string("link set ") + kContainerDevice + " down");
  expect_refused("app0 of vm1 is down on " + there.name());
  there.inside().ip(std::string("link set ") + kContainerDevice + " up");
  const Namespace& container = *fleet_->containers().at(&there == &fleet_->a() ? 0 : 1);
  container.ip("link set eth0 down");
  expect_refused("app0 of vm1 has no carrier");
  container.ip("link set eth0 up");
  container.ip("addr replace fd01::5/64 dev eth0 nodad");  // went with the link
  expect_moves();
}

// Between the question whether it is there and the one whether it is ready.
TEST_F(Netdev, ADeviceThatGoesDownDuringTheMoveEndsIt) {
  Host& here = fleet_->wait_somewhere();
  Host& there = fleet_->other_than(here);
  here.hold_at("prepared");
  auto waiting = fleet_->start_move(there);
  here.wait_held();
  there.inside().ip(std::string("link set ") + kContainerDevice + " down");
  here.release();
  const TaskView task = fleet_->wait_ended();
  EXPECT_EQ(task.state, "rolled-back");
  EXPECT_THAT(task.error, HasSubstr("app0 of vm1 is down on " + there.name()));
  fleet_->wait_settled(here);
  there.inside().ip(std::string("link set ") + kContainerDevice + " up");
  expect_moves();
}

// And after the commit: it cannot live there, so it is given back.
TEST_F(Netdev, ADeviceThatIsGoneAfterTheCommitHandsItBack) {
  Host& here = fleet_->wait_somewhere();
  Host& there = fleet_->other_than(here);
  here.hold_at("commit");
  auto waiting = fleet_->start_move(there);
  here.wait_held();
  there.inside().ip(std::string("link set ") + kContainerDevice + " down");
  here.release();
  const TaskView task = fleet_->wait_ended();
  EXPECT_EQ(task.state, "rolled-back");
  EXPECT_THAT(task.error, HasSubstr("could not run it: app0 of vm1 is down"));
  fleet_->wait_settled(here);
  expect_traffic(here);
  there.inside().ip(std::string("link set ") + kContainerDevice + " up");
  expect_moves();
}

TEST_F(Netdev, ADeviceThatIsAnotherApplicationsIsRefused) {
  Host& there = fleet_->other_than(fleet_->wait_somewhere());
  fleet_->lab().homeport_checked(
      std::string("app add web --driver netdev --network net1 --mac 52:54:00:00:01:07 --ip ") +
      "10.1.0.7 --device " + kContainerDevice + " --host " + there.name());
  const MoveOutcome outcome = fleet_->move(there);
  EXPECT_EQ(outcome.status, 1);
  EXPECT_THAT(outcome.task.error, HasSubstr("app0, the network device of vm1, is that of web on"));
  fleet_->lab().homeport_checked("app remove web");
  fleet_->wait_settled(fleet_->wait_somewhere());
}

// Somebody else has written to the bindings: the fence holds. The destination may read that, and
// let go, before the source has.
TEST_F(Netdev, ARefusedCommitGoesBack) {
  Host& here = fleet_->wait_somewhere();
  here.hold_at("commit");
  auto waiting = fleet_->start_move(fleet_->other_than(here));
  here.wait_held();
  const std::string update =
      R"(["Homeport",{"op":"mutate","table":"Binding","where":[["application","==","vm1"]],)"
      R"("mutations":[["generation","+=",50]]}])";
  run_checked({"ovsdb-client", "transact", fleet_->lab().database().local_remote(), update});
  here.release();
  EXPECT_EQ(fleet_->wait_ended().state, "rolled-back");
  fleet_->wait_settled(here);
  expect_traffic(here);
  expect_moves();
}

struct Cell {
  std::string step;
  Fault fault;
};

class NetdevFault : public Netdev, public testing::WithParamInterface<Cell> {};

TEST_P(NetdevFault, LeavesItInOnePlaceWithItsTraffic) {
  const Cell& cell = GetParam();
  Host& here = fleet_->wait_somewhere();
  const HeldMove move{*fleet_, here, fleet_->other_than(here)};
  auto flow = fleet_->start_flow(2000);
  here.hold_at(cell.step);
  auto waiting = fleet_->start_move(move.destination);
  here.wait_held();
  inflict(cell.fault, move);
  repair(move);
  const std::string ended = end_of_move(move);
  waiting->kill();
  Host& owner = fleet_->wait_somewhere();
  fleet_->wait_settled(owner);
  EXPECT_EQ(ended.ends_with("succeeded"), &owner == &move.destination) << ended;
  flow->wait_progress(200, 20s);
  const FlowReport report = flow->finish();
  EXPECT_EQ(report.duplicated, 0u) << report.to_string();
  EXPECT_EQ(report.unreachable, 0u) << report.to_string();
  expect_traffic(owner);
  expect_moves();
}

std::vector<Cell> cells() {
  std::vector<Cell> all;
  for (const char* step : {"prepared", "redirected", "committed"}) {
    for (Fault fault :
         {Fault{Victim::source_agent, Harm::kill}, Fault{Victim::destination_agent, Harm::kill},
          Fault{Victim::data_link, Harm::cut}}) {
      all.push_back({step, fault});
    }
  }
  all.push_back({"commit-sent", {Victim::database, Harm::kill}});
  return all;
}

INSTANTIATE_TEST_SUITE_P(Steps, NetdevFault, testing::ValuesIn(cells()), [](const auto& info) {
  std::string name = info.param.step + "_" + info.param.fault.name();
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

}  // namespace
}  // namespace homeport::lab
