// The ways to other hosts, and the addresses that those say are theirs.
#include "agent/network/virtual_network.h"

#include "tests/unit/agent/paths/fake_datapath.h"
#include "tests/unit/overlay/ovsdb/test_server.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <boost/asio/io_context.hpp>

#include <optional>

namespace homeport::agent {
namespace {

using overlay::PathEntry;
using overlay::ProbePair;
using overlay::VtepAlias;
using policy::TrafficClass;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;
using testing::UnorderedElementsAre;

policy::IpAddress ip(const char* text) {
  return boost::asio::ip::make_address(text);
}

/// hostA is this host; hostB and hostC are others.
class DesiredWays : public testing::Test {
 protected:
  DesiredWays() {
    for (auto [name, vtep] :
         {std::pair{"hostA", "192.0.2.1"}, {"hostB", "192.0.2.2"}, {"hostC", "192.0.2.3"}}) {
      Host host;
      host.name = name;
      host.vteps = {ip(vtep)};
      contents.hosts[name] = host;
    }
    view.host = "hostA";
    view.vtep = ip("192.0.2.1");
  }
  std::vector<VtepAlias> aliases() const { return desired_state(contents, view).state.aliases; }

  Contents contents;
  LocalView view;
};

TEST_F(DesiredWays, AreThoseOfHostsThatAreThere) {
  view.ways[{ip("192.0.2.2"), TrafficClass::bulk}] = {ip("198.51.100.1"), ip("198.51.100.2")};
  view.ways[{ip("192.0.2.9"), TrafficClass::bulk}] = {ip("198.51.100.1"), ip("198.51.100.9")};
  EXPECT_THAT(desired_state(contents, view).state.paths,
              ElementsAre(PathEntry{ip("192.0.2.2"), TrafficClass::bulk, ip("198.51.100.1"),
                                    ip("198.51.100.2")}));
  contents.hosts.erase("hostB");
  EXPECT_THAT(desired_state(contents, view).state.paths, IsEmpty());
}

TEST_F(DesiredWays, OnlyBetweenHostsThatAreThereIsRelayed) {
  const overlay::RelayEntry relayed{overlay::kFirstLabel, ip("192.0.2.2"), ip("192.0.2.3"), 100};
  view.relays = {relayed,
                 {overlay::kFirstLabel + 1, ip("192.0.2.2"), ip("192.0.2.9"), 100},
                 {overlay::kFirstLabel + 2, ip("192.0.2.9"), ip("192.0.2.3"), 100}};
  EXPECT_THAT(desired_state(contents, view).state.relays, ElementsAre(relayed));
}

TEST_F(DesiredWays, NobodyClaimsWhatIsAnothersOrThisHosts) {
  view.aliases[ip("192.0.2.2")] = {ip("198.51.100.2"), ip("192.0.2.1"), ip("192.0.2.2"),
                                   ip("192.0.2.3")};
  view.aliases[ip("192.0.2.9")] = {ip("198.51.100.9")};  // of a host that is gone
  EXPECT_THAT(aliases(), ElementsAre(VtepAlias{ip("198.51.100.2"), ip("192.0.2.2")}));
  view.aliases[ip("192.0.2.3")] = {ip("198.51.100.2"), ip("198.51.100.3")};
  EXPECT_THAT(aliases(), UnorderedElementsAre(VtepAlias{ip("198.51.100.2"), ip("192.0.2.2")},
                                              VtepAlias{ip("198.51.100.3"), ip("192.0.2.3")}));
}

/// On a datapath that remembers, with the same hosts in a real database, and an application at
/// hostA and at hostB.
class NetworkWays : public testing::Test {
 protected:
  NetworkWays() {
    std::string rows = R"({"op":"insert","table":"Network","row":{"name":"net1","vni":100}})";
    for (auto [name, vtep] :
         {std::pair{"hostA", "192.0.2.1"}, {"hostB", "192.0.2.2"}, {"hostC", "192.0.2.3"}}) {
      rows += fmt::format(R"(,{{"op":"insert","table":"Host","row":{{"name":"{}","vteps":"{}"}}}})",
                          name, vtep);
    }
    rows += application("app1", "hostA", 1) + application("app2", "hostB", 2);
    server.transact(rows);
    start();
  }

