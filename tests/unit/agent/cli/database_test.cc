// The commands against a real ovsdb-server, with the part of the agents played by the test.
#include "tests/unit/agent/cli/with_database.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <future>
#include <thread>

namespace homeport::agent {
namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;
using test::Ran;
using ::testing::AllOf;
using ::testing::HasSubstr;

class DatabaseCommands : public test::WithDatabase {
 protected:
  void add_network_and_vm() {
    checked(
        "network add net1 --vni 100 --subnet 10.1.0.0/24 --subnet fd01::/64 --gateway 10.1.0.1");
    checked(
        "app add vm1 --driver qemu --profile guest --network net1 --mac 02:00:00:00:00:01 "
        "--ip 10.1.0.10 --ip fd01::10 --host hostA --memory 256 --vcpus 2");
  }

  /// Asks for a move of vm1 to hostB and returns the task's id.
  std::string ask_for_move() {
    return std::string(checked("move vm1 --to hostB --json").json().at("id").as_string());
  }

  /// Not within a coroutine: GCC 12 destroys such temporaries twice.
  static std::vector<TaskLane> lanes() {
    return {{"192.0.2.1", "192.0.2.2:6711", LaneState::open, 3 << 20, 2 << 20},
            {"2001:db8::1", "[2001:db8::2]:6711", LaneState::given_up, 5 << 10, 0}};
  }

