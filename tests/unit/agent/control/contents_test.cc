// Tables, ownership and the checks, on contents made by hand.
#include "agent/control/database.h"
#include "agent/control/tables.h"
#include "agent/control/validate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <boost/uuid/random_generator.hpp>

namespace homeport::agent {
namespace {

using overlay::ovsdb::RowChange;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

template <class Record>
RowChange put(Record record) {
  if (record.uuid.is_nil()) record.uuid = boost::uuids::random_generator()();
  return {Record::kTable, record.uuid, Row{record.uuid, columns(record)}};
}

Host host(const std::string& name) {
  Host record;
  record.name = name;
  return record;
}

Application application(const std::string& name) {
  Application record;
  record.name = name;
  return record;
}

Network network(const std::string& name, policy::Vni vni) {
  Network record;
  record.name = name;
  record.vni = vni;
  record.subnets = {*Subnet::parse("198.51.100.0/24")};
  return record;
}

Binding binding(const std::string& name, const std::string& of, std::uint8_t number) {
  Binding record;
  record.name = name;
  record.application = of;
  record.network = "blue";
  record.mac = {{0x52, 0x54, 0, 0, 0, number}};
  record.prior_addresses = {boost::asio::ip::make_address_v4(0xc6336400u + number)};
  record.location = "h1";
  record.generation = 4;
  return record;
}

class ContentsTest : public testing::Test {
 protected:
  ContentsTest() {
    for (const auto& change : {put(host("h1")), put(host("h2")), put(application("vm1")),
                               put(application("vm2")), put(network("blue", 100)),
                               put(binding("vm1/a", "vm1", 1)), put(binding("vm1/b", "vm1", 2))}) {
      EXPECT_EQ(tables.apply(change), nullptr);
    }
  }
  void change(const std::string& name, const std::string& location, policy::Generation generation) {
    auto record = contents.bindings.at(name);
    record.location = location;
    record.generation = generation;
    tables.apply(put(record));
  }

