// What a session says about transactions that are interrupted, and about servers that are slow or
// gone.
#include "overlay/ovsdb/session.h"

#include "tests/unit/overlay/ovsdb/lossy_proxy.h"
#include "tests/unit/overlay/ovsdb/observer.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/json/array.hpp>
#include <boost/system/system_error.hpp>
#include <boost/uuid/random_generator.hpp>

#include <chrono>
#include <thread>

namespace homeport::overlay::ovsdb {
namespace {

namespace asio = boost::asio;
namespace json = boost::json;
namespace errc = boost::system::errc;
using namespace std::chrono_literals;
using testing::HasSubstr;

class InterruptionTest : public testing::Test {
 protected:
  asio::io_context io;
  test::TestServer server;
};

TEST_F(InterruptionTest, DoesNotKnowTheOutcomeWhenTheServerDiesFirst) {
  test::TemporaryDirectory directory;
  test::LossyProxy proxy(io, directory.path() / "proxy", server.socket());
  Observer observer(io, "unix:" + (directory.path() / "proxy").string());
  auto uuid = test::run(io, make_storage(observer, "a", "before"));
  server.freeze();
  proxy.watch_for_request_with("after", [&] { server.kill(); });
  auto commit = [&]() -> asio::awaitable<policy::Result<TransactResult>> {
    auto answer = co_await observer.session.transact(replace(uuid, "before", "after"));
    EXPECT_FALSE(observer.session.synced());
    co_return answer;
  };
  auto result = test::run(io, commit());
  ASSERT_TRUE(result) << result.error().message;
  EXPECT_EQ(result->outcome, Outcome::unknown);
  auto offline = test::run(io, observer.session.transact(replace(uuid, "before", "after")));
  ASSERT_FALSE(offline);
  EXPECT_EQ(offline.error().code, errc::not_connected);

  server.start();
  ASSERT_TRUE(test::run(io, observer.session.wait_synced(20s)));
  auto address = observer.rows["Storage"].at(uuid).at("address");
  EXPECT_EQ(address, json::value("before"));
  auto again = test::run(io, observer.session.transact(replace(uuid, "before", "after")));
  EXPECT_EQ(again->outcome, Outcome::committed);
}

TEST_F(InterruptionTest, DoesNotKnowTheOutcomeWhenTheAnswerIsLost) {
  test::TemporaryDirectory directory;
  test::LossyProxy proxy(io, directory.path() / "proxy", server.socket());
  Observer observer(io, "unix:" + (directory.path() / "proxy").string());
  auto uuid = test::run(io, make_storage(observer, "a", "before"));
  bool lost = false;
  proxy.lose_answer_with("after", [&] { lost = true; });
  auto result = test::run(io, observer.session.transact(replace(uuid, "before", "after")));
  ASSERT_TRUE(result);
  EXPECT_TRUE(lost);
  EXPECT_EQ(result->outcome, Outcome::unknown);
  ASSERT_TRUE(test::run(io, observer.session.wait_synced(20s)));
  EXPECT_EQ(observer.rows["Storage"].at(uuid).at("address"), json::value("after"));
}

TEST_F(InterruptionTest, EndsWaitsThatAreCancelled) {
  Observer observer(io, server.remote());
  auto uuid = test::run(io, make_storage(observer, "a", "before"));
  server.freeze();
  asio::cancellation_signal cancel;
  std::optional<policy::Error> error;
  asio::co_spawn(
      io,
      [&]() -> asio::awaitable<void> {
        auto result = co_await observer.session.transact(replace(uuid, "before", "after"));
        if (!result) error = result.error();
        observer.changed.notify();
      },
      asio::bind_cancellation_slot(cancel.slot(), asio::detached));
  io.restart();
  io.poll();
  cancel.emit(asio::cancellation_type::terminal);
  test::run(io, observer.changed.wait([&] { return error.has_value(); }));
  EXPECT_TRUE(error->cancelled());
  server.thaw();
  // It was on its way all the same.
  test::run(io, observer.changed.wait([&] {
    return observer.rows["Storage"].at(uuid).at("address") == json::value("after");
  }));
}

TEST_F(InterruptionTest, DoesNotKnowTheOutcomeWhenItIsClosedFirst) {
  auto observer = std::make_unique<Observer>(io, server.remote());
  auto uuid = test::run(io, make_storage(*observer, "a", "before"));
  server.freeze();
  std::optional<Outcome> outcome;
  test::Condition done(io);
  asio::co_spawn(
      io,
      [&]() -> asio::awaitable<void> {
        auto result = co_await observer->session.transact(replace(uuid, "before", "after"));
        if (result) outcome = result->outcome;
        done.notify();
      },
      asio::detached);
  io.restart();
  io.poll();
  observer.reset();
  test::run(io, done.wait([&] { return outcome.has_value(); }));
  EXPECT_EQ(outcome, Outcome::unknown);
}

TEST_F(InterruptionTest, DoesNotDelayACommitByALargeUpdate) {
  SessionOptions options;
  options.remotes = server.remote();
  options.slice_rows = 10;
  Observer observer(io, options);
  auto uuid = test::run(io, make_storage(observer, "a", "before"));

  constexpr std::size_t kRows = 5000;
  Observer writer(io, server.remote());
  test::run(io, writer.changed.wait([&] { return writer.session.synced(); }));
  Transaction many;
  for (std::size_t i = 0; i < kRows; ++i) many.inserts.push_back(storage(fmt::format("s{}", i)));
  std::size_t rows_at_outcome = 0;
  bool asked = false;
  observer.on_slice = [&] {
    // Until the outcome is there each slice takes long: ten seconds all of them, which are more
    // than a busy server needs to answer.
    const auto slow = std::chrono::steady_clock::now() + 20ms;
    while (asked && rows_at_outcome == 0 && std::chrono::steady_clock::now() < slow) {
      std::this_thread::yield();
    }
    if (!observer.more || asked) return;
    asked = true;
    asio::co_spawn(
        io,
        [&]() -> asio::awaitable<void> {
          auto result = co_await observer.session.transact(replace(uuid, "before", "after"));
          EXPECT_EQ(result->outcome, Outcome::committed);
          EXPECT_EQ(observer.rows["Storage"].at(uuid).at("address"), json::value("after"));
          rows_at_outcome = observer.rows["Storage"].size();
        },
        asio::detached);
  };
  auto written = test::run(io, writer.session.transact(std::move(many)));
  ASSERT_EQ(written->outcome, Outcome::committed);
  test::run(io, observer.changed.wait([&] {
    return rows_at_outcome > 0 && observer.rows["Storage"].size() == kRows + 1;
  }));
  EXPECT_LT(rows_at_outcome, kRows);
}

TEST_F(InterruptionTest, TellsWhyThereIsNoConnection) {
  Observer observer(io, server.remote());
  test::run(io, observer.changed.wait([&] { return observer.session.synced(); }));
  EXPECT_EQ(observer.session.problem(), "");
  server.kill();
  test::run(io, observer.changed.wait([&] { return !observer.session.synced(); }));
  EXPECT_THAT(observer.session.problem(), HasSubstr(server.remote() + ": connection closed"));
  server.start();
  test::run(io, observer.changed.wait([&] { return observer.session.synced(); }));
  EXPECT_EQ(observer.session.problem(), "");
}

TEST_F(InterruptionTest, WaitsForAServerOnlySoLong) {
  Observer observer(io, "unix:/nowhere/homeport.sock");
  auto result = test::run(io, observer.session.wait_synced(2s));
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, errc::timed_out);
  EXPECT_THAT(result.error().message, HasSubstr("/nowhere/homeport.sock"));
  EXPECT_THAT(result.error().message, HasSubstr("connection attempt failed (No such file"));
}

}  // namespace
}  // namespace homeport::overlay::ovsdb
