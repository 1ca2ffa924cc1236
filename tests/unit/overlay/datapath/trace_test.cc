// A trace by the contents of maps, and the page that tells its steps.
#include "overlay/datapath/map_trace.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <regex>
#include <set>

namespace homeport::overlay {
namespace {

using boost::asio::ip::make_address;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

policy::MacAddress mac(std::uint8_t last) {
  return {{0x02, 0, 0, 0, 0, last}};
}

std::vector<std::string_view> names(const Trace& trace) {
  std::vector<std::string_view> names;
  for (const TraceStep& step : trace.steps) names.push_back(step.step);
  return names;
}

/// An application here, one elsewhere, one on its way here.
class TraceTest : public testing::Test {
 protected:
  TraceTest() {
    state.networks = {{.vni = 7,
                       .mtu = 1430,
                       .hosts = {other},
                       .gateways = {make_address("10.0.0.254")},
                       .host_access = true}};
    state.ports = {{"tap1", 7, mac(1)}, {"tap3", 7, mac(3), true}};
    state.addresses = {{7, mac(1), {make_address("10.0.0.1")}, LocalPort{"tap1"}, 1},
                       {7, mac(2), {make_address("203.0.113.2")}, RemoteHost{other}, 4},
                       {7, mac(3), {make_address("10.0.0.3")}, RemoteHost{other}, 2, true}};
    state.vteps = {other, third};
    state.hosts = {{own, std::nullopt}, {other, other}};
    devices.names = {{1, "lo"}, {11, "tap1"}, {13, "tap3"}, {21, "homeport0"}, {22, "homeport1"}};
    devices.filtered = {11, 13, 21, 22};
    devices.vxlan = 21;
    devices.host = devices.route = 22;
    devices.route_mtu = 1430;
    packet.source_mac = mac(2);
    packet.destination_mac = mac(1);
    packet.source = make_address("203.0.113.2");
    packet.destination = make_address("10.0.0.1");
    packet.length = 100;
  }

  /// `tampered`: what somebody has done to the maps.
  Trace told(
      const TraceOrigin& from, const std::function<void(MapImage&)>& tampered = [](MapImage&) {}) {
    PortDevices ports;
    for (const auto& [ifindex, name] : devices.names) ports[name] = {ifindex, false};
    MapImage image = compile(state, ports, {}).image;
    tampered(image);
    return trace(ImageTables(image), devices, from, packet);
  }

