// What a controller says of paths and interfaces, against a real server.
#include "agent/control/database.h"

#include "policy/path/end_text.h"
#include "tests/unit/overlay/ovsdb/test_server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

namespace homeport::agent {
namespace {

namespace errc = boost::system::errc;
using namespace std::chrono_literals;
using policy::TrafficClass;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::UnorderedElementsAre;

class PathOperations : public testing::Test {
 protected:
  PathOperations() : changed(io), database(io.get_executor(), options()) {
    database.on_change([this] { changed.notify(); });
    database.on_state([this](bool) { changed.notify(); });
    database.start();
    test::run(io, database.wait_synced(10s));
  }

  DatabaseOptions options() const {
    DatabaseOptions options;
    options.session.remotes = server.remote();
    options.operation_timeout = 15s;
    return options;
  }

  policy::Result<void> change(std::vector<TrafficClass> classes,
                              std::function<void(PathPolicyRow&)> how) {
    return test::run(io, database.change_path_policies(std::move(classes), std::move(how)));
  }
  void forbid(const char* end) {
    auto done = change({TrafficClass::bulk}, [&](PathPolicyRow& row) {
      row.forbidden.push_back(*policy::parse_end(end));
    });
    EXPECT_TRUE(done) << done.error().message;
  }
  /// What `rows` are there by now, as the server tells it.
  std::string rows() {
    return server.transact(R"({"op":"select","table":"Path_Policy","where":[],)"
                           R"("columns":["traffic_class","forbidden","relays"]})");
  }
  policy::Result<void> say(const std::string& host, const std::string& name, InterfaceSay said) {
    return test::run(io, database.say_of_interface(host, name, std::move(said)));
  }
  std::vector<const Interface*> interfaces(const std::string& name) {
    std::vector<const Interface*> found;
    for (const auto& [uuid, row] : database.contents().interfaces) {
      if (row.name == name) found.push_back(&row);
    }
    return found;
  }

  boost::asio::io_context io;
  test::TestServer server;
  test::Condition changed;
  ControlDatabase database;
};

TEST_F(PathOperations, WriteOneRowOfEachClassAndNoneThatIsEmpty) {
  const std::vector<TrafficClass> all(policy::kTrafficClasses.begin(),
                                      policy::kTrafficClasses.end());
  ASSERT_TRUE(change(all, [](PathPolicyRow& row) { row.relays = false; }));
  EXPECT_EQ(database.contents().path_policies.size(), 3u);
  forbid("host1/eth0");
  forbid("*/label:backup");
  // What is in the database is another record after each change.
  const auto bulk = [&] { return database.contents().path_policies.at(TrafficClass::bulk); };
  EXPECT_EQ(bulk().forbidden.size(), 2u);
  EXPECT_EQ(bulk().relays, false);
  ASSERT_TRUE(change(all, [](PathPolicyRow& row) { row.relays.reset(); }));
  EXPECT_EQ(database.contents().path_policies.size(), 1u);
  EXPECT_EQ(bulk().forbidden.size(), 2u);
  ASSERT_TRUE(change(all, [](PathPolicyRow& row) { row.forbidden.clear(); }));
  EXPECT_TRUE(database.contents().path_policies.empty());
  EXPECT_THAT(rows(), HasSubstr(R"("rows":[])"));
}

TEST_F(PathOperations, KeepWhatSomebodyElseHasWrittenMeanwhile) {
  forbid("host1/eth0");
  bool first = true;
  auto done = change({TrafficClass::bulk}, [&](PathPolicyRow& row) {
    if (std::exchange(first, false)) {
      // After this has read the row, and before it writes.
      server.transact(R"({"op":"mutate","table":"Path_Policy","where":[],)"
                      R"("mutations":[["forbidden","insert","host2/eth0"]]})");
    }
    row.forbidden.push_back(*policy::parse_end("host3/eth0"));
  });
  ASSERT_TRUE(done) << done.error().message;
  EXPECT_EQ(database.contents().path_policies.at(TrafficClass::bulk).forbidden.size(), 3u);
}

TEST_F(PathOperations, WriteOverWhatIsWrong) {
  server.transact(R"({"op":"insert","table":"Path_Policy","row":{"traffic_class":"bulk",)"
                  R"("forbidden":"eth0"}})");
  test::run(io, changed.wait([&] { return !database.contents().problems.empty(); }));
  EXPECT_EQ(database.contents().path_policies.size(), 1u);
  forbid("host1/eth0");
  EXPECT_TRUE(database.contents().problems.empty());
  EXPECT_EQ(database.contents().path_policies.at(TrafficClass::bulk).forbidden.size(), 1u);
}

TEST_F(PathOperations, SayWhatIsOfAnInterfaceWithAllItsAddresses) {
  auto row = [](const char* name, const char* address) {
    Interface interface;
    interface.host = "h1";
    interface.name = name;
    interface.address = boost::asio::ip::make_address(address);
    return interface;
  };
  const std::vector<Interface> there = {row("eth0", "192.0.2.1"), row("eth0", "2001:db8::1"),
                                        row("eth1", "192.0.2.9")};
  ASSERT_TRUE(test::run(io, database.publish_interfaces("h1", there)));
  ASSERT_TRUE(
      say("h1", "eth0", {.cost = 7, .label = "wan", .allowed = false, .bulk_limit_mbps = 500}));
  for (const Interface* one : interfaces("eth0")) {
    EXPECT_EQ(one->cost, 7);
    EXPECT_EQ(one->label, "wan");
    EXPECT_EQ(one->allowed, false);
    EXPECT_EQ(one->bulk_limit_mbps, 500);
  }
  EXPECT_EQ(interfaces("eth0").size(), 2u);
  EXPECT_EQ(interfaces("eth1").front()->label, "");
  ASSERT_TRUE(say("h1", "eth0", {.cost = 0, .allowed = true}));
  EXPECT_EQ(interfaces("eth0").front()->label, "wan") << "not given: as it was";
  // The host's own writing leaves it alone, and its row stays when the address goes.
  ASSERT_TRUE(test::run(io, database.publish_interfaces("h1", {there[2]})));
  ASSERT_EQ(interfaces("eth0").size(), 2u);
  EXPECT_EQ(interfaces("eth0").front()->state, LinkState::absent);
  ASSERT_TRUE(say("h1", "eth0", {.label = "", .allowed = std::optional<bool>()}));
  ASSERT_TRUE(test::run(io, database.publish_interfaces("h1", {there[2]})));
  EXPECT_EQ(interfaces("eth0").size(), 2u) << "its limit is left";
  ASSERT_TRUE(say("h1", "eth0", {.bulk_limit_mbps = 0}));
  ASSERT_TRUE(test::run(io, database.publish_interfaces("h1", {there[2]})));
  EXPECT_TRUE(interfaces("eth0").empty()) << "nothing is said of it any more";
  EXPECT_EQ(say("h1", "eth7", {.cost = 1}).error().code, errc::no_such_file_or_directory);
  EXPECT_EQ(say("h2", "eth1", {.cost = 1}).error().code, errc::no_such_file_or_directory);
}

}  // namespace
}  // namespace homeport::agent
