#include "agent/trace/question.h"

#include "agent/network/desired_state.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace homeport::agent {
namespace {

using overlay::FromHost;
using overlay::FromPort;
using testing::HasSubstr;
using Query = std::map<std::string, std::string, std::less<>>;

policy::IpAddress ip(const char* text) {
  return boost::asio::ip::make_address(text);
}

TEST(TraceQuestionTest, HasDefaultsForAllButWhoAndWhere) {
  const TraceQuestion question = parse_question({{"from", "vm1"}, {"to", "10.1.0.5"}}).value();
  EXPECT_EQ(question, (TraceQuestion{.from = "vm1", .to = ip("10.1.0.5")}));
  const TraceQuestion full = parse_question({{"from", "host"},
                                             {"to", "fd01::5"},
                                             {"source", "fd01::6"},
                                             {"protocol", "icmp"},
                                             {"length", "1500"},
                                             {"hops", "1"},
                                             {"fragment", "yes"},
                                             {"at", "hostB"}})
                                 .value();
  EXPECT_EQ(full, (TraceQuestion{.from = "host",
                                 .to = ip("fd01::5"),
                                 .source = ip("fd01::6"),
                                 .protocol = 58,
                                 .length = 1500,
                                 .hops = 1,
                                 .dont_fragment = false,
                                 .at = "hostB"}));
}

TEST(TraceQuestionTest, HasPorts) {
  const TraceQuestion question = parse_question({{"from", "vm1"},
                                                 {"to", "10.1.0.5"},
                                                 {"protocol", "sctp"},
                                                 {"port", "3868"},
                                                 {"source_port", "65535"}})
                                     .value();
  EXPECT_EQ(question, (TraceQuestion{.from = "vm1",
                                     .to = ip("10.1.0.5"),
                                     .protocol = 132,
                                     .port = 3868,
                                     .source_port = 65535}));
}

TEST(TraceQuestionTest, SaysWhatIsWrongAndRepeatsNothing) {
  const std::vector<std::pair<Query, const char*>> cases = {
      {{}, "from"},
      {{{"from", "vm1"}}, "to (an address)"},
      {{{"from", "vm1"}, {"to", "echo"}}, "parameter to is"},
      {{{"from", "vm1"}, {"to", "0.0.0.0"}}, "parameter to is not"},
      {{{"from", "vm1"}, {"to", "127.0.0.1"}}, "parameter to is not"},
      {{{"from", "vm1"}, {"to", "fe80::1"}}, "Link-local"},
      {{{"from", "vm1"}, {"to", "fe80::1%1"}}, "Link-local"},
      {{{"from", "vm1"}, {"to", "10.0.0.1"}, {"source", "fd00::1"}}, "different families"},
      {{{"from", "vm1"}, {"to", "10.0.0.1"}, {"source", "224.0.0.1"}}, "parameter source is not"},
      {{{"from", "vm1"}, {"to", "10.0.0.1"}, {"length", "47"}}, "from 48 to 65535"},
      {{{"from", "vm1"}, {"to", "10.0.0.1"}, {"length", "65536"}}, "from 48 to 65535"},
      {{{"from", "vm1"}, {"to", "10.0.0.1"}, {"length", "99echo"}}, "from 48 to 65535"},
      {{{"from", "vm1"}, {"to", "10.0.0.1"}, {"hops", "0"}}, "from 1 to 255"},
      {{{"from", "vm1"}, {"to", "10.0.0.1"}, {"at", "echo"}}, "goes with host"},
      {{{"from", "vm1"}, {"to", "10.0.0.1"}, {"port", "0"}}, "parameter port is a number from 1"},
      {{{"from", "vm1"}, {"to", "10.0.0.1"}, {"source_port", "65536"}}, "from 1 to 65535"},
      {{{"from", "vm1"}, {"to", "10.0.0.1"}, {"protocol", "icmp"}, {"port", "7"}}, "no ports"},
      {{{"from", std::string(256, 'x')}, {"to", "10.0.0.1"}}, "from 1 to 255 bytes"}};
  for (const auto& [query, why] : cases) {
    auto question = parse_question(query);
    ASSERT_FALSE(question) << why;
    EXPECT_EQ(question.error().code, boost::system::errc::invalid_argument);
    EXPECT_THAT(question.error().message, HasSubstr(why));
    EXPECT_THAT(question.error().message, testing::Not(HasSubstr("echo")));
  }
}

/// vm1 at hostA in two networks, vm2 at hostB.
class TraceBeginningTest : public testing::Test {
 protected:
  TraceBeginningTest() {
    Host host;
    host.name = "hostA";
    host.vteps = {ip("192.0.2.1")};
    contents.hosts["hostA"] = host;
    add_network("net1", 100, {"10.1.0.0/24", "fd01::/64"}, {ip("10.1.0.254"), ip("fd01::fe")});
    add_network("net2", 200, {"10.2.0.0/24"}, {});
    add("vm1-a", "vm1", "net1", 1, {ip("10.1.0.5"), ip("fd01::5"), ip("203.0.113.5")}, "hostA");
    add("vm1-b", "vm1", "net2", 2, {ip("10.2.0.5")}, "hostA");
    add("vm2", "vm2", "net2", 3, {ip("198.51.100.7")}, "hostB");
  }

  void add_network(const std::string& name, policy::Vni vni, std::vector<const char*> subnets,
                   std::vector<policy::IpAddress> gateways) {
    Network network;
    network.name = name;
    network.vni = vni;
    for (const char* subnet : subnets) network.subnets.push_back(*Subnet::parse(subnet));
    network.gateways = std::move(gateways);
    contents.networks[name] = network;
  }

