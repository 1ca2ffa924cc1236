// What of a real server's contents reaches an agent.
#include "agent/control/interest.h"

#include "overlay/pause.h"
#include "tests/unit/overlay/ovsdb/test_server.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace homeport::agent {
namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;

/// An agent's session, and what it was told.
struct Agent {
  Agent(asio::io_context& io, const std::string& remote, const std::string& host,
        std::chrono::seconds linger = 300s, std::set<policy::Vni> carried = {})
      : database(io.get_executor(), options(remote, host, linger, std::move(carried))) {
    database.on_change([this] {
      if (first.empty()) first = names();
      ++changes;
      if (database.changes().tables.contains("Host_Status")) ++signs_of_life;
    });
    database.on_state([this](bool synced) { states.push_back(synced); });
    database.start();
  }
  static DatabaseOptions options(const std::string& remote, const std::string& host,
                                 std::chrono::seconds linger, std::set<policy::Vni> carried) {
    DatabaseOptions options;
    options.session.remotes = remote;
    options.operation_timeout = 15s;
    options.host = host;
    options.linger = linger;
    options.carried = std::move(carried);
    return options;
  }
  std::set<std::string> names() const {
    std::set<std::string> names;
    for (const auto& [name, binding] : database.contents().bindings) names.insert(name);
    return names;
  }
  int changes = 0;
  int signs_of_life = 0;
  std::set<std::string> first;  ///< The bindings at the first call.
  std::vector<bool> states;
  ControlDatabase database;
};

using Names = std::set<std::string>;

/// Three networks; vm1 at h1 and vm2 at h2 in blue, vm3 at h2 in green, vm4 at h3 in red.
class InterestDatabaseTest : public testing::Test {
 protected:
  InterestDatabaseTest() {
    std::string rows;
    for (const char* host : {"h1", "h2", "h3"}) {
      rows += fmt::format(R"({{"op":"insert","table":"Host","row":{{"name":"{}"}}}},)", host);
    }
    int vni = 100;
    for (const char* network : {"blue", "green", "red"}) {
      rows += fmt::format(R"({{"op":"insert","table":"Network","row":{{"name":"{}","vni":{}}}}},)",
                          network, vni++);
    }
    rows += binding("vm1", "blue", "h1", 1) + "," + binding("vm2", "blue", "h2", 2) + "," +
            binding("vm3", "green", "h2", 3) + "," + binding("vm4", "red", "h3", 4);
    server.transact(rows);
  }

  static std::string binding(const std::string& name, const std::string& network,
                             const std::string& location, int number) {
    return fmt::format(
        R"({{"op":"insert","table":"Application","row":{{"name":"{0}","driver":"qemu"}}}},)"
        R"({{"op":"insert","table":"Binding","row":{{"name":"{0}","application":"{0}",)"
        R"("network":"{1}","mac":"52:54:00:00:00:{3:02x}","location":"{2}","generation":1}}}})",
        name, network, location, number);
  }

  /// As many as make it a large fleet.
  void add_hosts() {
    std::string hosts = R"({"op":"comment","comment":"a large fleet"})";
    for (std::size_t i = 0; i < kSmallFleet; ++i) {
      hosts += fmt::format(R"(,{{"op":"insert","table":"Host","row":{{"name":"other{}"}}}})", i);
    }
    server.transact(hosts);
  }

  void locate(const std::string& name, const std::string& host, int generation) {
    server.transact(fmt::format(R"({{"op":"update","table":"Binding","where":[["name","==","{}"]],)"
                                R"("row":{{"location":"{}","generation":{}}}}})",
                                name, host, generation));
  }

  /// Looks again and again: that nothing is on its way any more is no event.
  void wait(std::function<bool()> holds) {
    auto until = [&]() -> asio::awaitable<void> {
      while (!holds()) co_await overlay::pause(5ms);
    };
    test::run(io, until());
  }
  void wait_for(Agent& agent, const Names& names) {
    wait([&] { return agent.database.settled() && agent.names() == names; });
  }

  asio::io_context io;
  test::TestServer server;
};

