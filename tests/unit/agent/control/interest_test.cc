#include "agent/control/interest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <boost/json/serialize.hpp>

#include <algorithm>

namespace homeport::agent {
namespace {

using namespace std::chrono_literals;
using testing::Contains;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::IsSupersetOf;
using testing::Not;
using testing::UnorderedElementsAre;

/// hostA has vm1 in blue and vm2 in blue and green; vm3 in red is at hostB.
class InterestTest : public testing::Test {
 protected:
  InterestTest() {
    contents.bindings.set_home("hostA");
    policy::Vni vni = 100;
    for (const char* name : {"blue", "green", "red"}) {
      Network network;
      network.name = name;
      network.vni = vni++;
      contents.networks[name] = network;
    }
    bind("vm1", "vm1", "blue", "hostA");
    bind("vm2/a", "vm2", "blue", "hostA");
    bind("vm2/b", "vm2", "green", "hostA");
    bind("vm3", "vm3", "red", "hostB");
  }

  void bind(const std::string& name, const std::string& application, const std::string& network,
            const std::string& location) {
    contents.applications[application].name = application;
    Binding binding;
    binding.name = name;
    binding.application = application;
    binding.network = network;
    binding.location = location;
    contents.bindings.insert_or_assign(name, binding);
  }

  Uuid add_move(const std::string& application, const std::string& destination) {
    Task task;
    task.uuid.data[0] = ++tasks;
    task.application = application;
    task.arguments["destination"] = destination;
    contents.tasks[task.uuid] = task;
    return task.uuid;
  }

  void add_status(const Uuid& task, const std::string& application, const std::string& source,
                  const std::string& destination, bool finished) {
    TaskStatus status;
    status.task = task;
    status.host = status.source = source;
    status.destination = destination;
    status.application = application;
    if (finished) status.finished = WallTime(1s);
    contents.task_status[task] = status;
  }

  Concern concern() { return concern_of(contents, "hostA", {}); }

  static std::vector<std::string> clauses(const overlay::ovsdb::Conditions& conditions,
                                          const std::string& table) {
    std::vector<std::string> texts;
    for (const auto& clause : conditions.at(table)) {
      texts.push_back(clause.column + " " + clause.function + " " +
                      boost::json::serialize(clause.value));
    }
    return texts;
  }

