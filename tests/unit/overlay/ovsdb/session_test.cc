#include "overlay/ovsdb/session.h"

#include "tests/unit/overlay/ovsdb/lossy_proxy.h"
#include "tests/unit/overlay/ovsdb/test_server.h"

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
#include <csignal>
#include <map>

namespace homeport::overlay::ovsdb {
namespace {

namespace asio = boost::asio;
namespace json = boost::json;
namespace errc = boost::system::errc;
using namespace std::chrono_literals;
using testing::HasSubstr;

/// A session and what it has reported.
struct Observer {
  Observer(asio::io_context& io, SessionOptions options)
      : changed(io), session(io.get_executor(), std::move(options)) {
    session.set_on_changes([this](std::vector<RowChange> changes, bool more_follows) {
      for (auto& change : changes) {
        if (change.row) {
          rows[change.table].insert_or_assign(change.uuid, change.row->columns);
        } else {
          rows[change.table].erase(change.uuid);
        }
      }
      ++slices;
      more = more_follows;
      if (on_slice) on_slice();
      changed.notify();
    });
    session.set_on_state([this](bool synced) {
      states.push_back(synced);
      changed.notify();
    });
    session.start();
  }
  Observer(asio::io_context& io, const std::string& remote)
      : Observer(io, SessionOptions{.remotes = remote, .tls = {}, .conditions = {}, .tables = {}}) {
  }

  /// The row of that name, or nullptr.
  const json::object* named(const std::string& table, std::string_view name, Uuid* uuid = nullptr) {
    for (const auto& [id, columns] : rows[table]) {
      if (columns.at("name") == json::value(name)) {
        if (uuid) *uuid = id;
        return &columns;
      }
    }
    return nullptr;
  }