  static std::string application(const char* name, const char* host, int number) {
    return fmt::format(
        R"(,{{"op":"insert","table":"Application","row":{{"name":"{0}","driver":"netdev",)"
        R"("properties":["map",[["device","app0"]]]}}}},)"
        R"({{"op":"insert","table":"Binding","row":{{"name":"{0}","application":"{0}",)"
        R"("network":"net1","mac":"52:54:00:00:00:{2:02x}","location":"{1}","generation":1}}}})",
        name, host, number);
  }

  /// Another agent of the same host.
  void start() {
    network.reset();
    database.emplace(io.get_executor(), options());
    network.emplace(
        *database, datapath, LocalView{.host = "hostA", .mtu_limit = 1430, .vtep = ip("192.0.2.1")},
        VirtualNetwork::Devices{[] { return std::set<std::string>{"app0"}; },
                                [](const std::string& name) { return name == "app0"; }});
    database->on_change([this] {
      network->follow(database->changes());
      changed.notify();
    });
    database->start();
    homeport::test::run(io, changed.wait([this] { return network->programmed(); }));
  }
  void transact(const std::string& rows, const std::function<bool()>& until) {
    server.transact(rows);
    homeport::test::run(io, changed.wait(until));
  }

  boost::asio::io_context io;
  homeport::test::TestServer server;
  homeport::test::Condition changed{io};
  test::FakeDatapath datapath;
  std::optional<ControlDatabase> database;
  std::optional<VirtualNetwork> network;
  const policy::IpAddress b = ip("192.0.2.2"), c = ip("192.0.2.3");
  const Way way{ip("198.51.100.1"), ip("198.51.100.2")};

