#include "agent/network/desired_state.h"
#include "overlay/datapath/map_image.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace homeport::agent {
namespace {

using overlay::LocalPort;
using overlay::Location;
using overlay::RemoteHost;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

policy::IpAddress ip(const char* text) {
  return boost::asio::ip::make_address(text);
}

/// A VM at hostA, a client's device at hostC, in one network; seen from hostA unless said
/// otherwise.
class DesiredStateTest : public testing::Test {
 protected:
  DesiredStateTest() {
    for (auto [name, vtep] :
         {std::pair{"hostA", "192.0.2.1"}, {"hostB", "192.0.2.2"}, {"hostC", "192.0.2.3"}}) {
      Host host;
      host.name = name;
      host.vteps = {ip(vtep)};
      contents.hosts[name] = host;
    }
    Network network;
    network.name = "net1";
    network.vni = 100;
    contents.networks["net1"] = network;
    add("vm1", "hostA", "02:00:00:00:00:01", "10.1.0.1", Driver::qemu);
    add("client", "hostC", "02:00:00:00:00:02", "10.1.0.2", Driver::netdev);
    contents.applications["client"].properties["device"] = "cli0";
    view.host = "hostA";
    view.mtu_limit = 1430;
    view.devices = {"lo", tap_name("vm1")};
  }

  void add(const std::string& name, const std::string& host, const char* mac, const char* address,
           Driver driver) {
    Application application;
    application.name = name;
    application.driver = driver;
    contents.applications[name] = application;
    Binding binding;
    binding.name = binding.application = name;
    binding.network = "net1";
    binding.mac = *policy::MacAddress::parse(mac);
    binding.prior_addresses = {ip(address)};
    binding.location = host;
    binding.generation = 1;
    contents.bindings.insert_or_assign(name, binding);
  }

  void set_class(const std::string& name, const char* traffic_class) {
    Binding binding = contents.bindings.at(name);
    binding.traffic_class = traffic_class;
    contents.bindings.insert_or_assign(name, binding);
  }

  void set_network(const std::string& name, const std::string& network) {
    Binding binding = contents.bindings.at(name);
    binding.network = network;
    contents.bindings.insert_or_assign(name, binding);
  }

  Location location(const std::string& name) {
    std::vector<std::string> problems;
    auto entry = address_of(contents, view, contents.bindings.at(name), problems);
    EXPECT_TRUE(entry) << name;
    return entry ? entry->location : Location{};
  }

  std::vector<policy::IpAddress> addresses(const std::string& name) {
    std::vector<std::string> problems;
    auto entry = address_of(contents, view, contents.bindings.at(name), problems);
    EXPECT_TRUE(entry) << name;
    return entry ? entry->ips : std::vector<policy::IpAddress>{};
  }