  void add(const std::string& name, const std::string& application, const std::string& network,
           std::uint8_t mac, std::vector<policy::IpAddress> addresses,
           const std::string& location) {
    contents.applications[application].name = application;
    Binding binding;
    binding.name = name;
    binding.application = application;
    binding.network = network;
    binding.mac = {{2, 0, 0, 0, 0, mac}};
    binding.prior_addresses = std::move(addresses);
    binding.location = location;
    contents.bindings.insert_or_assign(name, binding);
  }

  policy::Result<TraceBeginning> begin(const char* from, const char* to) const {
    return begin_trace({.from = from, .to = ip(to)}, contents, "hostA");
  }

  Contents contents;
};

TEST_F(TraceBeginningTest, AnApplicationAsksForItsNeighborOrForItsRouter) {
  const TraceBeginning direct = begin("vm1", "10.1.0.9").value();
  const auto& port = std::get<FromPort>(direct.origin);
  EXPECT_EQ(port.device, tap_name("vm1-a"));
  EXPECT_EQ(port.next_hop, ip("10.1.0.9"));
  EXPECT_EQ(direct.packet.source, ip("10.1.0.5"));
  EXPECT_EQ(direct.packet.source_mac, (policy::MacAddress{{2, 0, 0, 0, 0, 1}}));
  const TraceBeginning routed = begin("vm1", "203.0.113.99").value();
  EXPECT_EQ(std::get<FromPort>(routed.origin).next_hop, ip("10.1.0.254"));
  const TraceBeginning router = begin("vm1", "10.1.0.254").value();
  EXPECT_EQ(std::get<FromPort>(router.origin).next_hop, ip("10.1.0.254"));
  EXPECT_EQ(std::get<FromPort>(begin("vm1", "fd09::1").value().origin).next_hop, ip("fd01::fe"));
}

TEST_F(TraceBeginningTest, ThePortIsTheOneWhoseNetworkHasTheDestination) {
  EXPECT_EQ(begin("vm1", "198.51.100.7").value().packet.source, ip("10.2.0.5"));
  EXPECT_EQ(begin("vm1", "10.2.0.77").value().packet.source, ip("10.2.0.5"));
  EXPECT_EQ(begin("vm1-b", "10.1.0.77").value().packet.source, ip("10.2.0.5"));
  TraceQuestion question{.from = "vm1", .to = ip("198.51.100.7"), .source = ip("203.0.113.5")};
  const TraceBeginning chosen = begin_trace(question, contents, "hostA").value();
  EXPECT_EQ(std::get<FromPort>(chosen.origin).device, tap_name("vm1-a"));
  EXPECT_EQ(chosen.packet.source, ip("203.0.113.5"));
}

TEST_F(TraceBeginningTest, AGroupHasAMacAddressOfItsOwn) {
  auto mac = [&](const char* to) {
    const TraceBeginning beginning = begin("vm1-a", to).value();
    EXPECT_FALSE(std::get<FromPort>(beginning.origin).next_hop);
    return beginning.packet.destination_mac.to_string();
  };
  EXPECT_EQ(mac("239.129.2.3"), "01:00:5e:01:02:03");
  EXPECT_EQ(mac("ff02::1:ff00:5"), "33:33:ff:00:00:05");
  EXPECT_EQ(mac("255.255.255.255"), "ff:ff:ff:ff:ff:ff");
  EXPECT_EQ(mac("10.1.0.255"), "ff:ff:ff:ff:ff:ff");
}

TEST_F(TraceBeginningTest, AHostSendsFromItsVtep) {
  const TraceBeginning beginning = begin("host", "10.1.0.5").value();
  EXPECT_TRUE(std::holds_alternative<FromHost>(beginning.origin));
  EXPECT_EQ(beginning.packet.source, ip("192.0.2.1"));
  EXPECT_THAT(begin("host", "fd01::5").error().message, HasSubstr("no IPv6 address"));
  EXPECT_THAT(begin("host", "224.0.0.1").error().message, HasSubstr("group"));
}

TEST_F(TraceBeginningTest, SaysWhoCannotSend) {
  EXPECT_EQ(begin("echo", "10.1.0.5").error().code, boost::system::errc::no_such_file_or_directory);
  EXPECT_THAT(begin("echo", "10.1.0.5").error().message, HasSubstr("homeport app list"));
  EXPECT_THAT(begin("vm2", "fd01::5").error().message, HasSubstr("no IPv6 address"));
}

TEST_F(TraceBeginningTest, IsAskedOfTheHostWhereItStarts) {
  auto host = [&](TraceQuestion question) { return host_of(question, contents, "hostC"); };
  EXPECT_EQ(host({.from = "vm1", .to = {}}).value(), "hostA");
  EXPECT_EQ(host({.from = "vm2", .to = {}}).value(), "hostB");
  EXPECT_EQ(host({.from = "host", .to = {}}).value(), "hostC");
  EXPECT_EQ(host({.from = "host", .to = {}, .at = "hostA"}).value(), "hostA");
  EXPECT_FALSE(host({.from = "host", .to = {}, .at = "hostX"}));
  add("vm3", "vm3", "net1", 4, {ip("10.1.0.6")}, "");
  EXPECT_THAT(host({.from = "vm3", .to = {}}).error().message, HasSubstr("at no host"));
}

}  // namespace
}  // namespace homeport::agent