 private:
  DatabaseOptions options() const {
    DatabaseOptions options;
    options.session.remotes = server.remote();
    return options;
  }
};

TEST_F(NetworkWays, AreProgrammedAtOnceAndStay) {
  const int before = datapath.applied;
  network->use_way({b, TrafficClass::bulk}, way);
  EXPECT_EQ(datapath.way(b, TrafficClass::bulk), (ProbePair{way.local, way.remote}));
  EXPECT_EQ(datapath.applied, before) << "at the cost of that";
  network->reconcile();
  EXPECT_THAT(datapath.state.paths, SizeIs(1));
  EXPECT_THAT(network->differences().value(), IsEmpty());
  network->use_way({b, TrafficClass::bulk}, {ip("198.51.100.1"), ip("2001:db8::2")});
  EXPECT_EQ(datapath.way(b, TrafficClass::bulk), (ProbePair{way.local, way.remote}))
      << "what cannot be is not";
}

TEST_F(NetworkWays, AnAgentThatStartsAgainHasThem) {
  network->use_way({b, TrafficClass::interactive}, way);
  EXPECT_TRUE(network->set_aliases(b, {ip("198.51.100.2")}));
  network->reconcile();
  const overlay::DesiredState before = datapath.state;
  start();
  EXPECT_THAT(network->ways(), ElementsAre(std::pair(WayKey{b, TrafficClass::interactive}, way)));
  EXPECT_EQ(datapath.state, before);
  EXPECT_FALSE(network->set_aliases(b, {ip("198.51.100.2")})) << "it is no news";
  EXPECT_FALSE(network->set_aliases(c, {ip("198.51.100.2")})) << "it is hostB's";
}

TEST_F(NetworkWays, WhatIsRelayedStaysLikewise) {
  const Way relayed{ip("192.0.2.1"), c, true, {{100, overlay::kFirstLabel + 7}}};
  network->use_way({b, TrafficClass::bulk}, relayed);
  EXPECT_THAT(datapath.state.paths, ElementsAre(PathEntry{b, TrafficClass::bulk, relayed.local, c,
                                                          true, relayed.labels}));
  const std::vector<overlay::RelayEntry> relays = {{overlay::kFirstLabel, b, c, 100},
                                                   {overlay::kFirstLabel + 1, c, b, 100}};
  EXPECT_TRUE(network->set_relays({relays[1], relays[0]}));
  EXPECT_FALSE(network->set_relays(relays));
  network->reconcile();
  EXPECT_EQ(datapath.state.relays, relays);
  const overlay::DesiredState before = datapath.state;
  start();
  EXPECT_THAT(network->ways(), ElementsAre(std::pair(WayKey{b, TrafficClass::bulk}, relayed)));
  EXPECT_EQ(network->relays(), relays);
  EXPECT_EQ(datapath.state, before);
  EXPECT_TRUE(network->set_relays({}));
  network->reconcile();
  EXPECT_THAT(datapath.state.relays, IsEmpty());
}

TEST_F(NetworkWays, WhoseAnAddressIs) {
  network->set_aliases(b, {ip("198.51.100.2")});
  EXPECT_TRUE(network->has_address(b, b));
  EXPECT_TRUE(network->has_address(b, ip("198.51.100.2")));
  EXPECT_FALSE(network->has_address(c, ip("198.51.100.2")));
  EXPECT_FALSE(network->has_address(b, ip("198.51.100.3")));
}

TEST_F(NetworkWays, AnAddressIsOfTheHostThatHasSaidSoFirst) {
  EXPECT_TRUE(network->set_aliases(c, {ip("198.51.100.2"), ip("198.51.100.3")}));
  EXPECT_TRUE(network->set_aliases(b, {ip("198.51.100.2"), ip("198.51.100.4")}));
  network->reconcile();
  EXPECT_THAT(datapath.state.aliases, UnorderedElementsAre(VtepAlias{ip("198.51.100.2"), c},
                                                           VtepAlias{ip("198.51.100.3"), c},
                                                           VtepAlias{ip("198.51.100.4"), b}));
  EXPECT_FALSE(network->set_aliases(b, {ip("198.51.100.2"), ip("198.51.100.4")}));
  EXPECT_TRUE(network->set_aliases(c, {ip("198.51.100.3")}));
  EXPECT_TRUE(network->set_aliases(b, {ip("198.51.100.2")})) << "it has been given up";
  network->reconcile();
  EXPECT_EQ(datapath.aliases(b), std::set{ip("198.51.100.2")});
}

TEST_F(NetworkWays, WhatIsOfAHostThatIsGoneMayBeAnothers) {
  EXPECT_TRUE(network->set_aliases(c, {ip("198.51.100.2")}));
  transact(R"({"op":"delete","table":"Host","where":[["name","==","hostC"]]})",
           [&] { return !database->hosts().contains("hostC"); });
  EXPECT_TRUE(network->set_aliases(b, {ip("198.51.100.2")}));
  network->reconcile();
  EXPECT_EQ(datapath.aliases(b), std::set{ip("198.51.100.2")});
  EXPECT_THAT(datapath.state.aliases, SizeIs(1));
}

TEST_F(NetworkWays, AreForgottenWithTheHostsAddresses) {
  network->use_way({b, TrafficClass::interactive}, way);
  network->use_way({b, TrafficClass::bulk}, way);
  network->use_way({c, TrafficClass::bulk}, {ip("198.51.100.1"), ip("198.51.100.3")});
  network->set_aliases(b, {ip("198.51.100.2")});
  EXPECT_TRUE(network->forget_ways(b));
  EXPECT_FALSE(network->forget_ways(b));
  network->reconcile();
  EXPECT_THAT(datapath.state.paths, SizeIs(1));
  EXPECT_THAT(datapath.state.aliases, IsEmpty());
  EXPECT_TRUE(network->set_aliases(c, {ip("198.51.100.2")}));
}

TEST_F(NetworkWays, NeighborsAreTheHostsOfItsNetworks) {
  EXPECT_THAT(network->neighbors(), ElementsAre(std::pair(b, std::set<policy::Vni>{100})));
  EXPECT_THAT(network->open_networks(), IsEmpty());
  const std::uint64_t version = network->neighbors_version();
  transact(R"({"op":"insert","table":"Policy","row":{"name":"fast"}})",
           [&] { return database->policies().contains("fast"); });
  EXPECT_EQ(network->neighbors_version(), version);
  network->reconcile();
  EXPECT_EQ(network->neighbors_version(), version);
  datapath.updates = true;
  transact(R"({"op":"update","table":"Binding","where":[["name","==","app2"]],)"
           R"("row":{"location":"hostC","generation":2}})",
           [&] { return network->neighbors_version() != version; });
  EXPECT_THAT(network->neighbors(), ElementsAre(testing::Key(c)));
  datapath.updates = false;
  const std::uint64_t later = network->neighbors_version();
  transact(R"({"op":"delete","table":"Network","where":[]})",
           [&] { return network->neighbors_version() != later; });
  EXPECT_THAT(network->neighbors(), IsEmpty());
}

}  // namespace
}  // namespace homeport::agent