  Contents contents;
  LocalView view;
};

TEST_F(DesiredStateTest, WhatIsHereIsAPortAndWhatIsElsewhereARemoteAddress) {
  Desired desired = desired_state(contents, view);
  EXPECT_THAT(desired.problems(), IsEmpty());
  EXPECT_EQ(location("vm1"), Location(LocalPort{tap_name("vm1")}));
  EXPECT_EQ(location("client"), Location(RemoteHost{ip("192.0.2.3")}));
  ASSERT_EQ(desired.state.ports.size(), 1u);
  EXPECT_EQ(desired.state.ports[0].device, tap_name("vm1"));
  EXPECT_FALSE(desired.state.ports[0].held);
  EXPECT_THAT(desired.state.networks,
              ElementsAre(overlay::NetworkEntry{100, 1430, {ip("192.0.2.3")}}));
  EXPECT_THAT(desired.state.vteps, ElementsAre(ip("192.0.2.2"), ip("192.0.2.3")));
}

TEST_F(DesiredStateTest, WhatWasHereIsSentOnAndNothingElseIs) {
  view.been_here = {"vm1"};
  auto relayed = [&](const std::string& name) {
    std::vector<std::string> problems;
    return address_of(contents, view, contents.bindings.at(name), problems)->relayed;
  };
  EXPECT_TRUE(desired_state(contents, view).own.at("vm1").is_here());
  EXPECT_FALSE(relayed("vm1"));
  // Before the commit, and after it.
  view.moves["vm1"] = {MoveView::Place::redirected, "hostB"};
  EXPECT_TRUE(relayed("vm1"));
  view.moves.clear();
  Binding moved = contents.bindings.at("vm1");
  moved.location = "hostB";
  contents.bindings.insert_or_assign("vm1", moved);
  EXPECT_TRUE(relayed("vm1"));
  EXPECT_FALSE(desired_state(contents, view).own.at("vm1").is_here());
  EXPECT_FALSE(relayed("client"));
  // Where it is going it has not been.
  view.host = "hostB";
  view.been_here.clear();
  moved.location = "hostA";
  contents.bindings.insert_or_assign("vm1", moved);
  view.moves["vm1"] = {MoveView::Place::incoming, {}};
  EXPECT_FALSE(relayed("vm1"));
}

TEST_F(DesiredStateTest, WhatIsToldAndNewerThanTheDatabaseCounts) {
  view.told["client"] = {"hostB", 2, {}};
  EXPECT_EQ(location("client"), Location(RemoteHost{ip("192.0.2.2")}));
  view.told["client"].generation = 1;
  EXPECT_EQ(location("client"), Location(RemoteHost{ip("192.0.2.3")}));
  // What is here is known better here.
  view.host = "hostB";
  view.told["vm1"] = {"hostC", 9, {}};
  view.moves["vm1"] = {MoveView::Place::here, {}};
  EXPECT_EQ(location("vm1"), Location(LocalPort{tap_name("vm1")}));
}

TEST_F(DesiredStateTest, AnIncomingApplicationIsHeldWhileItsAddressStaysElsewhere) {
  view.host = "hostB";
  view.moves["vm1"] = {MoveView::Place::incoming, {}};
  EXPECT_EQ(location("vm1"), Location(RemoteHost{ip("192.0.2.1")}));
  Desired desired = desired_state(contents, view);
  ASSERT_EQ(desired.state.ports.size(), 1u);
  EXPECT_TRUE(desired.state.ports[0].held);
}

TEST_F(DesiredStateTest, ATakenApplicationIsHereAheadOfTheDatabase) {
  view.host = "hostB";
  view.moves["vm1"] = {MoveView::Place::here, {}};
  EXPECT_EQ(location("vm1"), Location(LocalPort{tap_name("vm1")}));
  EXPECT_FALSE(desired_state(contents, view).state.ports[0].held);
}

TEST_F(DesiredStateTest, ARedirectedApplicationIsRemoteAndItsDeviceStaysAPort) {
  view.moves["vm1"] = {MoveView::Place::redirected, "hostB"};
  EXPECT_EQ(location("vm1"), Location(RemoteHost{ip("192.0.2.2")}));
  EXPECT_EQ(desired_state(contents, view).state.ports.size(), 1u);
}

TEST_F(DesiredStateTest, ANetworksHostsAreThoseThatHaveAnApplicationOfIt) {
  add("vm2", "hostC", "02:00:00:00:00:03", "10.1.0.3", Driver::qemu);
  Network other;
  other.name = "net2";
  other.vni = 200;
  contents.networks["net2"] = other;
  add("vm3", "hostB", "02:00:00:00:00:04", "10.1.0.4", Driver::qemu);
  set_network("vm3", "net2");
  auto hosts = [&] { return desired_state(contents, view).state.networks.at(0).hosts; };
  EXPECT_THAT(hosts(), ElementsAre(ip("192.0.2.3")));
  // On its way to a host is as good as there, for what follows this.
  view.moves["vm1"] = {MoveView::Place::redirected, "hostB"};
  EXPECT_THAT(hosts(), ElementsAre(ip("192.0.2.2"), ip("192.0.2.3")));
  // Where it arrives, its old host is known before the guest runs and announces itself.
  view.host = "hostB";
  view.moves["vm1"] = {MoveView::Place::incoming, {}};
  EXPECT_THAT(hosts(), ElementsAre(ip("192.0.2.1"), ip("192.0.2.3")));
}

TEST_F(DesiredStateTest, CurrentAddressesAreAnsweredToo) {
  Binding binding = contents.bindings.at("vm1");
  binding.current_addresses = {ip("fd00::1"), ip("10.1.0.1")};
  std::vector<std::string> problems;
  auto entry = address_of(contents, view, binding, problems);
  ASSERT_TRUE(entry);
  EXPECT_THAT(entry->ips, ElementsAre(ip("10.1.0.1"), ip("fd00::1")));
}

TEST_F(DesiredStateTest, APortIsOfTheClassOfItsBinding) {
  const std::pair<const char*, policy::TrafficClass> classes[] = {
      {"", policy::TrafficClass::best_effort},
      {"default", policy::TrafficClass::best_effort},
      {"interactive", policy::TrafficClass::interactive},
      {"bulk", policy::TrafficClass::bulk}};
  for (const auto& [name, traffic_class] : classes) {
    set_class("vm1", name);
    const Desired desired = desired_state(contents, view);
    ASSERT_EQ(desired.state.ports.size(), 1u);
    EXPECT_EQ(desired.state.ports[0].traffic_class, traffic_class) << name;
    EXPECT_THAT(desired.problems(), IsEmpty());
  }
}

TEST_F(DesiredStateTest, AClassThatIsNoneIsTheDefaultOneAndNamed) {
  set_class("vm1", "go\x1bld");
  set_class("client", "silver");  // which is elsewhere
  const Desired desired = desired_state(contents, view);
  ASSERT_EQ(desired.state.ports.size(), 1u);
  EXPECT_EQ(desired.state.ports[0].traffic_class, policy::TrafficClass::best_effort);
  EXPECT_THAT(desired.problems(),
              ElementsAre("vm1 is of the traffic class \"go?ld\", which is neither interactive nor "
                          "default nor bulk: it is treated as default"));
}

TEST_F(DesiredStateTest, SaysWhatCannotBeProgrammedAndGoesOn) {
  add("here", "hostA", "02:00:00:00:00:03", "10.1.0.3", Driver::netdev);
  contents.applications["here"].properties["device"] = "here0";
  view.devices.clear();
  contents.hosts["hostC"].vteps.clear();
  Desired desired = desired_state(contents, view);
  EXPECT_THAT(desired.problems(),
              testing::UnorderedElementsAre(HasSubstr("client is at host hostC"),
                                            HasSubstr("here is here, but its device here0")));
  EXPECT_THAT(desired.state.addresses, IsEmpty());
  set_network("vm1", "nowhere");
  EXPECT_THAT(desired_state(contents, view).problems(),
              testing::Contains(HasSubstr("network nowhere")));
}

TEST_F(DesiredStateTest, AddressOutsideItsNetworkIsLeftOutAndTheRestIsCarried) {
  contents.networks["net1"].subnets = {*Subnet::parse("10.1.0.0/24"), *Subnet::parse("fd01::/64")};
  Binding binding = contents.bindings.at("client");
  binding.prior_addresses = {ip("10.1.0.2"), ip("198.51.100.2"), ip("fd01::2")};
  contents.bindings.insert_or_assign("client", binding);
  Desired desired = desired_state(contents, view);
  EXPECT_THAT(desired.problems(),
              ElementsAre(AllOf(HasSubstr("198.51.100.2"), HasSubstr("client"),
                                HasSubstr("outside the subnets of network net1"))));
  ASSERT_EQ(desired.state.addresses.size(), 2u);
  EXPECT_THAT(desired.state.addresses[1].ips, ElementsAre(ip("10.1.0.2"), ip("fd01::2")));
}

TEST_F(DesiredStateTest, AddressesThatAreNobodysBeyondTheLinkAreNotCarried) {
  Binding binding = contents.bindings.at("vm1");
  for (const char* text : {"224.0.0.9", "255.255.255.255", "127.0.0.1", "fe80::5", "::1"}) {
    binding.prior_addresses = {ip("10.1.0.1"), ip(text)};
    binding.current_addresses = {ip(text)};
    contents.bindings.insert_or_assign("vm1", binding);
    EXPECT_THAT(addresses("vm1"), ElementsAre(ip("10.1.0.1"))) << text;
    EXPECT_THAT(desired_state(contents, view).problems(),
                ElementsAre(AllOf(HasSubstr(text), HasSubstr("a prior address of vm1")),
                            AllOf(HasSubstr(text), HasSubstr("a current address of vm1"))));
  }
}

/// Hosts would lose the database to an application that has its address.
TEST_F(DesiredStateTest, TheDatabasesAddressIsNoApplicationsWhereHostsHaveAccess) {
  view.database = {ip("192.0.2.10")};
  Binding binding = contents.bindings.at("client");
  binding.prior_addresses = {ip("10.1.0.2"), ip("192.0.2.10")};
  contents.bindings.insert_or_assign("client", binding);
  EXPECT_THAT(addresses("client"), ElementsAre(ip("10.1.0.2"), ip("192.0.2.10")));
  contents.networks["net1"].host_access = true;
  EXPECT_THAT(addresses("client"), ElementsAre(ip("10.1.0.2")));
  EXPECT_THAT(desired_state(contents, view).problems(),
              ElementsAre(AllOf(HasSubstr("192.0.2.10"), HasSubstr("the control database's"))));
}

TEST_F(DesiredStateTest, HostsReachEachOtherByVtepsOfOneFamily) {
  view.vtep = ip("192.0.2.1");
  contents.hosts["hostC"].vteps = {ip("2001:db8::3")};
  EXPECT_THAT(desired_state(contents, view).problems(),
              ElementsAre(AllOf(HasSubstr("client is at host hostC"), HasSubstr("2001:db8::3"),
                                HasSubstr("another family"))));
  contents.hosts["hostC"].vteps.push_back(ip("192.0.2.3"));
  EXPECT_THAT(desired_state(contents, view).problems(), IsEmpty());
  EXPECT_EQ(location("client"), Location(RemoteHost{ip("192.0.2.3")}));
}

TEST_F(DesiredStateTest, OfTwoNetworksWithOneVniTheFirstIsCarried) {
  Network other;
  other.name = "net2";
  other.vni = 100;
  contents.networks["net2"] = other;
  set_network("client", "net2");
  Desired desired = desired_state(contents, view);
  EXPECT_THAT(desired.problems(), ElementsAre("network net2 has the VNI of network net1: it is not "
                                              "carried"));
  ASSERT_EQ(desired.state.addresses.size(), 1u);
  EXPECT_EQ(desired.state.networks.size(), 1u);
}

TEST_F(DesiredStateTest, AddressThatTwoHaveIsNamedOnceAndTheRestIsCarried) {
  add("twin", "hostB", "02:00:00:00:00:07", "10.1.0.2", Driver::netdev);
  Desired desired = desired_state(contents, view);
  EXPECT_THAT(desired.problems(), IsEmpty()) << "the datapath sees it";
  const auto compiled =
      overlay::compile(desired.state, {{tap_name("vm1"), {11, false}}}, overlay::MapImage{});
  EXPECT_THAT(compiled.problems, ElementsAre(HasSubstr("10.1.0.2")));
  EXPECT_EQ(compiled.image.addresses.size(), 3u);
}

TEST_F(DesiredStateTest, AGuestThatDoesNotRunIsNoProblem) {
  view.devices.clear();
  Desired desired = desired_state(contents, view);
  EXPECT_THAT(desired.problems(), IsEmpty());
  EXPECT_THAT(desired.state.ports, IsEmpty());
  view.moves["vm1"] = {MoveView::Place::here, {}};
  EXPECT_THAT(desired_state(contents, view).problems(),
              ElementsAre(HasSubstr("vm1 is here, but its device")));
}

TEST_F(DesiredStateTest, ANetworksMtuCanOnlyBeSmallerThanTheUnderlayAllows) {
  contents.networks["net1"].mtu = 1300;
  EXPECT_EQ(desired_state(contents, view).state.networks[0].mtu, 1300u);
  contents.networks["net1"].mtu = 9000;
  EXPECT_EQ(desired_state(contents, view).state.networks[0].mtu, 1430u);
}

TEST_F(DesiredStateTest, ANetworkForHostsOwnProcessesIsOnEveryHost) {
  contents.networks["net1"].gateways = {ip("10.1.0.254")};
  contents.networks["net1"].unknown = UnknownDestination::normal;
  view.host = "hostB";
  view.devices = {"lo"};
  Desired desired = desired_state(contents, view);
  EXPECT_THAT(desired.state.networks, IsEmpty());
  EXPECT_THAT(desired.state.hosts, IsEmpty());

  contents.networks["net1"].host_access = true;
  desired = desired_state(contents, view);
  EXPECT_THAT(desired.problems(), IsEmpty());
  EXPECT_THAT(desired.state.networks,
              ElementsAre(overlay::NetworkEntry{.vni = 100,
                                                .mtu = 1430,
                                                .hosts = {ip("192.0.2.1"), ip("192.0.2.3")},
                                                .gateways = {ip("10.1.0.254")},
                                                .normal = true,
                                                .host_access = true}));
}

TEST_F(DesiredStateTest, AHostsAddressesAreThoseThatNoOtherHasToo) {
  contents.networks["net1"].host_access = true;
  std::uint8_t row = 0;
  for (auto [host, address] : {std::pair{"hostA", "198.51.100.1"},
                               {"hostB", "198.51.100.2"},
                               {"hostA", "172.17.0.1"},  // of a bridge for containers
                               {"hostB", "172.17.0.1"},
                               {"hostB", "192.0.2.2"},  // its VTEP once more
                               {"gone", "198.51.100.9"}}) {
    Interface interface;
    interface.uuid = Uuid{{++row}};
    interface.host = host;
    interface.address = ip(address);
    contents.interfaces[interface.uuid] = interface;
  }
  EXPECT_THAT(desired_state(contents, view).state.hosts,
              ElementsAre(overlay::HostAddress{ip("192.0.2.1"), std::nullopt},
                          overlay::HostAddress{ip("192.0.2.2"), ip("192.0.2.2")},
                          overlay::HostAddress{ip("192.0.2.3"), ip("192.0.2.3")},
                          overlay::HostAddress{ip("198.51.100.1"), std::nullopt},
                          overlay::HostAddress{ip("198.51.100.2"), ip("192.0.2.2")}));
}

TEST_F(DesiredStateTest, TapNamesFitAndDiffer) {
  EXPECT_LE(tap_name("an-application-with-a-long-name/eth0").size(), 15u);
  EXPECT_NE(tap_name("vm1"), tap_name("vm2"));
  EXPECT_EQ(tap_name("vm1"), tap_name("vm1"));
}

}  // namespace
}  // namespace homeport::agent
