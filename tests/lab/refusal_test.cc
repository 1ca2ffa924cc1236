// Moves that cannot be: refused before anything happens to the guest, with the reason.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sys/stat.h>
#include <csignal>

#include "tests/lab/fleet.h"

namespace homeport::lab {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

/// Each with its state and the time it has used.
std::string threads_of(pid_t process) {
  std::string text;
  for (const auto& thread :
       std::filesystem::directory_iterator("/proc/" + std::to_string(process) + "/task")) {
    text += read_text(thread.path() / "stat");
  }
  return text;
}

/// Waits until the guest's vCPUs are stopped: none of the threads but the program's main one uses
/// the processor then, which each does while the guest writes to its memory. The main one of an
/// emulated guest may wake up every millisecond for a timer of the guest's that has stopped too.
void expect_stopped(Host& host, pid_t guest) {
  const std::string process = "/proc/" + std::to_string(guest);
  const auto ticks = [](const std::string& stat) {
    const Command fields = words(read_text(stat));
    return std::stol(fields.at(13)) + std::stol(fields.at(14));
  };
  auto used = [&] {
    return ticks(process + "/stat") - ticks(process + "/task/" + std::to_string(guest) + "/stat");
  };
  wait_until(
      [&] {
        const long before = used();
        let_pass(500ms);
        return used() == before;
      },
      90s, "the guest to be stopped", [&] { return threads_of(guest) + host.agent().log_tail(); });
}

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
  EXPECT_THAT(fleet.lab().complaints({"memory"}), IsEmpty());
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
  EXPECT_THAT(fleet.lab().complaints({"no memory left"}), IsEmpty());
}

// The destination's guest is still being started when the source calls the move off.
TEST(Refusal, CalledOffWhileTheDestinationLaunches) {
  Fleet fleet({.name = "launching"});
  const auto profile = fleet.b().profile_directory() / "vm1.toml";
  const std::string as_it_was = read_text(profile);
  const auto waits = fleet.b().directory() / "waits", gate = fleet.b().directory() / "gate";
  const auto slow = fleet.b().directory() / "slow-qemu";
  write_text(slow, "#!/bin/sh\ntouch " + waits.string() + "\nread line <" + gate.string() +
                       "\nexec qemu-system-x86_64 \"$@\"\n");
  std::filesystem::permissions(slow, std::filesystem::perms::owner_all);
  ASSERT_EQ(::mkfifo(gate.c_str(), 0600), 0);
  std::string changed = as_it_was;
  const std::string_view qemu = "/usr/bin/qemu-system-x86_64";
  ASSERT_NE(changed.find(qemu), std::string::npos);
  changed.replace(changed.find(qemu), qemu.size(), slow.string());
  write_text(profile, changed);

  auto waiting = fleet.start_move(fleet.b());
  wait_until([&] { return std::filesystem::exists(waits); }, 20s, "the guest to be launched");
  fleet.a().kill_agent();
  fleet.a().start_agent();
  fleet.a().wait_ready();
  // Ends once it is read.
  run_checked({"timeout", "9", "sh", "-c", "echo go >" + gate.string()});
  EXPECT_THAT(fleet.wait_ended().state, testing::AnyOf("failed", "rolled-back"));
  fleet.wait_settled(fleet.a());

  write_text(profile, as_it_was);
  EXPECT_EQ(fleet.move(fleet.b()).status, 0);
  fleet.wait_settled(fleet.b());
}

// Longer than a move waits for it.
TEST(Refusal, TheDatabaseIsAwayForLong) {
  Fleet fleet({.name = "away", .holdable = true});
  fleet.guest().write_memory(32, 4, 2);
  fleet.a().hold_at("copying");
  auto waiting = fleet.start_move(fleet.b());
  fleet.a().wait_held();
  fleet.lab().database().stop();
  fleet.a().release();
  let_pass(40s);
  fleet.guest().check_memory();  // it was never stopped for good
  fleet.lab().database().start();
  const TaskView task = fleet.wait_ended();
  EXPECT_EQ(task.state, "rolled-back");
  EXPECT_THAT(task.error, HasSubstr("the control database does not answer"));
  fleet.wait_settled(fleet.a());
  EXPECT_EQ(fleet.move(fleet.b()).status, 0);
  fleet.wait_settled(fleet.b());
  fleet.guest().check_memory();
}

