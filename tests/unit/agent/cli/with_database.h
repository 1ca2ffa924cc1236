// The commands against a real ovsdb-server, in which three hosts have reported.
#pragma once

#include "agent/cli/database_client.h"
#include "agent/database_server/db_init.h"
#include "tests/unit/agent/cli/run_command.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace homeport::agent::test {

class WithDatabase : public ::testing::Test {
 protected:
  void SetUp() override {
    char directory[] = "/tmp/homeport-cli-XXXXXX";
    ASSERT_NE(mkdtemp(directory), nullptr);
    directory_ = directory;
    Ran made = run_command({"db", "init", "--dir", directory_, "--json"});
    ASSERT_EQ(made.code, 0) << made.err;
    EXPECT_EQ(made.json().at("created"), true);
    global_.database = std::string(made.json().at("unix_remote").as_string());
    for (const char* host : {"hostA", "hostB", "hostC"}) publish(host, wall_clock_now());
  }

  void TearDown() override {
    EXPECT_TRUE(stop_database(directory_));
    std::filesystem::remove_all(directory_);
  }

  Ran homeport(const std::string& line) {
    std::vector<std::string> arguments = words(line);
    arguments.insert(arguments.begin(), {"--db", global_.database});
    return run_command(arguments);
  }

  /// Runs `line`, which must succeed.
  Ran checked(const std::string& line) {
    Ran ran = homeport(line);
    EXPECT_EQ(ran.code, 0) << line << ": " << ran.err;
    return ran;
  }

  /// Runs `line`, which must fail with status 1 and say `why`.
  void refused(const std::string& line, const std::string& why) {
    Ran ran = homeport(line);
    EXPECT_EQ(ran.code, 1) << line << ": " << ran.out;
    EXPECT_THAT(ran.err, ::testing::HasSubstr(why)) << line;
  }

  void on_database(DatabaseCommand command) {
    auto done = run_with_database(global_, std::move(command));
    ASSERT_TRUE(done) << done.error().message;
  }

  void publish(const std::string& host, WallTime last_seen, HostState state = HostState::ready) {
    on_database([&](DatabaseClient& client) -> boost::asio::awaitable<policy::Result<int>> {
      Host row;
      row.name = host;
      auto done = co_await client.database().publish_host(row);
      if (!done) co_return done.error();
      HostStatus status;
      status.host = host;
      status.started = status.last_seen = last_seen;
      status.state = state;
      done = co_await client.database().publish_status(status);
      if (!done) co_return done.error();
      co_return 0;
    });
  }

  std::string directory_;
  GlobalOptions global_;
};

}  // namespace homeport::agent::test
