// Rows that are read once, beside those that are monitored.
#include "overlay/ovsdb/session.h"

#include "overlay/pause.h"
#include "tests/unit/overlay/ovsdb/observer.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/uuid/uuid_io.hpp>

#include <chrono>
#include <memory>
#include <optional>
#include <utility>

namespace homeport::overlay::ovsdb {
namespace {

namespace asio = boost::asio;
namespace json = boost::json;
namespace errc = boost::system::errc;
using namespace std::chrono_literals;

class ReadTest : public testing::Test {
 protected:
  ReadTest() {
    server.transact(R"({"op":"insert","table":"Storage","row":{"name":"a","kind":"nfs"}},)"
                    R"({"op":"insert","table":"Storage","row":{"name":"b","kind":"nfs",)"
                    R"("options":["map",[["k","v"]]]}},)"
                    R"({"op":"insert","table":"Binding","row":{"name":"vm1","application":"vm1",)"
                    R"("network":"blue","mac":"52:54:00:00:00:01","generation":7}})");
  }

  /// A session that monitors nothing.
  SessionOptions nothing() const {
    SessionOptions options;
    options.remotes = server.remote();
    options.tables = {"Storage", "Binding"};
    options.conditions = {{"Storage", {}}, {"Binding", {}}};
    return options;
  }
  static Query named(const std::string& table, const std::string& name) {
    return {table, {{"name", "==", json::value(name)}}};
  }
  policy::Result<Answers> read(Observer& observer, ReadRequest request) {
    return test::run(io, observer.session.read(std::move(request)));
  }

  asio::io_context io;
  test::TestServer server;
};

TEST_F(ReadTest, RowsComeAsMonitoredOnesDo) {
  Observer read_only(io, nothing());
  const auto answers = read(read_only, {{named("Storage", "b"), named("Storage", "x")}, {}});
  ASSERT_TRUE(answers) << answers.error().message;
  ASSERT_EQ(answers->size(), 2u);
  ASSERT_EQ(answers->at(0).size(), 1u);
  EXPECT_TRUE(answers->at(1).empty());
  EXPECT_TRUE(read_only.rows["Storage"].empty()) << "nothing is monitored";

  Observer monitor(io, server.remote());
  test::run(io, monitor.changed.wait([&] { return monitor.session.synced(); }));
  const Row& row = answers->at(0)[0];
  EXPECT_EQ(row.columns, monitor.rows["Storage"].at(row.uuid));

  const Query by_uuid{"Storage",
                      {{"_uuid", "==", json::array{"uuid", boost::uuids::to_string(row.uuid)}}}};
  const auto again = read(read_only, {{by_uuid}, {}});
  ASSERT_TRUE(again) << again.error().message;
  ASSERT_EQ(again->at(0).size(), 1u);
  EXPECT_EQ(again->at(0)[0].columns, row.columns);
}

TEST_F(ReadTest, ServerThatKnowsLessThanHasBeenSeenIsRefused) {
  Observer observer(io, nothing());
  const auto bindings = read(observer, {{named("Binding", "vm1")}, {}});
  ASSERT_TRUE(bindings) << bindings.error().message;
  ReadRequest request{{named("Storage", "a")},
                      {{"Binding", bindings->at(0).at(0).uuid, "generation", 7}}};
  const auto good = read(observer, request);
  ASSERT_TRUE(good) << good.error().message;
  EXPECT_EQ(good->at(0).size(), 1u);
  request.known[0].least = 8;
  const auto behind = read(observer, request);
  ASSERT_FALSE(behind);
  EXPECT_EQ(behind.error().code, errc::resource_unavailable_try_again);
  server.transact(R"({"op":"update","table":"Binding","where":[],"row":{"generation":9}})");
  const auto later = read(observer, request);
  ASSERT_TRUE(later) << later.error().message;
  EXPECT_EQ(later->at(0).size(), 1u);
}

TEST_F(ReadTest, WhatTheSchemaDoesNotHaveIsAnError) {
  Observer observer(io, nothing());
  const auto answers = read(observer, {{named("Unheard_Of", "a")}, {}});
  ASSERT_FALSE(answers);
  EXPECT_EQ(answers.error().code, errc::invalid_argument);
  EXPECT_NE(answers.error().message.find("Unheard_Of"), std::string::npos);
  EXPECT_TRUE(read(observer, {{named("Storage", "a")}, {}})) << "the next one is answered";
}

TEST_F(ReadTest, GoesOnThroughAnInterruption) {
  Observer observer(io, nothing());
  ASSERT_TRUE(read(observer, {{named("Storage", "a")}, {}}));
  server.freeze();
  std::optional<policy::Result<Answers>> answers;
  auto ask = [&]() -> asio::awaitable<void> {
    ReadRequest request{{named("Storage", "b")}, {}};
    answers = co_await observer.session.read(std::move(request));
    observer.changed.notify();
  };
  asio::co_spawn(io, ask, asio::detached);
  server.kill();
  server.start();
  test::run(io, observer.changed.wait([&] { return answers.has_value(); }));
  ASSERT_TRUE(*answers) << answers->error().message;
  EXPECT_EQ((*answers)->at(0).size(), 1u);
}

TEST_F(ReadTest, EndsWithTheSession) {
  auto observer = std::make_unique<Observer>(io, nothing());
  server.freeze();
  std::optional<policy::Result<Answers>> answers;
  auto ask = [&]() -> asio::awaitable<void> {
    ReadRequest request{{named("Storage", "b")}, {}};
    answers = co_await observer->session.read(std::move(request));
  };
  asio::co_spawn(io, ask, asio::detached);
  io.poll();
  observer.reset();
  io.restart();
  io.run();
  ASSERT_TRUE(answers);
  ASSERT_FALSE(*answers);
  EXPECT_TRUE(answers->error().cancelled());
}

/// A connection that nobody uses costs the server something all the same.
TEST_F(ReadTest, ConnectionIsClosedWhenNobodyAsks) {
  const auto connections = [&] {
    return test::run_command({"ovs-appctl", "-t", server.control().string(), "memory/show"}).text;
  };
  SessionOptions options = nothing();
  options.reader_idle = 100ms;
  Observer observer(io, options);
  ASSERT_TRUE(read(observer, {{named("Storage", "a")}, {}}));
  auto closed = [&]() -> asio::awaitable<void> {
    while (connections().find("sessions:1") == std::string::npos) co_await overlay::pause(5ms);
  };
  test::run(io, closed());
  EXPECT_TRUE(read(observer, {{named("Storage", "a")}, {}})) << "and opened again";
}

}  // namespace
}  // namespace homeport::overlay::ovsdb
