// ControlDatabase against a real server.
#include "agent/control/database.h"

#include "tests/unit/overlay/ovsdb/lossy_proxy.h"
#include "tests/unit/overlay/ovsdb/test_server.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/uuid/random_generator.hpp>

namespace homeport::agent {
namespace {

namespace asio = boost::asio;
namespace errc = boost::system::errc;
using namespace std::chrono_literals;
using testing::HasSubstr;

/// A database and what it has called back.
struct View {
  View(asio::io_context& io, const std::string& remote)
      : changed(io), database(io.get_executor(), options(remote)) {
    database.on_change([this] {
      ++changes;
      changed.notify();
    });
    database.on_state([this](bool) { changed.notify(); });
    database.start();
  }
  static DatabaseOptions options(const std::string& remote) {
    DatabaseOptions options;
    options.session.remotes = remote;
    options.operation_timeout = 15s;
    return options;
  }
  int changes = 0;
  test::Condition changed;
  ControlDatabase database;
};

class DatabaseTest : public testing::Test {
 protected:
  DatabaseTest() {
    server.transact(
        R"({"op":"insert","table":"Host","row":{"name":"h1"}},)"
        R"({"op":"insert","table":"Host","row":{"name":"h2"}},)"
        R"({"op":"insert","table":"Network","row":{"name":"blue","vni":100}},)"
        R"({"op":"insert","table":"Application","row":{"name":"vm1","driver":"qemu"}},)"
        R"({"op":"insert","table":"Binding","row":{"name":"vm1/a","application":"vm1","network":"blue",)"
        R"("mac":"52:54:00:00:00:01","location":"h1","generation":4}},)"
        R"({"op":"insert","table":"Binding","row":{"name":"vm1/b","application":"vm1","network":"blue",)"
        R"("mac":"52:54:00:00:00:02","location":"h1","generation":4}})");
  }
  void sync(View& view) {
    test::run(io, view.changed.wait([&] { return view.database.synced() && view.changes > 0; }));
  }
  MoveTruth truth(View& view) { return read_move(view.database.contents(), "vm1", "h1", "h2", 4); }