  /// What the executing agent writes about task `id`.
  void report(const std::string& id, TaskState state, const std::string& error = "") {
    on_database([&](DatabaseClient& client) -> asio::awaitable<policy::Result<int>> {
      TaskStatus status;
      status.task = *parse_uuid(id);
      status.host = status.source = "hostA";
      status.destination = "hostB";
      status.application = "vm1";
      status.state = state;
      status.phase = "copying";
      status.error = error;
      status.started = wall_clock_now();
      if (state != TaskState::running) status.finished = wall_clock_now();
      status.bytes_sent = 1 << 20;
      status.bytes_total = status.ram_bytes = 1 << 28;
      status.rounds = 3;
      status.downtime = 143ms;
      status.figures["zero_pages"] = 17;
      status.lanes = lanes();
      auto done = co_await client.database().write_task_status(status);
      if (!done) co_return done.error();
      co_return 0;
    });
  }
};

TEST_F(DatabaseCommands, DbInitAgainChangesNothing) {
  Ran again = test::run_command({"db", "init", "--dir", directory_, "--json"});
  ASSERT_EQ(again.code, 0) << again.err;
  EXPECT_EQ(again.json().at("created"), false);
  EXPECT_EQ(again.json().at("started"), false);
}

TEST_F(DatabaseCommands, AServerThatDoesNotRunIsNamed) {
  EXPECT_EQ(*local_remote(directory_), global_.database);
  ASSERT_TRUE(stop_database(directory_));
  const std::string words = "The server of " + directory_ + "/homeport.db does not run";
  EXPECT_THAT(local_remote(directory_).error().message, HasSubstr(words));
  refused("task list", words);
  EXPECT_THAT(local_remote(directory_ + "/none").error().message, HasSubstr("Nothing says where"));
}

TEST_F(DatabaseCommands, AFileThatSaysWhereTheDatabaseIsMustBeReadable) {
  const std::string file = directory_ + "/database";
  EXPECT_EQ(*configured_remote(file), "");
  std::ofstream(file) << "ssl:192.0.2.1:6650\nsecond line\n";
  EXPECT_EQ(*configured_remote(file), "ssl:192.0.2.1:6650");
  EXPECT_THAT(configured_remote(directory_).error().message, HasSubstr("Is a directory"));
  EXPECT_THAT(configured_remote(file + "/x").error().message, HasSubstr("Not a directory"));
}

TEST_F(DatabaseCommands, NetworksComeAndGo) {
  checked("network add net1 --vni 100 --subnet 10.1.0.0/24 --subnet fd01::/64 --mtu 1400");
  refused("network add net1 --vni 101", "There is a network net1 already");
  refused("network add net2 --vni 100", "100");
  refused("network add net2 --vni 101 --gateway 224.0.0.1", "not a unicast address");
  EXPECT_EQ(homeport("network add net2 --vni 101 --unknown flood").code, 2);
  checked(
      "network add net2 --vni 101 --gateway 10.1.0.1 --gateway fd01::1 --unknown normal "
      "--host-access");
  EXPECT_THAT(checked("network show net2").out,
              AllOf(HasSubstr("unknown destinations: normal"), HasSubstr("10.1.0.1, fd01::1"),
                    HasSubstr("hosts' own processes: reach it")));
  checked("network remove net2");
  EXPECT_THAT(checked("network list").out, HasSubstr("net1     100  10.1.0.0/24, fd01::/64  1400"));
  auto listed = checked("network list --json").json();
  EXPECT_EQ(listed.at(0).at("subnets").at(1), "fd01::/64");
  EXPECT_THAT(checked("network show net1").out, HasSubstr("VNI 100"));
  refused("network show net", "did you mean net1?");
  checked("network remove net1");
  refused("network remove net1", "There is no network");
}

TEST_F(DatabaseCommands, ApplicationsAreCheckedBeforeTheyAreWritten) {
  add_network_and_vm();
  checked(
      "app add client --driver netdev --device cli0 --network net1 --mac 02:00:00:00:00:02 "
      "--ip 10.1.0.2 --ip fd01::2 --host hostC");
  const std::string rest = " --mac 02:00:00:00:00:03 --ip 10.1.0.3 ";
  refused("app add vm1 --profile guest --network net1 --host hostA" + rest, "already");
  refused("app add vm2 --profile guest --network net1 --host hotsA" + rest, "did you mean hostA");
  refused("app add vm2 --profile guest --network net7 --host hostA" + rest, "no network \"net7\"");
  refused(
      "app add vm2 --profile g --network net1 --host hostA --mac 02:00:00:00:00:01 "
      "--ip 10.1.0.3",
      "02:00:00:00:00:01");
  refused(
      "app add vm2 --profile g --network net1 --host hostA --mac 02:00:00:00:00:03 "
      "--ip 10.1.0.10",
      "10.1.0.10");
  refused(
      "app add vm2 --profile g --network net1 --host hostA --mac 02:00:00:00:00:03 "
      "--ip 192.0.2.1",
      "192.0.2.1");
  refused(
      "app add vm2 --profile g --network net1 --host hostA --mac 02:00:00:00:00:03 "
      "--ip 10.1.0.1",
      "is a gateway of network net1");
  refused(
      "app add vm2 --profile g --network net1 --host hostA --mac 02:48:50:00:00:01 "
      "--ip 10.1.0.3",
      "is that of the networks' router");
  refused("app add vm2 --profile g --network net1 --host hostA --policy p" + rest,
          "no policy \"p\"");
  EXPECT_EQ(checked("app list --json").json().as_array().size(), 2u) << "nothing half-written";
}

TEST_F(DatabaseCommands, ApplicationsAreShownAndRemoved) {
  add_network_and_vm();
  EXPECT_THAT(checked("app list").out, AllOf(HasSubstr("vm1"), HasSubstr("10.1.0.10, fd01::10")));
  auto shown = checked("app show vm1 --json").json();
  EXPECT_EQ(shown.at("location"), "hostA");
  EXPECT_EQ(shown.at("generation"), 0);
  EXPECT_EQ(shown.at("properties").at("memory_mib"), "256");
  EXPECT_EQ(shown.at("bindings").at(0).at("mac"), "02:00:00:00:00:01");
  EXPECT_THAT(checked("app show vm1").out, HasSubstr("memory_mib"));
  refused("app show vm2", "did you mean vm1?");
  EXPECT_EQ(homeport("network remove net1").code, 1) << "vm1 is in it";
  checked("app remove vm1");
  EXPECT_TRUE(checked("app list --json").json().as_array().empty());
  checked("network remove net1");
}

TEST_F(DatabaseCommands, PoliciesAreSetPieceByPiece) {
  checked("policy set gold --downtime-limit 300 --convergence rollback");
  checked("policy set gold --copy-timeout 60 --compression zstd");
  auto gold = checked("policy list --json").json().at(0);
  EXPECT_EQ(gold.at("downtime_limit_ms"), 300);
  EXPECT_EQ(gold.at("convergence"), "rollback");
  EXPECT_EQ(gold.at("copy_timeout_s"), 60);
  EXPECT_EQ(gold.at("compression"), "zstd");
  EXPECT_THAT(checked("policy list").out, HasSubstr("300 ms"));
}

TEST_F(DatabaseCommands, MoveRefusesWhatCannotSucceed) {
  refused("move vm1 --to hostB", "There is no application");
  add_network_and_vm();
  refused("move vm2 --to hostB", "did you mean vm1?");
  refused("move vm1 --to hostA", "is at hostA already");
  refused("move vm1 --to hostX", "did you mean hostA or hostB or hostC?");
  refused("move vm1 --to hostB --policy p", "no policy");
  publish("hostB", wall_clock_now() - 10min);
  refused("--timeout 2 move vm1 --to hostB", "has not been heard of for 10 min");
  publish("hostB", wall_clock_now(), HostState::draining);
  refused("move vm1 --to hostB", "is draining, not ready");
  publish("hostB", wall_clock_now());
  publish("hostA", wall_clock_now() - 10min);
  refused("--timeout 2 move vm1 --to hostB", "Host hostA has not been heard of");
}

TEST_F(DatabaseCommands, AHostWhoseClockIsSlowIsListenedFor) {
  add_network_and_vm();
  publish("hostB", wall_clock_now() - 1h);
  auto moving = std::async(std::launch::async, [this] { return homeport("move vm1 --to hostB"); });
  // Whenever the command begins to listen, a sign comes.
  int signs = 0;
  while (moving.wait_for(100ms) == std::future_status::timeout) {
    publish("hostB", wall_clock_now() - 1h + std::chrono::seconds(++signs));
  }
  Ran ran = moving.get();
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_THAT(ran.err, HasSubstr("hostB gave no sign of life lately: listening for 12 s"));
}

TEST_F(DatabaseCommands, OnlyOneTaskOfAnApplicationAtATime) {
  add_network_and_vm();
  std::string id = ask_for_move();
  refused("move vm1 --to hostC", "homeport task cancel " + id);
  refused("app stop vm1", "A move of vm1 is requested");
  refused("app remove vm1", "homeport task wait " + id);
  report(id, TaskState::failed, "No memory.");
  EXPECT_EQ(checked("app stop vm1 --json").json().as_object().size(), 1u);
}

TEST_F(DatabaseCommands, TasksAreListedShownAndCancelled) {
  add_network_and_vm();
  std::string id = ask_for_move();
  report(id, TaskState::running);
  auto listed = checked("task list --json").json();
  ASSERT_EQ(listed.as_array().size(), 1u);
  EXPECT_EQ(listed.at(0).at("id").as_string(), id);
  EXPECT_EQ(listed.at(0).at("state"), "running");
  EXPECT_EQ(listed.at(0).at("destination"), "hostB");
  EXPECT_EQ(listed.at(0).at("figures").at("zero_pages"), 17);
  EXPECT_THAT(checked("task list --open").out, HasSubstr(id.substr(0, 8)));
  EXPECT_THAT(checked("task show " + id.substr(0, 8)).out, HasSubstr("zero_pages"));
  const std::string shown = checked("task show " + id).out;
  EXPECT_THAT(shown,
              HasSubstr("\n\nLANE FROM    TO                  THROUGH  STATE        SENT      "
                        " RATE\n"
                        "192.0.2.1    192.0.2.2:6711      none     open      3.0 MiB  2.0 "
                        "MiB/s\n"
                        "2001:db8::1  [2001:db8::2]:6711  none     given-up  5.0 KiB         "
                        " -\n"));
  const auto lanes = checked("task show " + id + " --json").json().at("lanes");
  ASSERT_EQ(lanes.as_array().size(), 2u);
  EXPECT_EQ(lanes.at(0).at("remote"), "192.0.2.2:6711");
  EXPECT_EQ(lanes.at(0).at("bytes_per_second"), 2 << 20);
  EXPECT_EQ(lanes.at(1).at("state"), "given-up");
  refused("task show none", "task");

  checked("task cancel " + id);
  EXPECT_EQ(checked("task show " + id + " --json").json().at("cancel"), true);
  report(id, TaskState::cancelled);
  refused("task cancel " + id, "has ended already");
  EXPECT_EQ(homeport("task wait " + id).code, 1);
  EXPECT_TRUE(checked("task list --open --json").json().as_array().empty());
}

TEST_F(DatabaseCommands, WhatAHostHasWrittenDoesNotReachTheTerminalAsItIs) {
  add_network_and_vm();
  const std::string id = ask_for_move();
  report(id, TaskState::failed, "No\x1b[2J memory.");
  EXPECT_THAT(checked("task show " + id).out, HasSubstr("No?[2J memory."));
  EXPECT_THAT(homeport("task wait " + id).out, HasSubstr("failed: No?[2J memory."));
  refused("task cancel " + id, "failed: No?[2J memory.");
}

TEST_F(DatabaseCommands, TasksThatHaveEndedAreRemoved) {
  add_network_and_vm();
  const std::string id = ask_for_move();
  report(id, TaskState::running);
  refused("task remove " + id, "homeport task cancel " + id);
  EXPECT_EQ(checked("task remove --ended --json").json().at("removed").as_array().size(), 0u);
  report(id, TaskState::succeeded);
  const std::string failed = ask_for_move();
  report(failed, TaskState::failed);
  EXPECT_EQ(checked("task remove --ended --json").json().at("removed").at(0).as_string(), failed);
  EXPECT_THAT(checked("task remove --ended").out, HasSubstr("Removed 0 tasks. Kept 1 task"));
  refused("task remove " + id, "the last of vm1 that succeeded");
  refused("app remove vm1", "homeport app stop vm1");
  checked("app remove vm1 --force");
  EXPECT_EQ(checked("task remove --ended").out, "Removed 1 task.\n");
  EXPECT_TRUE(checked("task list --json").json().as_array().empty());
  EXPECT_EQ(homeport("task remove").code, 2);
}

TEST_F(DatabaseCommands, ApplicationsThatRunAreNotRemoved) {
  add_network_and_vm();
  report(ask_for_move(), TaskState::succeeded);
  refused("app remove vm1", "homeport app stop vm1");
  EXPECT_EQ(checked("app remove vm1 --force --json").json().at("removed").as_string(), "vm1");
}

TEST_F(DatabaseCommands, PoliciesThatNobodyNamesAreRemoved) {
  checked("policy set gold --downtime-limit 50");
  refused("policy remove silver", "silver");
  EXPECT_EQ(checked("policy remove gold --json").json().at("removed").as_string(), "gold");
  EXPECT_TRUE(checked("policy list --json").json().as_array().empty());
}

TEST_F(DatabaseCommands, TasksInDoubtAreExplainedAndDecided) {
  add_network_and_vm();
  std::string id = ask_for_move();
  refused("task resolve " + id, "is not in doubt");
  EXPECT_THAT(checked("task resolve").out, HasSubstr("No task is in doubt"));
  report(id, TaskState::in_doubt, "The commit's outcome is not known.");
  EXPECT_EQ(homeport("task wait " + id).code, 3);
  refused("task cancel " + id, "homeport task resolve " + id);
  EXPECT_THAT(checked("task resolve").out, AllOf(HasSubstr(id), HasSubstr("cannot be taken back")));
  EXPECT_TRUE(checked("task show " + id + " --json").json().at("resolution").is_null());
  EXPECT_THAT(checked("task resolve " + id + " --to source").out,
              HasSubstr("vm1 goes on at hostA; what hostB holds of it is thrown away"));
  EXPECT_EQ(checked("task show " + id + " --json").json().at("resolution"), "source");
}

TEST_F(DatabaseCommands, ADecisionTakesTheApplicationOnlyFromAHostThatIsSilent) {
  add_network_and_vm();
  std::string id = ask_for_move();
  auto location = [&] { return checked("app show vm1 --json").json().at("location"); };
  on_database([](DatabaseClient& client) -> asio::awaitable<policy::Result<int>> {
    auto moved = co_await client.database().commit_move("vm1", "hostA", "hostB", 0);
    if (!moved) co_return moved.error();
    co_return 0;
  });
  report(id, TaskState::in_doubt, "hostB does not answer.");
  checked("task resolve " + id + " --to source");
  EXPECT_EQ(location(), "hostB");  // it is for hostB, which is alive, to give it back
  publish("hostB", wall_clock_now() - 60s);
  checked("task resolve " + id + " --to source");
  EXPECT_EQ(location(), "hostA");
  // Generation 2, which hostB obeys when it comes back.
  EXPECT_EQ(checked("app show vm1 --json").json().at("generation"), 2);
}

TEST_F(DatabaseCommands, AMoveOfASilentHostCanBeDecided) {
  add_network_and_vm();
  std::string id = ask_for_move();
  report(id, TaskState::running);
  refused("task resolve " + id + " --to destination", "is not in doubt");
  publish("hostA", wall_clock_now() - 60s);
  checked("task resolve " + id + " --to destination");
  EXPECT_EQ(checked("app show vm1 --json").json().at("location"), "hostB");
}

TEST_F(DatabaseCommands, WaitFollowsAMoveToItsEnd) {
  add_network_and_vm();
  auto moving =
      std::async(std::launch::async, [this] { return homeport("move vm1 --to hostB --wait"); });
  std::string id;
  on_database([&](DatabaseClient& client) -> asio::awaitable<policy::Result<int>> {
    while (client.contents().tasks.empty()) co_await client.next_change();
    id = to_string(client.contents().tasks.begin()->first);
    co_return 0;
  });
  report(id, TaskState::running);
  report(id, TaskState::succeeded);
  Ran ran = moving.get();
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_THAT(ran.out, HasSubstr("vm1 moved from hostA to hostB"));
  EXPECT_THAT(ran.out, HasSubstr("stopped for 143 ms"));
  EXPECT_EQ(checked("task wait " + id + " --json").json().at("downtime_ms"), 143);
}

TEST_F(DatabaseCommands, AnInterruptEndsTheWatchingOnly) {
  add_network_and_vm();
  std::string id = ask_for_move();
  report(id, TaskState::running);
  auto watching = std::async(std::launch::async, [&] { return homeport("task wait " + id); });
  struct sigaction action {};
  while (action.sa_handler == SIG_DFL) {
    std::this_thread::yield();
    ASSERT_EQ(sigaction(SIGINT, nullptr, &action), 0);
  }
  std::raise(SIGINT);
  Ran ran = watching.get();
  EXPECT_EQ(ran.code, 130);
  EXPECT_THAT(ran.err,
              AllOf(HasSubstr("the task goes on"), HasSubstr("homeport task cancel " + id)));
  EXPECT_EQ(checked("task show " + id + " --json").json().at("cancel"), false);
}

}  // namespace
}  // namespace homeport::agent
