#include "overlay/ovsdb/session.h"

#include "tests/unit/overlay/ovsdb/observer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <boost/asio/detached.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/json/array.hpp>
#include <boost/system/system_error.hpp>
#include <boost/uuid/random_generator.hpp>

#include <chrono>
#include <csignal>

namespace homeport::overlay::ovsdb {
namespace {

namespace asio = boost::asio;
namespace json = boost::json;
namespace errc = boost::system::errc;
using namespace std::chrono_literals;
using testing::HasSubstr;

class SessionTest : public testing::Test {
 protected:
  asio::io_context io;
  test::TestServer server;
};

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

TEST_F(SessionTest, ConditionsMayBeChanged) {
  server.transact(R"({"op":"insert","table":"Storage","row":{"name":"a","kind":"nfs"}},)"
                  R"({"op":"insert","table":"Storage","row":{"name":"b","kind":"iscsi"}})");
  SessionOptions options;
  options.remotes = server.remote();
  options.conditions["Storage"] = {};
  Observer observer(io, options);
  test::run(io, observer.changed.wait([&] { return observer.session.synced(); }));
  EXPECT_TRUE(observer.rows["Storage"].empty()) << "no clause, no row";

  observer.session.set_conditions({{"Storage", {{"name", "==", "a"}, {"name", "==", "x"}}}});
  test::run(io, observer.changed.wait([&] { return observer.conditions == 1; }));
  EXPECT_EQ(observer.rows["Storage"].size(), 1u);
  EXPECT_NE(observer.named("Storage", "a"), nullptr);

  // One after the other: only the last is reported.
  observer.session.set_conditions({{"Storage", {}}});
  observer.session.set_conditions({{"Storage", {{"kind", "==", "iscsi"}}}});
  test::run(io, observer.changed.wait([&] { return observer.conditions == 2; }));
  EXPECT_EQ(observer.rows["Storage"].size(), 1u);
  EXPECT_NE(observer.named("Storage", "b"), nullptr);

  observer.session.set_conditions({});
  test::run(io, observer.changed.wait([&] { return observer.conditions == 3; }));
  EXPECT_EQ(observer.rows["Storage"].size(), 2u) << "without a condition, every row";
}

TEST_F(SessionTest, ConditionsAreKeptThroughAnInterruption) {
  server.transact(R"({"op":"insert","table":"Storage","row":{"name":"a","kind":"nfs"}},)"
                  R"({"op":"insert","table":"Storage","row":{"name":"b","kind":"iscsi"}})");
  Observer observer(io, server.remote());
  test::run(io, observer.changed.wait([&] { return observer.session.synced(); }));
  server.kill();
  test::run(io, observer.changed.wait([&] { return !observer.session.synced(); }));
  observer.session.set_conditions({{"Storage", {{"name", "==", "b"}}}});
  server.start();
  test::run(io, observer.changed.wait([&] { return observer.conditions == 1; }));
  EXPECT_TRUE(observer.session.synced());
  EXPECT_EQ(observer.rows["Storage"].size(), 1u);
  EXPECT_NE(observer.named("Storage", "b"), nullptr);
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
  auto handler = [](int number) {
    struct sigaction action {};
    sigaction(number, nullptr, &action);
    return action.sa_handler;
  };
  const auto of_crashes = handler(SIGSEGV);  // a sanitizer has one of its own
  Observer observer(io, server.remote());
  test::run(io, observer.changed.wait([&] { return observer.session.synced(); }));
  for (int number : {SIGTERM, SIGINT, SIGHUP, SIGALRM}) {
    EXPECT_EQ(handler(number), SIG_DFL) << "signal " << number;
  }
  EXPECT_EQ(handler(SIGSEGV), of_crashes);
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

}  // namespace
}  // namespace homeport::overlay::ovsdb