  std::map<std::string, std::map<Uuid, json::object>> rows;
  std::vector<bool> states;
  std::size_t slices = 0;
  bool more = false;
  std::function<void()> on_slice;
  test::Condition changed;
  Session session;
};

Insert storage(const std::string& name, const std::string& address = "somewhere") {
  return {"Storage", {{"name", name}, {"kind", "nfs"}, {"address", address}}, std::nullopt};
}

Transaction insert(Insert row) {
  Transaction transaction;
  transaction.inserts.push_back(std::move(row));
  return transaction;
}

/// address: before -> after, provided it is still `before`.
Transaction replace(const Uuid& uuid, const std::string& before, const std::string& after) {
  Transaction transaction;
  transaction.expectations.push_back({"Storage", uuid, "address", json::value(before)});
  transaction.updates.push_back({"Storage", uuid, {{"address", after}}});
  return transaction;
}

class SessionTest : public testing::Test {
 protected:
  asio::io_context io;
  test::TestServer server;
};

asio::awaitable<Uuid> make_storage(Observer& observer, std::string name, std::string address) {
  auto synced = co_await observer.session.wait_synced(10s);
  EXPECT_TRUE(synced);
  auto result = co_await observer.session.transact(insert(storage(name, address)));
  EXPECT_EQ(result->outcome, Outcome::committed);
  co_return result->inserted.at(0);
}

TEST_F(SessionTest, DeliversWhatIsThereAndWhatChanges) {
  server.transact(R"({"op":"insert","table":"Storage","row":{"name":"a","kind":"nfs"}})");
  Observer observer(io, server.remote());
  test::run(io, observer.changed.wait([&] { return observer.session.synced(); }));
  EXPECT_EQ(observer.states, std::vector<bool>{true});
  ASSERT_NE(observer.named("Storage", "a"), nullptr);
  EXPECT_EQ(observer.named("Storage", "a")->at("kind"), json::value("nfs"));

  server.transact(R"({"op":"update","table":"Storage","where":[["name","==","a"]],)"
                  R"("row":{"address":"elsewhere","options":["map",[["a","b"]]]}})");
  test::run(io, observer.changed.wait([&] {
    return observer.named("Storage", "a")->at("address") == json::value("elsewhere");
  }));
  json::value options = json::array{"map", json::array{json::array{"a", "b"}}};
  EXPECT_EQ(observer.named("Storage", "a")->at("options"), options);

  server.transact(R"({"op":"delete","table":"Storage","where":[]})");
  test::run(io, observer.changed.wait([&] { return !observer.named("Storage", "a"); }));
}

TEST_F(SessionTest, MonitorsOnlyWhatFitsTheCondition) {
  server.transact(R"({"op":"insert","table":"Storage","row":{"name":"a","kind":"nfs"}},)"
                  R"({"op":"insert","table":"Storage","row":{"name":"b","kind":"iscsi"}})");
  SessionOptions options;
  options.remotes = server.remote();
  options.conditions["Storage"] = {{"kind", "==", "iscsi"}};
  Observer observer(io, options);
  test::run(io, observer.changed.wait([&] { return observer.session.synced(); }));
  EXPECT_EQ(observer.named("Storage", "a"), nullptr);
  EXPECT_NE(observer.named("Storage", "b"), nullptr);
}

TEST_F(SessionTest, RefusesOptionsThatCannotWork) {
  SessionOptions options;
  EXPECT_THROW(Session(io.get_executor(), options), boost::system::system_error);
  options.remotes = server.remote();
  options.tables = {"Nothing"};
  EXPECT_THROW(Session(io.get_executor(), options), boost::system::system_error);
  options.tables = {};
  options.conditions["Storage"] = {{"colour", "==", "red"}};
  EXPECT_THROW(Session(io.get_executor(), options), boost::system::system_error);
  options.conditions["Storage"] = {{"kind", "~", "red"}};
  EXPECT_THROW(Session(io.get_executor(), options), boost::system::system_error);
  options.conditions = {};
  options.remotes = "ssl:127.0.0.1:6650";
  EXPECT_THROW(Session(io.get_executor(), options), boost::system::system_error);
  options.tls = TlsFiles{"/nowhere/key.pem", "/nowhere/cert.pem", "/nowhere/ca.pem"};
  EXPECT_THROW(Session(io.get_executor(), options), boost::system::system_error);
}

TEST_F(SessionTest, LeavesTheProcessItsSignals) {
  Observer observer(io, server.remote());
  test::run(io, observer.changed.wait([&] { return observer.session.synced(); }));
  for (int number : {SIGTERM, SIGINT, SIGHUP, SIGALRM}) {
    struct sigaction action {};
    sigaction(number, nullptr, &action);
    EXPECT_EQ(action.sa_handler, SIG_DFL) << "signal " << number;
  }
}

TEST_F(SessionTest, DeliversTheRowsOfATransactionBeforeItsOutcome) {
  Observer observer(io, server.remote());
  auto uuid = test::run(io, make_storage(observer, "a", "before"));
  EXPECT_EQ(observer.rows["Storage"].at(uuid).at("address"), json::value("before"));
  auto result = test::run(io, observer.session.transact(replace(uuid, "before", "after")));
  ASSERT_TRUE(result) << result.error().message;
  EXPECT_EQ(result->outcome, Outcome::committed);
  EXPECT_EQ(observer.rows["Storage"].at(uuid).at("address"), json::value("after"));
}

TEST_F(SessionTest, RefusesWhenAnExpectationDoesNotHold) {
  Observer observer(io, server.remote());
  auto uuid = test::run(io, make_storage(observer, "a", "before"));
  auto result = test::run(io, observer.session.transact(replace(uuid, "otherwise", "after")));
  ASSERT_TRUE(result);
  EXPECT_EQ(result->outcome, Outcome::refused);
  EXPECT_THAT(result->message, HasSubstr("before"));
  result = test::run(io, observer.session.transact(
                             replace(boost::uuids::random_generator()(), "before", "after")));
  ASSERT_TRUE(result);
  EXPECT_EQ(result->outcome, Outcome::refused);
  EXPECT_EQ(observer.rows["Storage"].at(uuid).at("address"), json::value("before"));
}

TEST_F(SessionTest, WritesOnceWhenTwoCommitAtTheSameTime) {
  Observer one(io, server.remote()), other(io, server.remote());
  auto uuid = test::run(io, make_storage(one, "a", "before"));
  test::run(io, other.changed.wait([&] { return other.rows["Storage"].contains(uuid); }));
  // Frozen, the server has both before it answers either: both are based on the same contents.
  server.freeze();
  std::vector<Outcome> outcomes;
  test::Condition done(io);
  auto commit = [&](Observer& observer, std::string value) -> asio::awaitable<void> {
    auto result = co_await observer.session.transact(replace(uuid, "before", value));
    outcomes.push_back(result ? result->outcome : Outcome::failed);
    done.notify();
  };
  asio::co_spawn(io, commit(one, "one"), asio::detached);
  asio::co_spawn(io, commit(other, "other"), asio::detached);
  io.restart();
  io.poll();
  server.thaw();
  test::run(io, done.wait([&] { return outcomes.size() == 2; }));
  EXPECT_EQ(std::count(outcomes.begin(), outcomes.end(), Outcome::committed), 1);
  EXPECT_EQ(std::count(outcomes.begin(), outcomes.end(), Outcome::failed), 0);
  // Whoever lost has been told the truth before its outcome.
  EXPECT_EQ(one.rows["Storage"].at(uuid), other.rows["Storage"].at(uuid));
}

TEST_F(SessionTest, TellsWhyTheServerRejects) {
  Observer observer(io, server.remote());
  test::run(io, make_storage(observer, "a", ""));
  auto result = test::run(io, observer.session.transact(insert(storage("a"))));
  ASSERT_TRUE(result);
  EXPECT_EQ(result->outcome, Outcome::failed);
  EXPECT_THAT(result->message, HasSubstr("constraint violation"));
}

TEST_F(SessionTest, RejectsWhatTheSchemaDoesNotHave) {
  Observer observer(io, server.remote());
  auto uuid = test::run(io, make_storage(observer, "a", ""));
  std::vector<Transaction> bad;
  bad.push_back(insert({"Nothing", {}, std::nullopt}));
  bad.push_back(insert({"Storage", {{"colour", "red"}}, std::nullopt}));
  bad.push_back(insert({"Storage", {{"name", 7}}, std::nullopt}));
  bad.push_back(insert({"Network", {{"name", "blue"}, {"vni", 0}}, std::nullopt}));
  bad.emplace_back().updates.push_back(
      {"Storage", uuid, {{"name", json::array{"set", json::array{}}}}});
  bad.emplace_back().map_edits.push_back({"Storage", uuid, "name", {{"a", "b"}}, {}});
  bad.emplace_back().expectations.push_back({"Storage", uuid, "name", 7});
  for (auto& transaction : bad) {
    auto result = test::run(io, observer.session.transact(std::move(transaction)));
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code, errc::invalid_argument) << result.error().message;
  }
  // The session has survived all of them.
  auto result = test::run(io, observer.session.transact(insert(storage("b"))));
  EXPECT_EQ(result->outcome, Outcome::committed);
}

TEST_F(SessionTest, InsertsWithAGivenUuidOnce) {
  Observer observer(io, server.remote());
  test::run(io, make_storage(observer, "a", ""));
  auto row = storage("b");
  row.uuid = boost::uuids::random_generator()();
  auto result = test::run(io, observer.session.transact(insert(row)));
  ASSERT_TRUE(result);
  EXPECT_EQ(result->outcome, Outcome::committed) << result->message;
  EXPECT_THAT(result->inserted, testing::ElementsAre(*row.uuid));
  result = test::run(io, observer.session.transact(insert(row)));
  ASSERT_TRUE(result);
  EXPECT_EQ(result->outcome, Outcome::refused);
}

TEST_F(SessionTest, EditsSingleKeysOfAMap) {
  Observer observer(io, server.remote());
  auto uuid = test::run(io, make_storage(observer, "a", ""));
  Transaction first;
  first.map_edits.push_back({"Storage", uuid, "options", {{"x", "1"}, {"y", "2"}}, {}});
  test::run(io, observer.session.transact(first));
  // Somebody else's key, unknown to this session when it writes its own.
  server.freeze();
  Transaction second;
  second.map_edits.push_back({"Storage", uuid, "options", {{"x", "3"}}, {"y"}});
  server.thaw();
  server.transact(R"({"op":"mutate","table":"Storage","where":[],)"
                  R"("mutations":[["options","insert",["map",[["z","9"]]]]]})");
  auto result = test::run(io, observer.session.transact(second));
  EXPECT_EQ(result->outcome, Outcome::committed);
  json::value expected =
      json::array{"map", json::array{json::array{"x", "3"}, json::array{"z", "9"}}};
  test::run(io, observer.changed.wait(
                    [&] { return observer.rows["Storage"].at(uuid).at("options") == expected; }));
}

TEST_F(SessionTest, DeletesARow) {
  Observer observer(io, server.remote());
  auto uuid = test::run(io, make_storage(observer, "a", ""));
  Transaction transaction;
  transaction.deletes.push_back({"Storage", uuid});
  auto result = test::run(io, observer.session.transact(transaction));
  EXPECT_EQ(result->outcome, Outcome::committed);
  EXPECT_FALSE(observer.rows["Storage"].contains(uuid));
  result = test::run(io, observer.session.transact(transaction));
  EXPECT_EQ(result->outcome, Outcome::refused);
}

TEST_F(SessionTest, DoesNotKnowTheOutcomeWhenTheServerDiesFirst) {
  Observer observer(io, server.remote());
  auto uuid = test::run(io, make_storage(observer, "a", "before"));
  server.freeze();
  std::optional<TransactResult> result;
  auto commit = [&]() -> asio::awaitable<void> {
    auto answer = co_await observer.session.transact(replace(uuid, "before", "after"));
    EXPECT_TRUE(answer);
    if (answer) result = *answer;
    EXPECT_FALSE(observer.session.synced());
    observer.changed.notify();
  };
  asio::co_spawn(io, commit(), asio::detached);
  io.restart();
  io.poll();
  server.kill();
  test::run(io, observer.changed.wait([&] { return result.has_value(); }));
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

TEST_F(SessionTest, DoesNotKnowTheOutcomeWhenTheAnswerIsLost) {
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

TEST_F(SessionTest, EndsWaitsThatAreCancelled) {
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

TEST_F(SessionTest, DoesNotKnowTheOutcomeWhenItIsClosedFirst) {
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

TEST_F(SessionTest, DoesNotDelayACommitByALargeUpdate) {
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

TEST_F(SessionTest, WaitsForAServerOnlySoLong) {
  Observer observer(io, "unix:/nowhere/homeport.sock");
  auto result = test::run(io, observer.session.wait_synced(100ms));
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, errc::timed_out);
  EXPECT_THAT(result.error().message, HasSubstr("/nowhere/homeport.sock"));
}

}  // namespace
}  // namespace homeport::overlay::ovsdb
