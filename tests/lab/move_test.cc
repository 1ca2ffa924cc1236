// A live VM moves between two hosts, and its clients do not notice.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <boost/json/parse.hpp>

#include "tests/lab/fleet.h"

namespace homeport::lab {
namespace {

class Move : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    fleet_ = std::make_unique<Fleet>(FleetOptions{.name = "move", .holdable = true});
  }
  static void TearDownTestSuite() { fleet_.reset(); }

  void TearDown() override {
    fleet_->wait_settled(fleet_->wait_somewhere());
    EXPECT_THAT(fleet_->lab().complaints(), testing::IsEmpty());
  }

  /// Clients on `address` while `work` is done; afterwards nothing may be missing.
  template <class Work>
  void with_clients(const std::string& address, const std::string& name, Work work) {
    with_clients_in(fleet_->lab().client(), address, name, work);
  }
  template <class Work>
  void with_clients_in(const Namespace& place, const std::string& address, const std::string& name,
                       Work work) {
    Lab& lab = fleet_->lab();
    const GuestStatus before = fleet_->guest().status();
    StreamClient stream(place, address, lab.directory() / (name + "-stream.log"));
    DatagramClient datagrams(place, address, lab.directory() / (name + "-datagrams.log"));
    stream.wait_progress(64 * 1024, 20s);
    datagrams.wait_progress(500, 20s);
    work();
    stream.wait_progress(64 * 1024, 20s);
    datagrams.wait_progress(500, 20s);

    const DatagramReport numbered = datagrams.finish();
    const StreamReport checked = stream.finish();
    EXPECT_TRUE(checked.survived) << checked.error;
    EXPECT_EQ(checked.mismatches, 0u);
    const GuestStatus after = fleet_->guest().status();
    EXPECT_EQ(after.boot_id, before.boot_id);
    EXPECT_GT(after.counter, before.counter);
    EXPECT_EQ(after.stream_mismatches, 0u);
    EXPECT_EQ(after.stream_connections, before.stream_connections + 1);
    EXPECT_EQ(after.datagram_drops, before.datagram_drops) << "the guest's own kernel dropped";
    EXPECT_EQ(numbered.all().lost, 0u) << locate_losses(numbered, fleet_->lab().taps()).to_string();
    EXPECT_EQ(numbered.duplicated, 0u);
    RecordProperty(name + "_longest_gap_ms", static_cast<int>(numbered.all().longest_gap_ms));
  }

  static std::unique_ptr<Fleet> fleet_;
};

std::unique_ptr<Fleet> Move::fleet_;

TEST_F(Move, KeepsConnectionsOverIpv4AndBack) {
  with_clients("10.1.0.5", "ipv4", [&] {
    for (Host* to : {&fleet_->b(), &fleet_->a()}) {
      const MoveOutcome outcome = fleet_->move(*to);
      ASSERT_EQ(outcome.status, 0) << outcome.err;
      EXPECT_EQ(outcome.task.state, "succeeded");
      EXPECT_GT(outcome.task.bytes_sent, 0u);
      EXPECT_GE(outcome.task.ram_bytes, 256u << 20);
      EXPECT_LT(outcome.task.bytes_sent, outcome.task.ram_bytes) << "zero pages were sent";
      fleet_->wait_settled(*to);
    }
  });
}

TEST_F(Move, KeepsConnectionsOfAHostsOwnProcesses) {
  // Of the host that the guest leaves, of the one it goes to, and of a third.
  for (Host* client : {&fleet_->a(), &fleet_->b(), &fleet_->c()}) {
    SCOPED_TRACE(client->name());
    with_clients_in(client->inside(), "10.1.0.5", "own-of-" + client->name(), [&] {
      const MoveOutcome outcome = fleet_->move(fleet_->other_than(fleet_->wait_somewhere()));
      ASSERT_EQ(outcome.status, 0) << outcome.err;
    });
  }
}