TEST_F(InterestDatabaseTest, AgentReceivesTheBindingsOfItsNetworksOnly) {
  Agent agent(io, server.remote(), "h1");
  wait_for(agent, {"vm1", "vm2"});
  EXPECT_EQ(agent.database.applications().size(), 1u) << "vm1: nobody asks what else vm2 is";
  EXPECT_EQ(agent.database.hosts().size(), 3u);
  EXPECT_EQ(agent.database.networks().size(), 3u);
}

TEST_F(InterestDatabaseTest, NobodyIsToldBeforeAllOfItIsThere) {
  Agent agent(io, server.remote(), "h1");
  wait([&] { return agent.changes > 0; });
  EXPECT_EQ(agent.first, Names({"vm1", "vm2"}));
  EXPECT_EQ(agent.states, std::vector<bool>{true});
}

TEST_F(InterestDatabaseTest, HostThatHasNothingIsInSync) {
  Agent agent(io, server.remote(), "h9");
  wait([&] { return agent.database.settled() && agent.changes > 0; });
  EXPECT_TRUE(agent.names().empty());
}

TEST_F(InterestDatabaseTest, MoveIntoANetworkThatIsNotFollowedYetBringsItsBindings) {
  Agent agent(io, server.remote(), "h1");
  wait_for(agent, {"vm1", "vm2"});
  server.transact(R"({"op":"insert","table":"Task","row":{"kind":"move","application":"vm4",)"
                  R"("arguments":["map",[["destination","h1"]]]}})");
  wait_for(agent, {"vm1", "vm2", "vm4"});
  EXPECT_TRUE(agent.database.applications().contains("vm4"));
  EXPECT_EQ(agent.database.tasks().size(), 1u);
  server.transact(binding("vm5", "red", "h2", 5));
  wait_for(agent, {"vm1", "vm2", "vm4", "vm5"});
}

/// Otherwise it would be done once more, by a host to which its application has moved since.
TEST_F(InterestDatabaseTest, WhatBecameOfATaskElsewhereArrivesWithTheTask) {
  add_hosts();
  const std::string task = "11111111-2222-4333-8444-555555555555";
  server.transact(fmt::format(R"({{"op":"insert","table":"Task","uuid":"{0}",)"
                              R"("row":{{"kind":"start","application":"vm4"}}}},)"
                              R"({{"op":"insert","table":"Task_Status","row":{{"task":"{0}",)"
                              R"("host":"h3","kind":"start","application":"vm4",)"
                              R"("state":"succeeded","finished":5}}}})",
                              task));
  Agent agent(io, server.remote(), "h1");
  wait_for(agent, {"vm1", "vm2"});
  EXPECT_TRUE(agent.database.tasks().empty());
  bool alone = false;
  agent.database.on_change([&] {
    alone = alone || (agent.database.settled() && agent.database.tasks().size() == 1 &&
                      agent.database.task_status().empty());
  });
  locate("vm4", "h1", 2);
  wait([&] { return agent.database.settled() && agent.database.tasks().size() == 1; });
  EXPECT_EQ(agent.database.task_status().size(), 1u);
  EXPECT_FALSE(alone);
}

/// Every host carries such a network, and needs to know whose address is a host's.
TEST_F(InterestDatabaseTest, NetworkThatHostsReachIsFollowedByAll) {
  server.transact(R"({"op":"insert","table":"Interface","row":{"host":"h2","name":"eth0",)"
                  R"("address":"192.0.2.2","state":"up"}})");
  Agent agent(io, server.remote(), "h1");
  wait_for(agent, {"vm1", "vm2"});
  EXPECT_TRUE(agent.database.contents().interfaces.empty());
  server.transact(R"({"op":"update","table":"Network","where":[["name","==","red"]],)"
                  R"("row":{"host_access":true}})");
  wait_for(agent, {"vm1", "vm2", "vm4"});
  wait([&] { return agent.database.contents().interfaces.size() == 1; });
  Agent late(io, server.remote(), "h9");
  wait([&] { return late.changes > 0; });
  EXPECT_EQ(late.first, Names({"vm4"})) << "before anybody is told of anything";
}

