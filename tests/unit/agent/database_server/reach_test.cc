// Every way in which an agent and the command line reach the control database.
#include "agent/control/database.h"
#include "agent/database_server/db_init.h"
#include "tests/unit/agent/cli/run_command.h"
#include "tests/unit/agent/database_server/server_fixture.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <boost/json.hpp>

#include <fstream>

namespace homeport::agent {
namespace {

namespace asio = boost::asio;
namespace fs = std::filesystem;
using namespace std::chrono_literals;
using testing::HasSubstr;

class ReachTest : public testing::Test {
 protected:
  ReachTest() {
    test::take_own_loopback();
    options_.directory = directory_.path() / "db";
    options_.schema = HOMEPORT_SCHEMA;
    options_.tls = DatabaseServerOptions::Tls{test::certificates().issue("database"), "::", 6650};
    auto made = init_database(options_);
    if (!made) throw std::runtime_error(made.error().message);
    local_ = made->unix_remote;
    // TCP is opened by who wants it.
    test::must({"ovs-appctl", "-t", options_.directory / "ovsdb-server.ctl",
                "ovsdb-server/add-remote", "ptcp:6640:[::]"});
  }
  ~ReachTest() override {
    if (relay_ > 0) ::kill(relay_, SIGKILL);
    EXPECT_TRUE(stop_database(options_.directory));
  }

  void start_relay() {
    auto file = [&](const char* name) { return (directory_.path() / name).string(); };
    test::must({"ovsdb-server", "--detach", "--no-self-confinement", "-vsyslog:off",
                "-vconsole:off", "--log-file=" + file("relay.log"),
                "--pidfile=" + file("relay.pid"), "--unixctl=" + file("relay.ctl"),
                "--remote=punix:" + file("relay.sock"), "relay:Homeport:" + local_});
    std::ifstream(file("relay.pid")) >> relay_;
  }

  static DatabaseOptions reach(const std::string& remotes) {
    DatabaseOptions options;
    options.session.remotes = remotes;
    options.session.tls = test::certificates().issue("a");
    options.operation_timeout = 10s;
    return options;
  }

  /// An agent gets its own row in and out again, and the command line reads it.
  void try_way(const std::string& remotes) {
    SCOPED_TRACE(remotes);
    asio::io_context io;
    ControlDatabase agent(io.get_executor(), reach(remotes));
    agent.start();
    Host host;
    host.name = "a";
    host.version = fmt::format("version {}", ++tried_);
    auto published = test::run(io, agent.publish_host(host));
    ASSERT_TRUE(published) << published.error().message;
    EXPECT_EQ(agent.contents().hosts.at("a").version, host.version);

    const auto& files = test::certificates().issue("a");
    const auto listed =
        test::run_command({"--db", remotes, "--ca", files.ca_certificate.string(), "--certificate",
                           files.certificate.string(), "--private-key", files.private_key.string(),
                           "network", "list", "--json"},
                          false);
    EXPECT_EQ(listed.code, 0) << listed.err;
    EXPECT_THAT(listed.out, HasSubstr("[]"));
  }

  test::TemporaryDirectory directory_;
  DatabaseServerOptions options_;
  std::string local_;
  pid_t relay_ = 0;
  int tried_ = 0;
};

TEST_F(ReachTest, WorksInEveryWay) {
  try_way(local_);
  try_way("tcp:127.0.0.1:6640");
  try_way("tcp:[::1]:6640");
  try_way("ssl:127.0.0.1:6650");
  try_way("ssl:[::1]:6650");
  try_way("ssl:127.0.0.1:1,tcp:[::1]:1,ssl:127.0.0.1:6650");  // nobody is at the first two
  start_relay();
  try_way("unix:" + (directory_.path() / "relay.sock").string());
}

TEST_F(ReachTest, GivesAHostsCommandLineNoMoreRightsThanTheHost) {
  const auto& files = test::certificates().issue("a");
  const auto refused =
      test::run_command({"--db", "ssl:127.0.0.1:6650", "--ca", files.ca_certificate.string(),
                         "--certificate", files.certificate.string(), "--private-key",
                         files.private_key.string(), "network", "add", "blue", "--vni", "100"},
                        false);
  EXPECT_EQ(refused.code, 1);
  EXPECT_THAT(refused.err, HasSubstr("permission error"));
  EXPECT_THAT(refused.err, HasSubstr("run this on the database's machine"));
}

TEST_F(ReachTest, GoesOnThroughARelayThatLosesItsServer) {
  start_relay();
  asio::io_context io;
  DatabaseOptions through = reach("unix:" + (directory_.path() / "relay.sock").string());
  through.operation_timeout = 30s;  // the relay looks for its server every few seconds
  ControlDatabase agent(io.get_executor(), through);
  agent.start();
  ASSERT_TRUE(test::run(io, agent.wait_synced(10s)));
  ASSERT_TRUE(*stop_database(options_.directory));
  ASSERT_TRUE(init_database(options_));
  Host host;
  host.name = "a";
  EXPECT_TRUE(test::run(io, agent.publish_host(host)));
}

}  // namespace
}  // namespace homeport::agent