TEST_F(Move, KeepsConnectionsOverIpv6WhileMemoryIsWritten) {
  fleet_->guest().write_memory(64, 8, 10);
  Host& to = fleet_->other_than(fleet_->wait_somewhere());
  with_clients("fd01::5", "ipv6", [&] {
    const MoveOutcome outcome = fleet_->move(to);
    ASSERT_EQ(outcome.status, 0) << outcome.err;
  });
  fleet_->guest().check_memory();
  EXPECT_EQ(fleet_->guest().status().memory_mismatches, 0u);
  EXPECT_GT(fleet_->guest().status().memory_written_bytes, 0u);
}

TEST_F(Move, TenInARowLoseNothing) {
  with_clients("10.1.0.5", "ten", [&] {
    for (int i = 0; i < 10; ++i) {
      const MoveOutcome outcome = fleet_->move(fleet_->other_than(fleet_->wait_somewhere()));
      ASSERT_EQ(outcome.status, 0) << "move " << i << ": " << outcome.err;
    }
  });
}

TEST_F(Move, ToWhereItIsAlreadyIsRefused) {
  Host& here = fleet_->wait_somewhere();
  const MoveOutcome outcome = fleet_->move(here);
  EXPECT_NE(outcome.status, 0);
  EXPECT_EQ(&fleet_->whereabouts(), &here);
}

TEST_F(Move, CancelledBeforeTheCommitRollsBackCleanly) {
  with_clients("10.1.0.5", "cancelled", [&] {
    for (const char* step :
         {"requested", "prepared", "copying", "redirected", "stopped", "device-state"}) {
      SCOPED_TRACE(step);
      Host& here = fleet_->wait_somewhere();
      here.hold_at(step);
      auto waiting = fleet_->start_move(fleet_->other_than(here));
      here.wait_held();
      const std::string id = fleet_->last_task().id;
      fleet_->lab().homeport_checked("task cancel " + id);
      here.agent().wait_for_log("to be cancelled task=" + id, 10s);
      here.release();
      EXPECT_EQ(fleet_->wait_ended().state, "cancelled");
      EXPECT_NE(waiting->wait(10s), 0);
      fleet_->wait_settled(here);
    }
  });
  EXPECT_EQ(fleet_->move(fleet_->other_than(fleet_->wait_somewhere())).status, 0);
}

TEST_F(Move, CancelledTooLateIsDoneAllTheSame) {
  Host& here = fleet_->wait_somewhere();
  Host& there = fleet_->other_than(here);
  here.hold_at("committed");
  auto waiting = fleet_->start_move(there);
  here.wait_held();
  fleet_->lab().homeport("task cancel " + fleet_->last_task().id);
  here.release();
  EXPECT_EQ(fleet_->wait_ended().state, "succeeded");
  fleet_->wait_settled(there);
}

TEST_F(Move, IsToldStepByStepToWhoFollowsTheEventsOfAnyHost) {
  Host& here = fleet_->wait_somewhere();
  Host& there = fleet_->other_than(here);
  here.hold_at("copying");
  auto waiting = fleet_->start_move(there);
  here.wait_held();
  const std::string id = fleet_->last_task().id;
  std::vector<std::string> states;  // of that task, one for each event
  fleet_->c().follow("/v1/events", [&](const std::string& line) {
    if (!line.starts_with("data: {\"id\":\"" + id)) return false;
    const auto task = boost::json::parse(line.substr(6)).as_object();
    states.emplace_back(task.at("state").as_string());
    if (states.size() == 1) here.release();
    return states.back() != "running";
  });
  ASSERT_GE(states.size(), 2u);
  EXPECT_EQ(states.front(), "running");
  EXPECT_EQ(states.back(), "succeeded");
  EXPECT_EQ(waiting->wait(10s), 0);
  fleet_->wait_settled(there);
}

TEST_F(Move, GoesOnWhenTheWaitingCommandIsInterrupted) {
  Host& there = fleet_->other_than(fleet_->wait_somewhere());
  auto waiting = fleet_->start_move(there);
  waiting->send_signal(SIGINT);
  EXPECT_EQ(waiting->wait(10s), 130);
  EXPECT_EQ(fleet_->wait_ended().state, "succeeded");
  fleet_->wait_settled(there);
}

}  // namespace
}  // namespace homeport::lab