TEST_F(InterestDatabaseTest, ChangesOfOtherNetworksDoNotArrive) {
  Agent agent(io, server.remote(), "h1");
  wait_for(agent, {"vm1", "vm2"});
  locate("vm4", "h2", 2);
  locate("vm2", "h3", 2);
  wait([&] { return agent.database.contents().bindings.at("vm2").location == "h3"; });
  EXPECT_EQ(agent.names(), Names({"vm1", "vm2"}));
}

TEST_F(InterestDatabaseTest, NetworkThatTheLastApplicationHasLeftIsFollowedForAWhile) {
  Agent agent(io, server.remote(), "h3");
  wait_for(agent, {"vm4"});
  locate("vm4", "h2", 2);
  wait([&] { return agent.database.contents().bindings.at("vm4").location == "h2"; });
  locate("vm4", "h1", 3);
  wait([&] { return agent.database.contents().bindings.at("vm4").location == "h1"; });
}

TEST_F(InterestDatabaseTest, AndThenGivenUp) {
  Agent agent(io, server.remote(), "h3", 0s);
  wait_for(agent, {"vm4"});
  locate("vm4", "h2", 2);
  wait([&] {
    agent.database.review_interest();
    return agent.database.settled() && agent.names().empty();
  });
  EXPECT_TRUE(agent.database.applications().empty());
}

TEST_F(InterestDatabaseTest, NetworkThatIsCarriedAlreadyIsFollowedFromTheStart) {
  Agent agent(io, server.remote(), "h1", 300s, {102});
  wait([&] { return agent.changes > 0; });
  EXPECT_EQ(agent.first, Names({"vm1", "vm2", "vm4"}));
}

/// What was asked for goes on being so: by a server that knows nothing of the session, too.
TEST_F(InterestDatabaseTest, WhatIsFollowedOutlivesTheConnection) {
  Agent agent(io, server.remote(), "h1");
  wait_for(agent, {"vm1", "vm2"});
  server.kill();
  wait([&] { return !agent.database.synced(); });
  server.start();
  wait([&] { return agent.database.settled(); });
  EXPECT_EQ(agent.names(), Names({"vm1", "vm2"}));
  locate("vm3", "h1", 2);
  wait_for(agent, {"vm1", "vm2", "vm3"});
}

/// Although no condition asks for it: the one binding that is at hand from the start says nothing
/// of the other, and nothing of what the application is.
TEST_F(InterestDatabaseTest, WhatIsToComeIsReadInALargeFleet) {
  add_hosts();
  server.transact(binding("vm6", "blue", "h3", 6) +
                  R"(,{"op":"insert","table":"Binding","row":{"name":"vm6/b","application":"vm6",)"
                  R"("network":"red","mac":"52:54:00:00:00:07","location":"h3","generation":1}})");
  Agent agent(io, server.remote(), "h1");
  wait_for(agent, {"vm1", "vm2", "vm6"});
  EXPECT_FALSE(agent.database.applications().contains("vm6"));
  bool early = false;
  agent.database.on_change([&] {
    early = early || (agent.database.settled() && !agent.database.tasks().empty() &&
                      agent.names() != Names({"vm1", "vm2", "vm4", "vm6", "vm6/b"}));
  });
  server.transact(R"({"op":"insert","table":"Task","row":{"kind":"move","application":"vm6",)"
                  R"("arguments":["map",[["destination","h1"]]]}})");
  agent.database.expect("vm6", {});
  EXPECT_FALSE(agent.database.settled()) << "a move would begin before it is read";
  wait_for(agent, {"vm1", "vm2", "vm4", "vm6", "vm6/b"});
  EXPECT_FALSE(early) << "a move could have begun before all was known";
  EXPECT_TRUE(agent.database.applications().contains("vm6"));
  locate("vm6", "h1", 2);
  locate("vm6/b", "h1", 2);
  wait([&] {
    const auto owner = ownership(agent.database.contents(), "vm6");
    return agent.database.settled() && owner.location == "h1";
  });
  EXPECT_TRUE(agent.database.applications().contains("vm6"));
}