// A controller gives the application to another host while its program does not answer.
TEST(Refusal, AGuestThatIsElsewhereNowAndHangsForLong) {
  Fleet fleet({.name = "fence"});
  fleet.guest().write_memory(32, 4, 2);
  const pid_t guest = fleet.a().guest_pid("vm1");
  ASSERT_TRUE(fleet.a().signal_guest("vm1", SIGSTOP));
  const std::string update =
      R"(["Homeport",{"op":"update","table":"Binding","where":[["application","==","vm1"]],)"
      R"("row":{"location":"hostB","generation":99}}])";
  run_checked({"ovsdb-client", "transact", fleet.lab().database().local_remote(), update});
  fleet.a().agent().wait_for_log("says that it is at hostB by generation 99", 20s);
  fleet.a().agent().wait_for_log("the QMP command stop took longer", 60s);
  ASSERT_TRUE(fleet.a().signal_guest("vm1", SIGCONT));
  expect_stopped(fleet.a(), guest);
}

// And one whose rows had gone before.
TEST(Refusal, AGuestWhoseRowsComeBackElsewhere) {
  Fleet fleet({.name = "orphan"});
  fleet.guest().write_memory(32, 4, 2);
  const pid_t guest = fleet.a().guest_pid("vm1");
  fleet.lab().homeport_checked("app remove vm1 --force");
  fleet.a().agent().wait_for_log("is not in the control database any more", 20s);
  // Both rows at once: there is no moment in between at which it is nowhere.
  const std::string insert =
      R"(["Homeport",{"op":"insert","table":"Application","row":{"name":"vm1","driver":"qemu"}},)"
      R"({"op":"insert","table":"Binding","row":{"name":"vm1","application":"vm1",)"
      R"("network":"net1","mac":"52:54:00:00:01:05","prior_addresses":["set",["10.1.0.5"]],)"
      R"("location":"hostB","generation":7}}])";
  run_checked({"ovsdb-client", "transact", fleet.lab().database().local_remote(), insert});
  fleet.a().agent().wait_for_log("says that it is at hostB by generation 7", 20s);
  expect_stopped(fleet.a(), guest);
}

// Two tasks of one application would take its guest from each other.
TEST(Refusal, AStopDuringAMove) {
  Fleet fleet({.name = "stop", .holdable = true});
  fleet.a().hold_at("copying");
  auto waiting = fleet.start_move(fleet.b());
  fleet.a().wait_held();
  const std::string insert =
      R"(["Homeport",{"op":"insert","table":"Task","row":{"kind":"stop","application":"vm1"}}])";
  run_checked({"ovsdb-client", "transact", fleet.lab().database().local_remote(), insert});
  wait_until(
      [&] {
        for (const TaskView& task : fleet.tasks()) {
          if (task.state != "failed") continue;
          EXPECT_THAT(task.error, HasSubstr("is being moved to hostB already"));
          return true;
        }
        return false;
      },
      20s, "the stop to be refused");
  fleet.a().release();
  EXPECT_EQ(waiting->wait(60s), 0);
  fleet.wait_settled(fleet.b());
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
  EXPECT_THAT(fleet.lab().complaints({"share=on"}), IsEmpty());
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
  ASSERT_TRUE(fleet.b().signal_guest("vm1", SIGKILL));
  fleet.b().start_agent();
  fleet.b().wait_ready();
  expect_no_trace(fleet);
  for (Host* host : fleet.lab().hosts()) host->stop_agent();
  EXPECT_THAT(fleet.lab().complaints({"guest vm1 has ended while the agent was away"}), IsEmpty());
}

}  // namespace
}  // namespace homeport::lab