  Contents contents;
  std::uint8_t tasks = 0;
};

TEST_F(InterestTest, WhatIsHereAndItsNetworksConcernTheHost) {
  EXPECT_THAT(concern().applications, ElementsAre("vm1", "vm2"));
  EXPECT_THAT(concern().networks, ElementsAre("blue", "green"));
}

TEST_F(InterestTest, WhatIsToComeHereConcernsItUntilThatHasEnded) {
  const Uuid task = add_move("vm3", "hostA");
  EXPECT_THAT(concern().applications, ElementsAre("vm1", "vm2", "vm3"));
  EXPECT_THAT(concern().networks, ElementsAre("blue", "green", "red"));
  add_status(task, "vm3", "hostB", "hostA", false);
  EXPECT_THAT(concern().networks, Contains("red"));
  add_status(task, "vm3", "hostB", "hostA", true);
  EXPECT_THAT(concern().applications, Not(Contains("vm3")));
  EXPECT_THAT(concern().networks, Not(Contains("red")));
}

TEST_F(InterestTest, WhatLeavesConcernsItUntilTheMoveHasEnded) {
  const Uuid task = add_move("vm1", "hostB");
  add_status(task, "vm1", "hostA", "hostB", false);
  bind("vm1", "vm1", "blue", "hostB");
  EXPECT_THAT(concern().applications, Contains("vm1"));
  add_status(task, "vm1", "hostA", "hostB", true);
  EXPECT_THAT(concern().applications, Not(Contains("vm1")));
  EXPECT_THAT(concern().tasks_of, ElementsAre("vm1")) << "it has to see the task be deleted";
}

TEST_F(InterestTest, MovesOfOthersDoNot) {
  add_status(add_move("vm3", "hostC"), "vm3", "hostB", "hostC", false);
  EXPECT_THAT(concern().applications, Not(Contains("vm3")));
  EXPECT_THAT(concern().tasks_of, IsEmpty());
}

TEST_F(InterestTest, GuestThatRunsHereConcernsItWhereverTheDatabaseSaysItIs) {
  const Concern found = concern_of(contents, "hostA", {"vm3", "unheard-of"});
  EXPECT_THAT(found.applications, ElementsAre("unheard-of", "vm1", "vm2", "vm3"));
  EXPECT_THAT(found.networks, Contains("red"));
}

TEST_F(InterestTest, ConditionsNameTheRows) {
  const auto conditions = conditions_of(concern(), "hostA", 100);
  EXPECT_THAT(clauses(conditions, "Binding"),
              UnorderedElementsAre(R"(network == "blue")", R"(network == "green")",
                                   R"(location == "hostA")"));
  EXPECT_THAT(clauses(conditions_of(concern(), "hostA", kSmallFleet), "Binding"),
              IsSupersetOf({R"(application == "vm1")", R"(application == "vm2")"}));
  EXPECT_THAT(clauses(conditions, "Application"),
              UnorderedElementsAre(R"(name == "vm1")", R"(name == "vm2")"));
  EXPECT_THAT(clauses(conditions, "Task"),
              UnorderedElementsAre(R"(application == "vm1")", R"(application == "vm2")",
                                   R"(arguments includes ["map",[["destination","hostA"]]])"));
  EXPECT_THAT(clauses(conditions, "Task_Status"),
              UnorderedElementsAre(R"(host == "hostA")", R"(source == "hostA")",
                                   R"(destination == "hostA")", R"(application == "vm1")",
                                   R"(application == "vm2")"));
  EXPECT_THAT(clauses(conditions, "Interface"), ElementsAre(R"(host == "hostA")"));
  for (const char* whole : {"Host", "Network", "Policy"}) EXPECT_FALSE(conditions.contains(whole));
}

TEST_F(InterestTest, SignsOfLifeAndTasksOfAllAreFollowedInASmallFleetOnly) {
  for (const char* table : {"Host_Status", "Task", "Task_Status"}) {
    EXPECT_FALSE(conditions_of({}, "hostA", kSmallFleet).contains(table)) << table;
    EXPECT_TRUE(conditions_of({}, "hostA", kSmallFleet + 1).contains(table)) << table;
  }
  EXPECT_THAT(clauses(conditions_of({}, "hostA", kSmallFleet + 1), "Host_Status"),
              ElementsAre(R"(host == "hostA")"));
}

TEST_F(InterestTest, NetworkThatHostsReachConcernsEveryHost) {
  EXPECT_FALSE(concern().hosts_reached);
  contents.networks.at("red").host_access = true;
  EXPECT_THAT(concern().networks, ElementsAre("blue", "green", "red"));
  const auto conditions = conditions_of(concern(), "hostA", 100);
  EXPECT_THAT(clauses(conditions, "Binding"), Contains(R"(network == "red")"));
  EXPECT_FALSE(conditions.contains("Interface")) << "the addresses of all hosts";
  EXPECT_FALSE(concern().applications.contains("vm3"));
}

TEST_F(InterestTest, HostThatHasNothingStillHearsOfWhatIsForIt) {
  const auto conditions = conditions_of(concern_of(Contents(), "hostA", {}), "hostA", 1);
  EXPECT_THAT(clauses(conditions, "Binding"), ElementsAre(R"(location == "hostA")"));
  EXPECT_THAT(clauses(conditions, "Application"), IsEmpty());
}

TEST_F(InterestTest, NetworkThatTheLastApplicationHasLeftIsFollowedForAWhile) {
  Interest interest("hostA", 300s, {});
  const Interest::Clock::time_point start{};
  interest.follow(contents, {}, {}, {}, start);
  bind("vm2/b", "vm2", "green", "hostB");
  bind("vm2/a", "vm2", "blue", "hostB");
  auto conditions = interest.follow(contents, {}, {}, {}, start + 1s).conditions;
  EXPECT_THAT(clauses(conditions, "Binding"), Contains(R"(network == "green")"));
  EXPECT_THAT(clauses(conditions, "Application"), Contains(R"(name == "vm2")"));
  conditions = interest.follow(contents, {}, {}, {}, start + 300s).conditions;
  EXPECT_THAT(clauses(conditions, "Binding"), Contains(R"(network == "green")"));
  conditions = interest.follow(contents, {}, {}, {}, start + 301s).conditions;
  EXPECT_THAT(clauses(conditions, "Binding"), Not(Contains(R"(network == "green")")));
  EXPECT_THAT(clauses(conditions, "Binding"), Contains(R"(network == "blue")")) << "vm1 is here";
  EXPECT_THAT(clauses(conditions, "Application"), Not(Contains(R"(name == "vm2")")));
}

TEST_F(InterestTest, NetworkThatTheDatapathCarriesAlreadyIsFollowedForAWhile) {
  Interest interest("hostA", 300s, {102});
  const Interest::Clock::time_point start{};
  EXPECT_THAT(clauses(interest.follow(contents, {}, {}, {}, start).conditions, "Binding"),
              Contains(R"(network == "red")"));
  EXPECT_THAT(clauses(interest.follow(contents, {}, {}, {}, start + 301s).conditions, "Binding"),
              Not(Contains(R"(network == "red")")));
}

TEST_F(InterestTest, ManyNetworksAreAskedForByAFewAtATime) {
  for (std::size_t i = 0; i < 2 * kNetworksAtOnce + 1; ++i) {
    bind("vm" + std::to_string(10 + i), "vm", "net" + std::to_string(10 + i), "hostA");
  }
  const auto wanted = conditions_of(concern(), "hostA", 100);
  auto networks = [&](const overlay::ovsdb::Conditions& conditions) {
    auto texts = clauses(conditions, "Binding");
    return std::ranges::count_if(texts, [](const auto& it) { return it.starts_with("network"); });
  };
  overlay::ovsdb::Conditions in_force;
  std::ptrdiff_t before = 0;
  int steps = 0;
  while (in_force != wanted) {
    in_force = step_of(in_force, wanted);
    ASSERT_GT(networks(in_force), before);
    ASSERT_LE(networks(in_force) - before, static_cast<std::ptrdiff_t>(kNetworksAtOnce));
    EXPECT_THAT(clauses(in_force, "Binding"), Contains(R"(location == "hostA")"));
    before = networks(in_force);
    ++steps;
  }
  EXPECT_EQ(steps, 3) << "19 networks";
  const auto less = conditions_of({}, "hostA", 100);
  EXPECT_EQ(step_of(wanted, less), less) << "what is given up goes at once";
}

/// In a large fleet: what is in force is what was asked for, as if the server had answered at once.
class LargeFleetTest : public InterestTest {
 protected:
  LargeFleetTest() {
    for (std::size_t i = 0; i <= kSmallFleet; ++i) {
      const std::string name = "host" + std::to_string(i);
      contents.hosts[name].name = name;
    }
    follow();
    follow();
  }
  Following follow(const std::set<std::string>& guests = {}, const Expected& expected = {}) {
    auto following = interest.follow(contents, guests, expected, in_force, {});
    in_force = following.conditions;
    return following;
  }
  /// The conditions of big tables that follow() changes.
  std::set<std::string> changed() {
    const auto before = in_force;
    std::set<std::string> tables;
    const auto now = follow().conditions;
    for (const char* table : {"Application", "Binding"}) {
      if (before.at(table) != now.at(table)) tables.insert(table);
    }
    return tables;
  }
  static auto read(const Following& following) {
    std::vector<std::string> texts;
    for (const auto& [name, it] : following.readings) {
      texts.push_back(name + (it.row ? " row" : "") + (it.bindings ? " bindings" : ""));
    }
    return texts;
  }