/// Not searched for: that would find its other binding, too, of which nobody has told.
TEST_F(InterestDatabaseTest, WhatIsToComeIsReadByTheRowsThatAreTold) {
  add_hosts();
  auto id = [](char last) { return std::string("11111111-2222-4333-8444-00000000000") + last; };
  auto insert = [&](const char* table, char last, const std::string& row) {
    return fmt::format(R"({{"op":"insert","table":"{}","uuid":"{}","row":{{{}}}}})", table,
                       id(last), row);
  };
  auto port = [&](char last, const char* name, const char* network) {
    return insert("Binding", last,
                  fmt::format(R"("name":"{}","application":"vm6","network":"{}",)"
                              R"("mac":"52:54:00:00:01:0{}","location":"h3","generation":1)",
                              name, network, last));
  };
  server.transact(insert("Application", '1', R"("name":"vm6","driver":"qemu")") + "," +
                  port('2', "vm6/a", "red") + "," + port('3', "vm6/b", "green") +
                  R"(,{"op":"insert","table":"Task","row":{"kind":"move","application":"vm6",)"
                  R"("arguments":["map",[["destination","h1"]]]}})");
  Agent agent(io, server.remote(), "h1");
  wait_for(agent, {"vm1", "vm2"});
  agent.database.expect("vm6", {parse_uuid(id('1')), {*parse_uuid(id('2'))}});
  EXPECT_FALSE(agent.database.settled());
  wait_for(agent, {"vm1", "vm2", "vm4", "vm6/a"});
  EXPECT_TRUE(agent.database.applications().contains("vm6"));
}

TEST_F(InterestDatabaseTest, WhatIsToComeIsBounded) {
  add_hosts();
  Agent agent(io, server.remote(), "h1");
  wait_for(agent, {"vm1", "vm2"});
  for (std::size_t i = 0; i < ControlDatabase::kMostExpected; ++i) {
    agent.database.expect("other" + std::to_string(i), {});
  }
  agent.database.expect("vm4", {});
  wait_for(agent, {"vm1", "vm2"});
  EXPECT_FALSE(agent.database.applications().contains("vm4"));
}

TEST_F(InterestDatabaseTest, GuestThatIsHereIsReadWhereverTheDatabaseSaysItIsInALargeFleet) {
  add_hosts();
  Agent agent(io, server.remote(), "h1");
  wait_for(agent, {"vm1", "vm2"});
  agent.database.follow_too([] { return std::set<std::string>{"vm4"}; });
  agent.database.review_interest();
  wait_for(agent, {"vm1", "vm2", "vm4"});
  EXPECT_TRUE(agent.database.applications().contains("vm4"));
  agent.database.follow_too([] { return std::set<std::string>(); });
  locate("vm4", "h2", 2);
  wait([&] { return agent.database.contents().bindings.at("vm4").location == "h2"; });
}

TEST_F(InterestDatabaseTest, TasksOfOthersArriveInASmallFleet) {
  Agent agent(io, server.remote(), "h1");
  wait_for(agent, {"vm1", "vm2"});
  server.transact(R"({"op":"insert","table":"Task","row":{"kind":"start","application":"vm4"}})");
  wait([&] { return agent.database.tasks().size() == 1; });
  EXPECT_EQ(agent.names(), Names({"vm1", "vm2"}));
}

/// The heartbeats of a fleet do not go to all of it.
TEST_F(InterestDatabaseTest, SignsOfLifeOfOthersDoNotArriveInALargeFleet) {
  add_hosts();
  server.transact(R"({"op":"insert","table":"Host_Status","row":{"host":"h2","state":"ready"}})");
  Agent agent(io, server.remote(), "h1");
  wait_for(agent, {"vm1", "vm2"});
  EXPECT_TRUE(agent.database.host_status().empty());
  agent.signs_of_life = 0;
  server.transact(R"({"op":"update","table":"Host_Status","where":[],"row":{"last_seen":5}})");
  server.transact(R"({"op":"insert","table":"Host_Status","row":{"host":"h1","state":"ready",)"
                  R"("last_seen":7}})");
  wait([&] { return agent.database.host_status().contains("h1"); });
  EXPECT_EQ(agent.database.host_status().size(), 1u);
  EXPECT_EQ(agent.signs_of_life, 1);
}

}  // namespace
}  // namespace homeport::agent