  const policy::IpAddress own = make_address("192.0.2.1"), other = make_address("192.0.2.2"),
                          third = make_address("192.0.2.3");
  DesiredState state;
  TraceDevices devices;
  TracedPacket packet;
};

TEST_F(TraceTest, FromAPortThroughTheTunnel) {
  packet.source_mac = mac(1);
  packet.source = make_address("10.0.0.1");
  packet.destination = make_address("203.0.113.2");
  const Trace trace = told(FromPort{"tap1", packet.destination});
  EXPECT_THAT(names(trace), ElementsAre("port", "neighbor", "source", "destination", "delivery"));
  EXPECT_EQ(trace.end, TraceEnd::sent);
  EXPECT_THAT(trace.copies, ElementsAre(TraceCopy{{}, other, false}));
  EXPECT_EQ(trace.packet.destination_mac, mac(2));
  EXPECT_EQ(trace.steps[0].entry, "hp_ports 11");
  EXPECT_EQ(trace.steps[1].entry, "hp_neighbors 7 203.0.113.2");
  EXPECT_EQ(trace.steps[3].entry, "hp_addresses 7 02:00:00:00:00:02");
  EXPECT_THAT(trace.steps[3].found, HasSubstr("at 192.0.2.2; generation 4"));
  EXPECT_THAT(trace.counters, IsEmpty());
}

TEST_F(TraceTest, ByTheWayOfItsClass) {
  packet.source_mac = mac(1);
  packet.source = make_address("10.0.0.1");
  packet.destination = make_address("203.0.113.2");
  state.paths = {{other, policy::TrafficClass::bulk, make_address("198.51.100.1"),
                  make_address("198.51.100.2")}};
  EXPECT_THAT(names(told(FromPort{"tap1", packet.destination})),
              testing::Not(testing::Contains("path")));
  state.ports[0].traffic_class = policy::TrafficClass::bulk;
  const Trace trace = told(FromPort{"tap1", packet.destination});
  EXPECT_THAT(names(trace),
              ElementsAre("port", "neighbor", "source", "destination", "path", "delivery"));
  EXPECT_EQ(trace.steps[4].entry, "hp_paths 192.0.2.2 bulk");
  EXPECT_EQ(trace.steps[4].found, "from 198.51.100.1 to 198.51.100.2");
  EXPECT_THAT(trace.copies, ElementsAre(TraceCopy{{}, other, false}));
}

TEST_F(TraceTest, ByTheRuleForAPort) {
  packet.source_mac = mac(1);
  packet.source = make_address("10.0.0.1");
  packet.destination = make_address("203.0.113.2");
  packet.destination_port = 5005;
  state.ports[0].traffic_class = policy::TrafficClass::interactive;
  state.paths = {{other, policy::TrafficClass::bulk, make_address("198.51.100.1"),
                  make_address("198.51.100.2")}};
  state.port_rules = {{{17, 5000, 5999}, policy::TrafficClass::bulk},
                      {{17, 5004, 5007}, policy::TrafficClass::best_effort}};
  const auto step = [&](std::string_view name) {
    for (const TraceStep& each : told(FromPort{"tap1", packet.destination}).steps) {
      if (each.step == name) return each.entry + ": " + each.found;
    }
    return std::string("none");
  };
  EXPECT_EQ(step("class"), "hp_port_rules udp:5004-5007: the rule for these ports: default");
  EXPECT_EQ(step("path"), "none");
  packet.destination_port = 5008;
  EXPECT_EQ(step("class"), "hp_port_rules udp:5000-5999: the rule for these ports: bulk");
  EXPECT_EQ(step("path"), "hp_paths 192.0.2.2 bulk: from 198.51.100.1 to 198.51.100.2");
  packet.source_port = 5004;
  EXPECT_EQ(step("class"), "hp_port_rules udp:5004-5007: the rule for these ports: default");
  packet.protocol = 6;
  EXPECT_EQ(step("class"), "none");
  // What the host's own processes send, and what goes to a group, once.
  packet.protocol = 17;
  packet.source = own;
  const Trace host = told(FromHost{});
  EXPECT_THAT(names(host), ElementsAre("route", "route", "destination", "class", "delivery"));
  packet.source = make_address("10.0.0.1");
  packet.destination_mac = {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};
  EXPECT_THAT(names(told(FromPort{"tap1", std::nullopt})),
              ElementsAre("port", "source", "class", "group"));
}

TEST_F(TraceTest, ByTheLabelOfAHostThatRelays) {
  packet.source_mac = mac(1);
  packet.source = make_address("10.0.0.1");
  packet.destination = make_address("203.0.113.2");
  const auto address = make_address("198.51.100.3");
  state.aliases = {{address, third}};
  state.paths = {{other,
                  policy::TrafficClass::best_effort,
                  make_address("198.51.100.1"),
                  address,
                  true,
                  {{7, kFirstLabel}}}};
  const Trace trace = told(FromPort{"tap1", packet.destination});
  EXPECT_THAT(names(trace), ElementsAre("port", "neighbor", "source", "destination", "path",
                                        "label", "delivery"));
  EXPECT_EQ(trace.steps[4].found, "from 198.51.100.1 to 198.51.100.3, which relays it");
  EXPECT_EQ(trace.steps[5].entry, "hp_labels 1 7");
  EXPECT_EQ(trace.steps[5].found, "under the label 7340032");
  EXPECT_THAT(trace.copies, ElementsAre(TraceCopy{{}, third, false, kFirstLabel}));
  packet.destination_mac = {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};
  EXPECT_THAT(told(FromPort{"tap1", std::nullopt}).copies,
              ElementsAre(TraceCopy{{}, third, true, kFirstLabel}));
  // What has no label is not relayed.
  state.paths[0].labels = {{8, kFirstLabel}};
  packet.destination_mac = mac(2);
  const Trace without = told(FromPort{"tap1", packet.destination});
  EXPECT_THAT(names(without), testing::Not(testing::Contains("path")));
  EXPECT_THAT(without.copies, ElementsAre(TraceCopy{{}, other, false}));
}

TEST_F(TraceTest, ForAThirdHost) {
  state.paths = {{third, policy::TrafficClass::best_effort, own, other, true, {{9, kLastLabel}}}};
  state.relays = {{kFirstLabel, other, third, 9}};
  const Trace trace = told(FromTunnel{other, kFirstLabel, true});
  EXPECT_THAT(names(trace), ElementsAre("vtep", "label", "delivery"));
  EXPECT_EQ(trace.steps[1].entry, "hp_relays 7340032");
  EXPECT_EQ(trace.steps[1].found,
            "from " + other.to_string() + " to " + third.to_string() + ", in network 9");
  EXPECT_EQ(trace.vni, 9u);
  EXPECT_THAT(trace.counters, ElementsAre("relayed"));
  EXPECT_THAT(trace.copies, ElementsAre(TraceCopy{{}, third, true}));
  for (const auto& [from, label] : {std::pair(third, kFirstLabel), {other, kLastLabel}}) {
    const Trace wrong = told(FromTunnel{from, label, false});
    EXPECT_EQ(wrong.end, TraceEnd::dropped);
    EXPECT_THAT(wrong.counters, ElementsAre("drop_unknown_label"));
  }
}

TEST_F(TraceTest, WhatComesFromAnyAddressOfAHostIsFromThatHost) {
  state.aliases = {{make_address("198.51.100.2"), other}};
  packet.destination_mac = mac(3);
  const Trace trace = told(FromTunnel{make_address("198.51.100.2"), 7, false});
  EXPECT_EQ(trace.steps[0].found, "it is of the host 192.0.2.2");
  EXPECT_THAT(trace.counters, ElementsAre("delivered_held"));
}

TEST_F(TraceTest, AnApplicationThatGetsNoAnswerSendsNothing) {
  const Trace trace = told(FromPort{"tap1", make_address("10.0.0.77")});
  EXPECT_EQ(trace.end, TraceEnd::dropped);
  EXPECT_THAT(trace.counters, ElementsAre("drop_unknown_neighbor"));
  EXPECT_EQ(trace.steps.back().step, "neighbor");
  state.networks[0].normal = true;
  EXPECT_EQ(told(FromPort{"tap1", make_address("10.0.0.77")}).end, TraceEnd::normal);
  const Trace probe = told(FromPort{"tap1", make_address("10.0.0.1")});
  EXPECT_THAT(probe.counters, ElementsAre("probes"));
}

TEST_F(TraceTest, WithoutFiltersPacketsPassTheDatapathBy) {
  devices.filtered = {};
  EXPECT_EQ(told(FromPort{"tap1"}).end, TraceEnd::normal);
  EXPECT_EQ(told(FromTunnel{other, 7}).end, TraceEnd::normal);
  const Trace lost = told(FromHost{});
  EXPECT_EQ(lost.end, TraceEnd::dropped);
  EXPECT_THAT(lost.steps.back().found, HasSubstr("no filter"));
  EXPECT_THAT(told(FromPort{"tap9"}).steps.back().found, HasSubstr("no device tap9"));
}

TEST_F(TraceTest, FromTheTunnelToAPort) {
  const Trace trace = told(FromTunnel{other, 7, false});
  EXPECT_THAT(names(trace), ElementsAre("vtep", "source", "destination", "delivery"));
  EXPECT_EQ(trace.end, TraceEnd::delivered);
  EXPECT_THAT(trace.copies, ElementsAre(TraceCopy{"tap1", {}, false}));
  EXPECT_THAT(trace.steps[2].found, HasSubstr("here, at tap1; generation 1"));
}

TEST_F(TraceTest, WhatAHostDropsFromTheTunnel) {
  auto counters = [&](const FromTunnel& from) { return told(from).counters; };
  EXPECT_THAT(counters({third, 8, false}), ElementsAre("drop_unknown_network"));
  EXPECT_THAT(counters({make_address("192.0.2.99"), 7, false}), ElementsAre("drop_unknown_vtep"));
  packet.destination_mac = mac(9);
  EXPECT_THAT(counters({other, 7, false}), ElementsAre("drop_unknown_address"));
  packet.destination_mac = mac(1);
  packet.source_mac = mac(9);
  EXPECT_THAT(counters({other, 7, false}), ElementsAre("drop_forged_source"));
}

TEST_F(TraceTest, WhoMovesHereGetsWhatItsOwnerRedirects) {
  packet.destination_mac = mac(3);
  const Trace from_owner = told(FromTunnel{other, 7, false});
  EXPECT_THAT(from_owner.copies, ElementsAre(TraceCopy{"tap3", {}, false}));
  EXPECT_THAT(from_owner.counters, ElementsAre("delivered_held"));
  EXPECT_THAT(told(FromTunnel{third, 7, true}).copies, ElementsAre(TraceCopy{"tap3", {}, false}));
  const Trace early = told(FromTunnel{third, 7, false});
  EXPECT_EQ(early.end, TraceEnd::sent);
  EXPECT_THAT(early.copies, ElementsAre(TraceCopy{{}, other, true}));
  EXPECT_THAT(early.counters, ElementsAre("forwarded"));
  packet.destination_mac = mac(2);
  EXPECT_THAT(told(FromTunnel{third, 7, false}).counters, ElementsAre("drop_elsewhere"));
  const Trace twice = told(FromTunnel{third, 7, true});
  EXPECT_THAT(names(twice), ElementsAre("vtep", "source", "destination", "held", "mark"));
  EXPECT_THAT(twice.counters, ElementsAre("drop_forwarded_twice"));
}

TEST_F(TraceTest, AGroupGetsACopyPerPortAndHost) {
  packet.source_mac = mac(1);
  packet.destination_mac = {{0x01, 0, 0x5e, 0, 0, 0xfb}};
  packet.destination = make_address("224.0.0.251");
  state.ports.push_back({"tap5", 7, mac(5)});
  state.addresses.push_back({7, mac(5), {}, LocalPort{"tap5"}, 1});
  devices.names[15] = "tap5";
  const Trace trace = told(FromPort{"tap1"});
  EXPECT_EQ(trace.end, TraceEnd::copied);
  EXPECT_THAT(trace.copies,
              UnorderedElementsAre(TraceCopy{"tap5", {}, false}, TraceCopy{{}, other, true}));
  EXPECT_THAT(trace.counters, ElementsAre("multicast"));
  // To who moves here, and by whom it leaves; and marked, to the others.
  packet.source_mac = mac(2);
  EXPECT_THAT(told(FromTunnel{other, 7, false}).copies, ElementsAre(TraceCopy{"tap3", {}, false}));
  EXPECT_THAT(told(FromTunnel{other, 7, true}).copies,
              UnorderedElementsAre(TraceCopy{"tap1", {}, false}, TraceCopy{"tap5", {}, false}));
}

TEST_F(TraceTest, FromTheHostsOwnProcesses) {
  packet.source = own;
  packet.destination = make_address("203.0.113.2");
  const Trace trace = told(FromHost{});
  EXPECT_THAT(names(trace), ElementsAre("route", "route", "destination", "delivery"));
  EXPECT_EQ(trace.end, TraceEnd::sent);
  EXPECT_EQ(trace.vni, 7u);
  EXPECT_EQ(trace.packet.destination_mac, mac(2));
  EXPECT_EQ(trace.packet.source_mac, kRouterMac);
  // A route of which the map knows nothing.
  const Trace unknown = told(FromHost{}, [](MapImage& image) { image.routes.clear(); });
  EXPECT_THAT(unknown.counters, ElementsAre("drop_unknown_address"));
  devices.route = 1;
  EXPECT_EQ(told(FromHost{}).end, TraceEnd::normal);
}

TEST_F(TraceTest, WhatIsTooBigForItsRouteItsHostTellsOrCuts) {
  packet.source = own;
  packet.destination = make_address("203.0.113.2");
  packet.length = 1430;
  EXPECT_THAT(names(told(FromHost{})), testing::Not(testing::Contains("size")));
  packet.length = 1431;
  const Trace refused = told(FromHost{});
  EXPECT_THAT(names(refused), ElementsAre("route", "size"));
  EXPECT_EQ(refused.steps.back().entry, "ip route 203.0.113.2");
  EXPECT_EQ(refused.steps.back().found, "1431 bytes, 1430 fit: the process is told 1430");
  EXPECT_EQ(refused.end, TraceEnd::answered);
  EXPECT_THAT(refused.copies, testing::IsEmpty());
  packet.dont_fragment = false;
  const Trace cut = told(FromHost{});
  EXPECT_THAT(names(cut), ElementsAre("route", "size", "route", "destination", "delivery"));
  EXPECT_EQ(cut.end, TraceEnd::sent);
  packet.dont_fragment = true;
  packet.source = make_address("2001:db8::1");
  packet.destination = make_address("2001:db8::2");
  EXPECT_THAT(names(told(FromHost{})), testing::Contains("size"));
  EXPECT_EQ(told(FromHost{}).end, TraceEnd::dropped);  // nobody has the address
}

TEST_F(TraceTest, ToTheHostsOwnProcesses) {
  packet.destination_mac = kRouterMac;
  packet.destination = own;
  EXPECT_EQ(told(FromTunnel{other, 7, false}).end, TraceEnd::stack);
  packet.destination = other;
  EXPECT_THAT(told(FromTunnel{other, 7, false}).counters, ElementsAre("drop_unknown_address"));
  packet.destination = own;
  packet.source = make_address("203.0.113.99");
  EXPECT_THAT(told(FromTunnel{other, 7, false}).counters, ElementsAre("drop_forged_source"));
}

TEST_F(TraceTest, WhatIsTooBigIsAnswered) {
  packet.source_mac = mac(1);
  packet.destination_mac = mac(2);
  packet.length = 1431;
  EXPECT_THAT(told(FromPort{"tap1"}).counters, ElementsAre("too_big_answers"));
  packet.dont_fragment = false;
  const Trace fragmented = told(FromPort{"tap1"});
  EXPECT_EQ(fragmented.end, TraceEnd::sent);
  EXPECT_THAT(fragmented.counters, ElementsAre("fragmented"));
}

TEST_F(TraceTest, IsToldToOpenVSwitchInItsOwnWords) {
  packet.source = make_address("fd00::1");
  packet.destination = make_address("fd00::2");
  EXPECT_EQ(openflow_text(FromPort{"tap1"}, packet),
            "in_port=tap1,udp6,dl_src=02:00:00:00:00:02,dl_dst=02:00:00:00:00:01,"
            "ipv6_src=fd00::1,ipv6_dst=fd00::2,nw_ttl=64");
  packet.destination_port = 53;
  EXPECT_THAT(openflow_text(FromPort{"tap1"}, packet),
              testing::EndsWith(",nw_ttl=64,udp_src=0,udp_dst=53"));
  packet.source = packet.destination = own;
  packet.protocol = 1;
  EXPECT_THAT(openflow_text(FromTunnel{other, 7, true}, packet),
              testing::StartsWith("tun_id=0x800007,tun_src=192.0.2.2,icmp,icmp_type=8,"));
}

std::string page() {
  std::ifstream file(HOMEPORT_SOURCE_DIR "/docs/life-of-a-packet.md");
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST(TracePage, HasTheSteps) {
  const std::string text = page();
  const std::size_t begin = text.find("\n## The steps of a trace\n");
  ASSERT_NE(begin, std::string::npos);
  const std::string section = text.substr(begin, text.find("\n## ", begin + 5) - begin);
  static const std::regex row("\n\\| `([a-z]+)` \\|");
  std::set<std::string> told;
  for (std::sregex_iterator it(section.begin(), section.end(), row), end; it != end; ++it) {
    told.insert((*it)[1]);
  }
  EXPECT_EQ(told, std::set<std::string>(kTraceSteps.begin(), kTraceSteps.end()));
}

// What a trace names as the reason is found there.
TEST(TracePage, HasTheCounters) {
  const std::string text = page();
  for (const char* counter : {
#define X(name) #name,
           HP_COUNTERS(X)
#undef X
       }) {
    EXPECT_THAT(text, HasSubstr("`" + std::string(counter) + "`"));
  }
}

}  // namespace
}  // namespace homeport::overlay
