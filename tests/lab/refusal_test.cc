// Moves that cannot be: refused before anything happens to the guest, with the reason.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>

#include "tests/lab/fleet.h"

namespace homeport::lab {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

TEST(Refusal, DestinationOutOfMemory) {
  Fleet fleet({.name = "memory", .host_memory_mib = 400});
  // The tmpfs of B is filled until the guest no longer fits.
  write_text(fleet.b().memory_directory() / "other", std::string(200u << 20, 'x'));
  const MoveOutcome outcome = fleet.move(fleet.b());
  EXPECT_EQ(outcome.status, 1);
  EXPECT_THAT(outcome.task.state, testing::AnyOf("failed", "rolled-back"));
  EXPECT_THAT(outcome.task.error + outcome.err, HasSubstr("memory"));
  std::filesystem::remove(fleet.b().memory_directory() / "other");
  fleet.wait_settled(fleet.a());
  EXPECT_EQ(fleet.move(fleet.b()).status, 0);
  fleet.wait_settled(fleet.b());
  EXPECT_THAT(fleet.lab().complaints({"move", "memory", "vm1"}), IsEmpty());
}

TEST(Refusal, MemoryThatRunsOutDuringTheCopy) {
  Fleet fleet({.name = "fills", .holdable = true});
  fleet.guest().write_memory(96, 4, 1);
  fleet.a().hold_at("copying");
  auto waiting = fleet.start_move(fleet.b());
  fleet.a().wait_held();
  const auto other = fleet.b().memory_directory() / "somebody-else";
  run_command({"dd", "if=/dev/zero", "of=" + other.string(), "bs=1M"});  // until it is full
  fleet.a().release();
  const TaskView task = fleet.wait_ended();
  EXPECT_EQ(task.state, "rolled-back");
  EXPECT_THAT(task.error, HasSubstr("no memory left"));
  EXPECT_TRUE(fleet.b().agent_runs());
  std::filesystem::remove(other);
  fleet.wait_settled(fleet.a());
  fleet.guest().check_memory();
  EXPECT_EQ(fleet.move(fleet.b()).status, 0);
  fleet.wait_settled(fleet.b());
  fleet.guest().check_memory();
  EXPECT_THAT(fleet.lab().complaints({"move", "memory", "vm1"}), IsEmpty());
}

TEST(Refusal, ASecondMoveOfTheSameApplication) {
  Fleet fleet({.name = "second", .holdable = true});
  fleet.a().hold_at("copying");
  auto waiting = fleet.start_move(fleet.b());
  fleet.a().wait_held();
  const MoveOutcome second = fleet.move(fleet.b());
  EXPECT_EQ(second.status, 1);
  EXPECT_THAT(second.err + second.task.error, HasSubstr("A move of vm1 is running"));

  // A controller that does not ask first.
  const std::string insert =
      R"(["Homeport",{"op":"insert","table":"Task","row":{"kind":"move","application":"vm1",)"
      R"("arguments":["map",[["destination","hostB"]]]}}])";
  run_checked({"ovsdb-client", "transact", fleet.lab().database().local_remote(), insert});
  wait_until(
      [&] {
        for (const TaskView& task : fleet.tasks()) {
          if (task.state == "failed") {
            EXPECT_THAT(task.error, HasSubstr("is being moved to hostB already"));
            return true;
          }
        }
        return false;
      },
      20s, "the second move to fail");
  fleet.a().release();
  EXPECT_EQ(waiting->wait(60s), 0);
  fleet.wait_settled(fleet.b());
}

TEST(Refusal, MemoryThatCannotBeCaptured) {
  FleetOptions options{.name = "private"};
  options.guest.shared_memory = false;
  Fleet fleet(options);
  const MoveOutcome outcome = fleet.move(fleet.b());
  EXPECT_EQ(outcome.status, 1);
  EXPECT_THAT(outcome.task.error + outcome.err, HasSubstr("share=on"));
  EXPECT_EQ(&fleet.whereabouts(), &fleet.a());
  EXPECT_THAT(fleet.b().leftovers(), IsEmpty());
  EXPECT_THAT(fleet.lab().complaints({"move", "vm1", "share"}), IsEmpty());
}

void expect_no_trace(Fleet& fleet) {
  wait_until([&] { return fleet.lab().leftovers().empty(); }, 10s, "hosts without a trace",
             [&] { return testing::PrintToString(fleet.lab().leftovers()); });
}

TEST(Refusal, GuestsThatEndLeaveNothing) {
  Fleet fleet({.name = "stop"});
  EXPECT_EQ(fleet.move(fleet.b()).status, 0);
  fleet.lab().homeport_checked("app stop vm1 --wait");
  expect_no_trace(fleet);

  // While nobody watches it.
  fleet.lab().homeport_checked("app start vm1 --wait");
  fleet.b().kill_agent();
  ASSERT_EQ(::kill(fleet.b().guest_pid("vm1"), SIGKILL), 0);
  fleet.b().start_agent();
  fleet.b().wait_ready();
  expect_no_trace(fleet);
  for (Host* host : fleet.lab().hosts()) host->stop_agent();
  EXPECT_THAT(fleet.lab().complaints({"guest vm1 has ended while the agent was away"}), IsEmpty());
}

}  // namespace
}  // namespace homeport::lab