  asio::io_context io;
  test::TestServer server;
};

TEST_F(DatabaseTest, CallsBackOncePerBatch) {
  View view(io, server.remote());
  EXPECT_TRUE(view.database.hosts().empty());
  sync(view);
  EXPECT_EQ(view.changes, 1);
  EXPECT_EQ(view.database.hosts().size(), 2u);
  EXPECT_EQ(view.database.contents().bindings_of("vm1").size(), 2u);
  server.transact(R"({"op":"insert","table":"Host","row":{"name":"h3"}},)"
                  R"({"op":"insert","table":"Host","row":{"name":"h4"}})");
  test::run(io, view.changed.wait([&] { return view.database.hosts().size() == 4; }));
  test::run(io, view.changed.wait([&] { return view.changes == 2; }));
}

TEST_F(DatabaseTest, SetsRowsAsideThatDoNotParse) {
  View view(io, server.remote());
  sync(view);
  server.transact(R"({"op":"update","table":"Binding","where":[["name","==","vm1/a"]],)"
                  R"("row":{"mac":"not a MAC addr.17"}})");
  test::run(
      io, view.changed.wait([&] { return !view.database.contents().bindings.contains("vm1/a"); }));
  EXPECT_EQ(view.database.contents().problems.size(), 1u);
  EXPECT_TRUE(view.database.contents().bindings.contains("vm1/b"));
}

/// A relay or an older copy may know less than was seen before.
TEST_F(DatabaseTest, DoesNotGoBackToALowerGeneration) {
  View view(io, server.remote());
  sync(view);
  auto write = [&](const char* location, int generation) {
    server.transact(
        fmt::format(R"({{"op":"update","table":"Binding","where":[["name","==","vm1/a"]],)"
                    R"("row":{{"location":"{}","generation":{}}}}})",
                    location, generation));
  };
  auto binding = [&] { return view.database.contents().bindings.at("vm1/a"); };
  write("h2", 5);
  test::run(io, view.changed.wait([&] { return binding().generation == 5; }));
  write("h1", 3);
  test::run(io, view.changed.wait([&] { return !view.database.contents().problems.empty(); }));
  EXPECT_EQ(binding().generation, 5u);
  EXPECT_EQ(binding().location, "h2");
  write("h1", 6);
  test::run(io, view.changed.wait([&] { return binding().generation == 6; }));
  EXPECT_EQ(binding().location, "h1");
  EXPECT_TRUE(view.database.contents().problems.empty());
}

TEST_F(DatabaseTest, CommitsAMoveOfAllBindingsAtOnce) {
  View view(io, server.remote());
  sync(view);
  auto outcome = test::run(io, view.database.commit_move("vm1", "h1", "h2", 4));
  ASSERT_TRUE(outcome) << outcome.error().message;
  EXPECT_EQ(*outcome, Outcome::committed);
  EXPECT_EQ(truth(view), MoveTruth::moved);
  // The fence: the same once more, and a roll-back, are too late.
  EXPECT_EQ(*test::run(io, view.database.commit_move("vm1", "h1", "h2", 4)), Outcome::refused);
  EXPECT_EQ(*test::run(io, view.database.roll_back_move("vm1", "h1", 4)), Outcome::refused);
  EXPECT_EQ(truth(view), MoveTruth::moved);
}

TEST_F(DatabaseTest, RollsAMoveBack) {
  View view(io, server.remote());
  sync(view);
  EXPECT_EQ(*test::run(io, view.database.roll_back_move("vm1", "h1", 4)), Outcome::committed);
  EXPECT_EQ(truth(view), MoveTruth::rolled_back);
  EXPECT_EQ(*test::run(io, view.database.commit_move("vm1", "h1", "h2", 4)), Outcome::refused);
}

TEST_F(DatabaseTest, RefusesAMoveWithoutSense) {
  View view(io, server.remote());
  sync(view);
  EXPECT_FALSE(test::run(io, view.database.commit_move("vm9", "h1", "h2", 4)));
  EXPECT_FALSE(test::run(io, view.database.commit_move("vm1", "h1", "h1", 4)));
  EXPECT_EQ(truth(view), MoveTruth::untouched);
}

TEST_F(DatabaseTest, LetsOneOfACommitAndARollBackWin) {
  View source(io, server.remote()), other(io, server.remote());
  sync(source);
  sync(other);
  server.freeze();
  std::vector<Outcome> outcomes;
  test::Condition done(io);
  auto note = [&](asio::awaitable<policy::Result<Outcome>> write) -> asio::awaitable<void> {
    auto outcome = co_await std::move(write);
    outcomes.push_back(outcome ? *outcome : Outcome::failed);
    done.notify();
  };
  asio::co_spawn(io, note(source.database.commit_move("vm1", "h1", "h2", 4)), asio::detached);
  asio::co_spawn(io, note(other.database.roll_back_move("vm1", "h1", 4)), asio::detached);
  io.restart();
  io.poll();
  server.thaw();
  test::run(io, done.wait([&] { return outcomes.size() == 2; }));
  EXPECT_THAT(outcomes, testing::UnorderedElementsAre(Outcome::committed, Outcome::refused));
  EXPECT_NE(truth(source), MoveTruth::untouched);
  EXPECT_EQ(truth(source), truth(other));
}

TEST_F(DatabaseTest, ReadsTheTruthAfterAServerThatDied) {
  test::TemporaryDirectory directory;
  test::LossyProxy proxy(io, directory.path() / "proxy", server.socket());
  View view(io, "unix:" + (directory.path() / "proxy").string());
  sync(view);
  server.freeze();
  proxy.watch_for_request_with("h2", [&] { server.kill(); });
  auto outcome = test::run(io, view.database.commit_move("vm1", "h1", "h2", 4));
  ASSERT_TRUE(outcome) << outcome.error().message;
  EXPECT_EQ(*outcome, Outcome::unknown);
  server.start();
  ASSERT_TRUE(test::run(io, view.database.wait_synced(20s)));
  EXPECT_EQ(truth(view), MoveTruth::untouched);
  EXPECT_EQ(*test::run(io, view.database.roll_back_move("vm1", "h1", 4)), Outcome::committed);
}

TEST_F(DatabaseTest, ReadsTheTruthAfterALostAnswer) {
  test::TemporaryDirectory directory;
  test::LossyProxy proxy(io, directory.path() / "proxy", server.socket());
  View view(io, "unix:" + (directory.path() / "proxy").string());
  sync(view);
  proxy.lose_answer_with("h2", [] {});
  EXPECT_EQ(*test::run(io, view.database.commit_move("vm1", "h1", "h2", 4)), Outcome::unknown);
  ASSERT_TRUE(test::run(io, view.database.wait_synced(20s)));
  EXPECT_EQ(truth(view), MoveTruth::moved);
  EXPECT_EQ(*test::run(io, view.database.roll_back_move("vm1", "h1", 4)), Outcome::refused);
}

TEST_F(DatabaseTest, RepeatsAnIdempotentWriteUntilItIsIn) {
  test::TemporaryDirectory directory;
  test::LossyProxy proxy(io, directory.path() / "proxy", server.socket());
  View view(io, "unix:" + (directory.path() / "proxy").string());
  sync(view);
  proxy.lose_answer_with("destination", [] {});
  Task task;
  task.application = "vm1";
  task.arguments["destination"] = "h2";
  auto uuid = test::run(io, view.database.insert_task(task));
  ASSERT_TRUE(uuid) << uuid.error().message;
  EXPECT_EQ(view.database.tasks().size(), 1u);
  EXPECT_TRUE(view.database.tasks().contains(*uuid));
}

TEST_F(DatabaseTest, PublishesTheRowsOfAHost) {
  View view(io, server.remote());
  Host host;
  host.name = "h1";
  host.vteps = {asio::ip::make_address("192.0.2.1")};
  host.capacity = {{"memory_mib", 1024}};
  ASSERT_TRUE(test::run(io, view.database.publish_host(host)));
  EXPECT_EQ(view.database.hosts().at("h1").vteps, host.vteps);
  EXPECT_EQ(view.database.hosts().size(), 2u);

  Interface eth0, eth1;
  eth0.name = "eth0";
  eth0.address = asio::ip::make_address("192.0.2.1");
  eth0.state = LinkState::up;
  eth1 = eth0;
  eth1.name = "eth1";
  ASSERT_TRUE(test::run(io, view.database.publish_interfaces("h1", {eth0, eth1})));
  ASSERT_TRUE(test::run(io, view.database.publish_interfaces("h2", {eth0})));
  EXPECT_EQ(view.database.contents().interfaces.size(), 3u);
  // The controller's columns stay as they are, and what is no longer there goes.
  server.transact(
      R"({"op":"update","table":"Interface","where":[["host","==","h1"],["name","==","eth0"]],)"
      R"("row":{"cost":5}})");
  eth0.state = LinkState::down;
  ASSERT_TRUE(test::run(io, view.database.publish_interfaces("h1", {eth0})));
  ASSERT_EQ(view.database.contents().interfaces.size(), 2u);
  for (const auto& [uuid, row] : view.database.contents().interfaces) {
    if (row.host != "h1") continue;
    EXPECT_EQ(row.state, LinkState::down);
    EXPECT_EQ(row.cost, 5);
  }
}

TEST_F(DatabaseTest, AnAddressThatIsGoneKeepsWhatTheControllerSaysOfIt) {
  View view(io, server.remote());
  Interface eth0;
  eth0.name = "eth0";
  eth0.address = asio::ip::make_address("192.0.2.1");
  eth0.state = LinkState::up;
  Interface plain = eth0;
  plain.name = "eth1";
  ASSERT_TRUE(test::run(io, view.database.publish_interfaces("h1", {eth0, plain})));
  server.transact(
      R"({"op":"update","table":"Interface","where":[["name","==","eth0"]],"row":{"allowed":false}})");
  auto only_row = [&] {
    EXPECT_EQ(view.database.contents().interfaces.size(), 1u);
    return view.database.contents().interfaces.begin()->second;
  };
  test::run(io, view.changed.wait([&] {
    const auto& rows = view.database.contents().interfaces;
    return std::any_of(rows.begin(), rows.end(),
                       [](const auto& row) { return row.second.allowed == false; });
  }));
  ASSERT_TRUE(test::run(io, view.database.publish_interfaces("h1", {})));
  EXPECT_EQ(only_row().state, LinkState::absent);
  ASSERT_TRUE(test::run(io, view.database.publish_interfaces("h1", {eth0})));
  EXPECT_EQ(only_row().state, LinkState::up);
  EXPECT_EQ(only_row().allowed, false);
}

TEST_F(DatabaseTest, KeepsAHostAlive) {
  View view(io, server.remote());
  HostStatus status;
  status.host = "h1";
  status.state = HostState::ready;
  asio::cancellation_signal stop;
  bool stopped = false;
  asio::co_spawn(
      io,
      [&]() -> asio::awaitable<void> {
        co_await view.database.keep_alive([&] { return status; }, 20ms);
        stopped = true;
        view.changed.notify();
      },
      asio::bind_cancellation_slot(stop.slot(), asio::detached));
  auto last_seen = [&] {
    auto found = view.database.host_status().find("h1");
    return found == view.database.host_status().end() ? WallTime() : found->second.last_seen;
  };
  test::run(io, view.changed.wait([&] { return last_seen() > WallTime(); }));
  auto before = last_seen();
  test::run(io, view.changed.wait([&] { return last_seen() > before; }));
  // Ephemeral: gone with the server, and told again when it is back.
  server.kill();
  server.start();
  before = wall_clock_now();
  test::run(io, view.changed.wait([&] { return last_seen() >= before; }));
  stop.emit(asio::cancellation_type::terminal);
  test::run(io, view.changed.wait([&] { return stopped; }));
}

TEST_F(DatabaseTest, WritesTasksAndTheirStatus) {
  View view(io, server.remote());
  Task task;
  task.application = "vm1";
  EXPECT_EQ(test::run(io, view.database.insert_task(task)).error().code, errc::invalid_argument);
  task.arguments["destination"] = "h2";
  auto uuid = test::run(io, view.database.insert_task(task));
  ASSERT_TRUE(uuid);
  TaskStatus status;
  status.task = *uuid;
  status.host = "h1";
  status.application = "vm1";
  ASSERT_TRUE(test::run(io, view.database.write_task_status(status)));
  status.state = TaskState::succeeded;
  status.finished = wall_clock_now();
  status.figures = {{"stop_us", 900}};
  ASSERT_TRUE(test::run(io, view.database.write_task_status(status)));
  ASSERT_EQ(view.database.task_status().size(), 1u);
  status.uuid = view.database.task_status().at(*uuid).uuid;
  EXPECT_EQ(view.database.task_status().at(*uuid), status);

  ASSERT_TRUE(test::run(io, view.database.request_cancel(*uuid)));
  ASSERT_TRUE(test::run(io, view.database.resolve_task(*uuid, Resolution::source)));
  EXPECT_TRUE(view.database.tasks().at(*uuid).cancel);
  EXPECT_EQ(view.database.tasks().at(*uuid).resolution, Resolution::source);
  ASSERT_TRUE(test::run(io, view.database.remove_task(*uuid)));
  EXPECT_TRUE(view.database.tasks().empty());
  EXPECT_TRUE(view.database.task_status().empty());
  EXPECT_EQ(test::run(io, view.database.request_cancel(*uuid)).error().code,
            errc::no_such_file_or_directory);
}

TEST_F(DatabaseTest, RemovesWhatItsHostWroteAboutTasksThatAreGone) {
  View view(io, server.remote());
  auto write = [&](const std::string& host, bool ended) {
    TaskStatus status;
    status.task = boost::uuids::random_generator()();
    status.host = host;
    status.application = "vm1";
    if (ended) status.finished = wall_clock_now();
    ASSERT_TRUE(test::run(io, view.database.write_task_status(status)));
  };
  write("h1", true);
  write("h1", false);
  write("h2", true);
  ASSERT_TRUE(test::run(io, view.database.remove_abandoned_status("h1")));
  ASSERT_EQ(view.database.task_status().size(), 2u);
  EXPECT_TRUE(abandoned_status(view.database.contents(), "h1").empty());
  EXPECT_EQ(abandoned_status(view.database.contents(), "h2").size(), 1u);
}

TEST_F(DatabaseTest, WritesWhatTheCommandLineAsks) {
  View view(io, server.remote());
  Policy policy;
  policy.name = "gold";
  policy.downtime_limit = 50ms;
  ASSERT_TRUE(test::run(io, view.database.put_policy(policy)));
  Network network;
  network.name = "red";
  network.vni = 200;
  ASSERT_TRUE(test::run(io, view.database.put_network(network)));
  network.mtu = 1400;
  ASSERT_TRUE(test::run(io, view.database.put_network(network)));
  EXPECT_EQ(view.database.networks().at("red").mtu, 1400);
  Application application;
  application.name = "vm2";
  application.policy = "gold";
  ASSERT_TRUE(test::run(io, view.database.put_application(application)));
  Binding binding;
  binding.name = "vm2";
  binding.application = "vm2";
  binding.network = "red";
  binding.mac = {{0x52, 0x54, 0, 0, 0, 9}};
  binding.location = "h1";
  ASSERT_TRUE(test::run(io, view.database.put_binding(binding)));
  // A second put does not touch what the agents own.
  binding.location = "h2";
  binding.generation = 9;
  binding.traffic_class = "bulk";
  ASSERT_TRUE(test::run(io, view.database.put_binding(binding)));
  const auto& written = view.database.contents().bindings.at("vm2");
  EXPECT_EQ(written.location, "h1");
  EXPECT_EQ(written.generation, 0u);
  EXPECT_EQ(written.traffic_class, "bulk");

  auto busy = test::run(io, view.database.remove_policy("gold"));
  EXPECT_EQ(busy.error().code, errc::device_or_resource_busy);
  EXPECT_EQ(test::run(io, view.database.remove_network("red")).error().code,
            errc::device_or_resource_busy);
  EXPECT_EQ(test::run(io, view.database.remove_application("vm2")).error().code,
            errc::device_or_resource_busy);
  EXPECT_TRUE(test::run(io, view.database.remove_binding("vm2")));
  EXPECT_TRUE(test::run(io, view.database.remove_application("vm2")));
  EXPECT_TRUE(test::run(io, view.database.remove_policy("gold")));
  EXPECT_TRUE(test::run(io, view.database.remove_network("red")));
  EXPECT_EQ(test::run(io, view.database.remove_network("red")).error().code,
            errc::no_such_file_or_directory);
}

TEST_F(DatabaseTest, GivesUpInTime) {
  auto options = View::options("unix:/nowhere/homeport.sock");
  options.operation_timeout = 100ms;
  ControlDatabase database(io.get_executor(), options);
  database.start();
  EXPECT_EQ(test::run(io, database.publish_host({})).error().code, errc::timed_out);
}

}  // namespace
}  // namespace homeport::agent