  Interest interest{"hostA", 300s, {}};
  overlay::ovsdb::Conditions in_force;
};

TEST_F(LargeFleetTest, WhatIsHereAtTheStartIsMonitored) {
  const auto following = follow();
  EXPECT_THAT(clauses(following.conditions, "Application"),
              UnorderedElementsAre(R"(name == "vm1")", R"(name == "vm2")"));
  EXPECT_THAT(read(following), IsEmpty());
}

TEST_F(LargeFleetTest, WhatIsOnItsWayIsReadWithAllItsBindingsWhenItIsExpected) {
  const Uuid task = add_move("vm3", "hostA");
  EXPECT_THAT(read(follow()), IsEmpty()) << "its host will say where it is to be found";
  const KnownRows rows{Uuid{{1}}, {Uuid{{2}}}};
  Following following = follow({}, {{"vm3", {rows}}});
  EXPECT_THAT(read(following), ElementsAre("vm3 row bindings"));
  EXPECT_EQ(following.readings.at("vm3").at, rows);
  EXPECT_THAT(following.readings.at("vm3").tasks, ElementsAre(task));
  EXPECT_THAT(read(follow()), ElementsAre("vm3 row bindings")) << "it stays when that is over";
  EXPECT_THAT(clauses(following.conditions, "Application"), Not(Contains(R"(name == "vm3")")));
  bind("vm3", "vm3", "red", "hostA");
  EXPECT_THAT(read(follow()), ElementsAre("vm3 row")) << "its bindings are monitored: it is here";
}

TEST_F(LargeFleetTest, WhatComesWithoutAWordIsReadOnceItIsHere) {
  add_move("vm3", "hostA");
  EXPECT_THAT(read(follow()), IsEmpty());
  bind("vm3", "vm3", "red", "hostA");
  EXPECT_THAT(read(follow()), ElementsAre("vm3 row"));
}

TEST_F(LargeFleetTest, WhatHasLeftAndIsToComeBackIsNotSearchedFor) {
  bind("vm1", "vm1", "blue", "hostB");
  follow();
  add_move("vm1", "hostA");
  EXPECT_THAT(read(follow()), IsEmpty()) << "its row is monitored still";
  EXPECT_THAT(read(follow({}, {{"vm1", {}}})), ElementsAre("vm1 bindings"));
}

TEST_F(LargeFleetTest, MoveWithinTheNetworksOfTheHostChangesNeitherBindingNorApplication) {
  bind("vm4", "vm4", "blue", "hostB");
  add_move("vm4", "hostA");
  EXPECT_THAT(changed(), IsEmpty());
  bind("vm4", "vm4", "blue", "hostA");
  EXPECT_THAT(changed(), IsEmpty());
  bind("vm1", "vm1", "blue", "hostB");
  EXPECT_THAT(changed(), IsEmpty()) << "one that leaves";
}

TEST_F(LargeFleetTest, NetworkThatIsNewIsAskedForAndItsGuestToo) {
  EXPECT_THAT(read(follow({"vm3"})), ElementsAre("vm3 row bindings"));
  EXPECT_THAT(clauses(in_force, "Binding"), Contains(R"(network == "red")"));
}

TEST_F(LargeFleetTest, WhatHasLeftNeedsNoReading) {
  const Uuid task = add_move("vm1", "hostB");
  add_status(task, "vm1", "hostA", "hostB", false);
  follow();
  bind("vm1", "vm1", "blue", "hostB");
  EXPECT_THAT(read(follow()), IsEmpty());
  add_status(task, "vm1", "hostA", "hostB", true);
  EXPECT_THAT(read(follow()), IsEmpty());
}

TEST_F(LargeFleetTest, ConditionIsBroughtUpToDateWhenManyHaveComeOrGone) {
  for (std::size_t i = 1; i < kManyNames; ++i) {
    const std::string name = "new" + std::to_string(i);
    bind(name, name, "blue", "hostA");
    EXPECT_THAT(changed(), IsEmpty()) << name;
  }
  EXPECT_EQ(follow().readings.size(), kManyNames - 1);
  interest = Interest("hostA", 0s, {});
  bind("last", "last", "blue", "hostA");
  const auto following = follow();
  EXPECT_EQ(clauses(following.conditions, "Application").size(), kManyNames + 2);
}

TEST_F(LargeFleetTest, ManyAtOnceAreNotReadOneByOne) {
  for (std::size_t i = 0; i < kManyAtOnce; ++i) {
    const std::string name = "new" + std::to_string(i);
    bind(name, name, "blue", "hostA");
  }
  const auto before = in_force;
  const auto following = interest.follow(contents, {}, {}, in_force, {});
  EXPECT_NE(following.conditions.at("Application"), before.at("Application"));
  EXPECT_THAT(read(following), IsEmpty());
}

/// Until the condition is in force, what was read has to stay.
TEST_F(LargeFleetTest, WhatWasReadIsReadUntilItIsMonitored) {
  bind("vm4", "vm4", "blue", "hostA");
  EXPECT_THAT(read(follow()), ElementsAre("vm4 row"));
  for (std::size_t i = 0; i < kManyAtOnce; ++i) {
    const std::string name = "new" + std::to_string(i);
    bind(name, name, "blue", "hostA");
  }
  const auto following = interest.follow(contents, {}, {}, in_force, {});
  EXPECT_THAT(clauses(following.conditions, "Application"), Contains(R"(name == "vm4")"));
  EXPECT_THAT(read(following), ElementsAre("vm4 row"));
  in_force = following.conditions;
  EXPECT_THAT(read(follow()), IsEmpty());
}

TEST_F(InterestTest, ChangesElsewhereAreNoMatterOfTheHost) {
  const Concern before = concern();
  Changes changes;
  EXPECT_TRUE(may_concern(changes, contents, "hostA", before)) << "everything may have changed";
  changes.all = false;
  changes.tables = {"Binding", "Host_Status"};
  changes.bindings["vm3"] = contents.bindings.at("vm3");
  EXPECT_FALSE(may_concern(changes, contents, "hostA", before));
  bind("vm3", "vm3", "red", "hostA");
  EXPECT_TRUE(may_concern(changes, contents, "hostA", before)) << "it came here";
  changes.bindings["vm3"] = contents.bindings.at("vm3");
  bind("vm3", "vm3", "red", "hostB");
  EXPECT_TRUE(may_concern(changes, contents, "hostA", before)) << "it was here";
}

}  // namespace
}  // namespace homeport::agent