  Tables tables;
  const Contents& contents = tables.contents();
};

TEST_F(ContentsTest, FollowsRenamesAndReplacements) {
  auto old = contents.hosts.at("h1");
  auto renamed = old;
  renamed.name = "h3";
  tables.apply(put(renamed));
  EXPECT_FALSE(contents.hosts.contains("h1"));
  EXPECT_TRUE(contents.hosts.contains("h3"));
  // A new row takes the name before the old one's deletion is reported.
  auto successor = put(host("h3"));
  tables.apply(successor);
  tables.apply({"Host", renamed.uuid, std::nullopt});
  EXPECT_EQ(contents.hosts.at("h3").uuid, successor.uuid);
}

TEST_F(ContentsTest, FindsTheBindingsOfAnApplication) {
  auto names = [&](const char* application) {
    std::vector<std::string> found;
    for (const Binding* binding : contents.bindings_of(application)) found.push_back(binding->name);
    return found;
  };
  EXPECT_THAT(names("vm1"), ElementsAre("vm1/a", "vm1/b"));
  EXPECT_THAT(names("vm2"), IsEmpty());
  // Another application's from now on.
  auto given = contents.bindings.at("vm1/a");
  given.application = "vm2";
  tables.apply(put(given));
  EXPECT_THAT(names("vm1"), ElementsAre("vm1/b"));
  EXPECT_THAT(names("vm2"), ElementsAre("vm1/a"));
  given.name = "vm2/a";
  tables.apply(put(given));
  EXPECT_THAT(names("vm2"), ElementsAre("vm2/a"));
  // A new row takes the name before the old one's deletion is reported.
  auto successor = binding("vm2/a", "vm1", 3);
  tables.apply(put(successor));
  tables.apply({"Binding", given.uuid, std::nullopt});
  EXPECT_THAT(names("vm1"), ElementsAre("vm1/b", "vm2/a"));
  EXPECT_THAT(names("vm2"), IsEmpty());
  auto bad = put(contents.bindings.at("vm1/b"));
  bad.row->columns["mac"] = "nonsense";
  tables.apply(bad);
  EXPECT_THAT(names("vm1"), ElementsAre("vm2/a"));
}

TEST_F(ContentsTest, SetsABadRowAside) {
  auto good = contents.bindings.at("vm1/a");
  auto change = put(good);
  change.row->columns["mac"] = "nonsense";
  const auto* problem = tables.apply(change);
  ASSERT_NE(problem, nullptr);
  EXPECT_THAT(problem->message, HasSubstr("column mac"));
  EXPECT_FALSE(contents.bindings.contains("vm1/a"));
  EXPECT_EQ(contents.problems.size(), 1u);
  // Told once.
  EXPECT_EQ(tables.apply(change), nullptr);
  tables.apply(put(good));
  EXPECT_TRUE(contents.bindings.contains("vm1/a"));
  EXPECT_TRUE(contents.problems.empty());
  tables.apply(change);
  tables.apply({"Binding", good.uuid, std::nullopt});
  EXPECT_TRUE(contents.problems.empty());
}

TEST_F(ContentsTest, JudgesOwnershipByAllBindings) {
  auto owner = ownership(contents, "vm1");
  EXPECT_EQ(owner.kind, Ownership::Kind::owned);
  EXPECT_EQ(owner.location, "h1");
  EXPECT_EQ(owner.generation, 4u);
  EXPECT_EQ(ownership(contents, "vm2").kind, Ownership::Kind::unknown);
  EXPECT_EQ(ownership(contents, "vm3").kind, Ownership::Kind::unknown);
  change("vm1/a", "h1", 5);
  EXPECT_EQ(ownership(contents, "vm1").kind, Ownership::Kind::inconsistent);
  change("vm1/a", "", 5);
  change("vm1/b", "", 5);
  EXPECT_EQ(ownership(contents, "vm1").kind, Ownership::Kind::nowhere);
}

TEST_F(ContentsTest, ReadsWhatBecameOfAMove) {
  auto read = [&] { return read_move(contents, "vm1", "h1", "h2", 4); };
  auto set = [&](const char* location, policy::Generation generation) {
    change("vm1/a", location, generation);
    change("vm1/b", location, generation);
  };
  EXPECT_EQ(read(), MoveTruth::untouched);
  set("h2", 4);
  EXPECT_EQ(read(), MoveTruth::superseded);
  change("vm1/a", "h2", 5);
  EXPECT_EQ(read(), MoveTruth::superseded);
  set("h2", 5);
  EXPECT_EQ(read(), MoveTruth::moved);
  set("h1", 5);
  EXPECT_EQ(read(), MoveTruth::rolled_back);
  for (auto [location, generation] : {std::pair{"h3", 5u}, {"", 5u}, {"h2", 6u}, {"h1", 6u}}) {
    set(location, generation);
    EXPECT_EQ(read(), MoveTruth::superseded) << location << " " << generation;
  }
}

TEST_F(ContentsTest, ChecksNames) {
  for (auto* name : {"a", "vm1", "VM-1.example_x", "1"})
    EXPECT_TRUE(check_name("a host", name)) << name;
  for (auto* name : {"", "-a", ".a", "a/b", "a b", "a\n", "\xc3\xa4"}) {
    EXPECT_FALSE(check_name("a host", name)) << name;
  }
  EXPECT_FALSE(check_name("a host", std::string(64, 'a')));
  EXPECT_TRUE(check_binding_name("vm1/eth0"));
  for (auto* name : {"vm1/", "/eth0", "a/b/c", "vm1//eth0"})
    EXPECT_FALSE(check_binding_name(name)) << name;
}

std::string wrong_with(const policy::Result<void>& result) {
  return result ? std::string("nothing") : result.error().message;
}

TEST_F(ContentsTest, ChecksNetworks) {
  EXPECT_TRUE(check_network(contents, network("blue", 100)));
  EXPECT_TRUE(check_network(contents, network("red", policy::kVniMax)));
  EXPECT_THAT(wrong_with(check_network(contents, network("red", 100))), HasSubstr("network blue"));
  EXPECT_THAT(wrong_with(check_network(contents, network("red", 0))), HasSubstr("VNI 0"));
  EXPECT_THAT(wrong_with(check_network(contents, network("red", policy::kVniMax + 1))),
              HasSubstr("7340032"));
  auto small = network("red", 7);
  small.mtu = 100;
  EXPECT_THAT(wrong_with(check_network(contents, small)), HasSubstr("MTU 100"));
}

TEST_F(ContentsTest, ChecksBindings) {
  auto good = binding("vm2", "vm2", 9);
  EXPECT_TRUE(check_binding(contents, good)) << wrong_with(check_binding(contents, good));
  auto expect = [&](auto spoil, const char* says) {
    auto bad = good;
    spoil(bad);
    EXPECT_THAT(wrong_with(check_binding(contents, bad)), HasSubstr(says));
  };
  expect([](Binding& it) { it.application = "vm9"; }, "application vm9");
  expect([](Binding& it) { it.network = "red"; }, "network red");
  expect([](Binding& it) { it.mac.bytes[0] = 1; }, "not a unicast");
  expect([](Binding& it) { it.mac.bytes[5] = 1; }, "binding vm1/a");
  expect([](Binding& it) { it.location = "h9"; }, "h9");
  expect([](Binding& it) { it.prior_addresses = {boost::asio::ip::make_address("203.0.113.1")}; },
         "outside the subnets");
  expect([](Binding& it) { it.prior_addresses = {boost::asio::ip::make_address("224.0.0.1")}; },
         "not a unicast");
  expect([](Binding& it) { it.prior_addresses = {boost::asio::ip::make_address("fe80::1")}; },
         "not a unicast");
  expect([](Binding& it) { it.prior_addresses = {boost::asio::ip::make_address("198.51.100.1")}; },
         "prior address of binding vm1/a");
}

TEST_F(ContentsTest, ChecksApplicationsAndPolicies) {
  EXPECT_TRUE(check_application(contents, application("vm3")));
  auto bad = application("vm3");
  bad.policy = "gold";
  EXPECT_THAT(wrong_with(check_application(contents, bad)), HasSubstr("gold"));
  bad = application("vm3");
  bad.driver = Driver::netdev;
  EXPECT_THAT(wrong_with(check_application(contents, bad)), HasSubstr("device"));
  bad = application("vm3");
  bad.qmp_socket = "vm3.qmp";
  EXPECT_THAT(wrong_with(check_application(contents, bad)), HasSubstr("vm3.qmp"));
  bad = application("vm3");
  bad.launch_profile = "../x";
  EXPECT_THAT(wrong_with(check_application(contents, bad)), HasSubstr("launch profile"));

  Policy policy;
  policy.name = "gold";
  EXPECT_TRUE(check_policy(policy));
  policy.downtime_limit = std::chrono::milliseconds(0);
  EXPECT_FALSE(check_policy(policy));
  policy.downtime_limit.reset();
  policy.copy_timeout = std::chrono::seconds(0);
  EXPECT_FALSE(check_policy(policy));
  policy.copy_timeout.reset();
  policy.bandwidth_share = 101;
  EXPECT_FALSE(check_policy(policy));
}

TEST(Beats, OfAFleetComeTogetherAtSomeMomentsOfEachInterval) {
  using namespace std::chrono_literals;
  const WallTime start(WallTime::duration(1'700'000'000'123));
  std::map<WallTime, int> moments;
  for (int i = 0; i < 1000; ++i) {
    const std::string name = "host" + std::to_string(i);
    WallTime beat = start + until_next_beat(start, name, 10s);
    EXPECT_GE(beat - start, 40ms);
    EXPECT_LT(beat - start, 10040ms) << "somebody may listen for 12 s";
    EXPECT_EQ(beat + until_next_beat(beat, name, 10s), beat + 10s);
    // A timer that ends early does not make two of one.
    EXPECT_EQ(beat - 2ms + until_next_beat(beat - 2ms, name, 10s), beat + 10s);
    ++moments[WallTime(beat.time_since_epoch() % 10s)];
  }
  EXPECT_GT(moments.size(), static_cast<std::size_t>(kBeats * 9 / 10));
  for (const auto& [moment, hosts] : moments) EXPECT_LT(hosts, 20) << "at the same moment";
}

TEST(Beats, OfALargeFleetAreNoMoreThanTheServerCanTake) {
  using namespace std::chrono_literals;
  EXPECT_EQ(beat_interval(1), 10s);
  EXPECT_EQ(beat_interval(250), 10s);
  EXPECT_EQ(beat_interval(1000), 40s);
  EXPECT_EQ(alive_within(100), 40s);
  EXPECT_EQ(alive_within(1000), 160s);
}

TEST_F(ContentsTest, ChecksTasks) {
  Task task;
  task.application = "vm1";
  EXPECT_THAT(wrong_with(check_task(contents, task)), HasSubstr("needs a destination"));
  task.arguments["destination"] = "h1";
  EXPECT_THAT(wrong_with(check_task(contents, task)), HasSubstr("at host h1 already"));
  task.arguments["destination"] = "h9";
  EXPECT_THAT(wrong_with(check_task(contents, task)), HasSubstr("no host h9"));
  task.arguments["destination"] = "h2";
  EXPECT_TRUE(check_task(contents, task));
  task.application = "vm9";
  EXPECT_THAT(wrong_with(check_task(contents, task)), HasSubstr("no application vm9"));
  task.application = "vm2";
  EXPECT_THAT(wrong_with(check_task(contents, task)), HasSubstr("no binding"));
}

}  // namespace
}  // namespace homeport::agent
