// The flows that a desired state compiles to, without a switch.
#include "overlay/datapath/ovs/flow_image.h"
#include "overlay/datapath/ovs/differences.h"
#include "overlay/datapath/ovs/paths.h"
#include "overlay/datapath/ovs/pipeline.h"
#include "overlay/datapath/ovs/records.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

namespace homeport::overlay::ovs {
namespace {

using boost::asio::ip::make_address;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

policy::MacAddress mac(std::uint8_t last) {
  return {{2, 0, 0, 0, 0, last}};
}

/// Two applications of network 42: one here at tap1, one at another host.
DesiredState small_state() {
  DesiredState state;
  state.networks = {{42, 1430, {make_address("192.0.2.2"), make_address("192.0.2.3")}}};
  state.ports = {{"tap1", 42, mac(1), false}};
  state.addresses = {
      {42, mac(1), {make_address("10.0.0.1"), make_address("fd00::1")}, LocalPort{"tap1"}, 5},
      {42, mac(2), {make_address("10.0.0.2")}, RemoteHost{make_address("192.0.2.2")}, 7}};
  state.vteps = {make_address("192.0.2.2"), make_address("2001:db8::3")};
  state.aliases = {{make_address("198.51.100.2"), make_address("192.0.2.2")}};
  state.paths = {{make_address("192.0.2.2"), policy::TrafficClass::bulk,
                  make_address("198.51.100.1"), make_address("198.51.100.2")},
                 {make_address("192.0.2.3"),
                  policy::TrafficClass::best_effort,
                  make_address("198.51.100.1"),
                  make_address("198.51.100.2"),
                  true,
                  {{42, kFirstLabel}, {43, kLastLabel}}},
                 {make_address("192.0.2.3"),
                  policy::TrafficClass::bulk,
                  make_address("198.51.100.1"),
                  make_address("198.51.100.2"),
                  true,
                  {}}};
  state.relays = {{kFirstLabel, make_address("192.0.2.2"), make_address("192.0.2.3"), 42},
                  {kLastLabel, make_address("2001:db8::3"), make_address("192.0.2.3"), 44}};
  state.port_rules = {{{6, 22, 22}, policy::TrafficClass::interactive},
                      {{17, 5000, 5999}, policy::TrafficClass::bulk}};
  normalize(state);
  return state;
}

BridgePorts bridge() {
  return {.numbers = {{"tap1", 11}, {"tap2", 12}}, .tunnel = 9, .answers_nd = true};
}

/// The one flow of the table whose match has this in it.
const OwnedFlow& flow_of(const FlowImage& flows, Table table, const std::string& match) {
  const OwnedFlow* found = nullptr;
  for (const auto& [key, flow] : flows) {
    if (key.table != table || key.match.find(match) == std::string::npos) continue;
    EXPECT_EQ(found, nullptr) << "more than one flow of table " << +table << " has " << match;
    found = &flow;
  }
  if (!found) throw std::runtime_error("no flow has " + match);
  return *found;
}

std::vector<vswitch::Flow> as_dump(const FlowImage& image) {
  std::vector<vswitch::Flow> flows;
  for (const auto& [key, flow] : image) flows.push_back({key, flow.body, {}});
  return flows;
}

TEST(FlowImage, EveryFlowIsHomeportsAndTellsItsOwnerAndGeneration) {
  const CompiledFlows compiled = compile(small_state(), bridge());
  EXPECT_THAT(compiled.problems, IsEmpty());
  for (const auto& [key, flow] : compiled.flows) {
    EXPECT_EQ(flow.body.cookie & kCookieMask, kCookie) << key.match;
    EXPECT_TRUE(key.table >= kFromPort || key.priority == kEntryPriority) << key.match;
  }
  const OwnedFlow& remote = flow_of(compiled.flows, kAddress, "dl_dst=02:00:00:00:00:02");
  EXPECT_EQ(remote.owner, "the address 02:00:00:00:00:02 of network 42");
  EXPECT_EQ(remote.body.cookie & 0xffffffff, 7u);
  EXPECT_THAT(remote.body.actions, HasSubstr("set_field:192.0.2.2->tun_dst"));
  const OwnedFlow& local = flow_of(compiled.flows, kAddress, "dl_dst=02:00:00:00:00:01");
  EXPECT_THAT(local.body.actions, HasSubstr("set_field:11->reg5"));
  EXPECT_NE(local.body.cookie >> 32, remote.body.cookie >> 32);
}

TEST(FlowImage, AliasesAndPathsThatCannotBeAreLeftOut) {
  DesiredState state = small_state();
  state.aliases = {{make_address("203.0.113.1"), make_address("192.0.2.77")},
                   {make_address("2001:db8::3"), make_address("192.0.2.2")}};
  state.paths = {{make_address("192.0.2.2"), policy::TrafficClass::bulk,
                  make_address("198.51.100.1"), make_address("2001:db8:2::2")}};
  const CompiledFlows compiled = compile(state, bridge());
  EXPECT_THAT(compiled.problems, testing::ElementsAre(HasSubstr("203.0.113.1 is left out"),
                                                      HasSubstr("2001:db8::3 of the host"),
                                                      HasSubstr("different families")));
  EXPECT_TRUE(compiled.carried.aliases.empty());
  EXPECT_TRUE(compiled.carried.paths.empty());
}

TEST(FlowImage, IsReadBackAsWhatItWasCompiledFrom) {
  DesiredState state = small_state();
  state.ports.push_back({"tap2", 42, mac(2), true});
  state.addresses[0].generation = 1ull << 40;
  normalize(state);
  const CompiledFlows compiled = compile(state, bridge());
  EXPECT_EQ(compiled.carried, state);
  EXPECT_EQ(decompile(as_dump(compiled.flows)), state);
}

TEST(FlowImage, WhatHasLeftIsSentOnAndNothingElse) {
  DesiredState state = small_state();
  const FlowImage never = compile(state, bridge()).flows;
  EXPECT_THROW(flow_of(never, kArrived, "dl_dst=02:00:00:00:00:02"), std::runtime_error);
  state.addresses[1].relayed = true;
  const CompiledFlows left = compile(state, bridge());
  EXPECT_THAT(flow_of(left.flows, kArrived, "dl_dst=02:00:00:00:00:02").body.actions,
              HasSubstr("load:0x1->NXM_NX_TUN_ID[23]"));
  EXPECT_EQ(decompile(as_dump(left.flows)), state);
}

TEST(FlowImage, AllThatGoesIntoTheTunnelHasTheSourceThatTheSwitchIsToldOf) {
  DesiredState state = small_state();
  state.ports.push_back({"tap2", 42, mac(2), false});  // it is leaving
  state.addresses[1].relayed = true;
  normalize(state);
  BridgePorts told = bridge();
  told.source = make_address("192.0.2.1");
  const CompiledFlows compiled = compile(state, told);
  int ways = 0;
  for (const auto& [key, flow] : compiled.flows) {
    const auto way = flow.body.actions.find("resubmit(,232)");
    if (way == std::string::npos) continue;
    ++ways;
    EXPECT_LT(flow.body.actions.find("set_field:192.0.2.1->tun_src,"), way) << key.match;
  }
  EXPECT_EQ(ways, 6);
  EXPECT_EQ(flow_of(compiled.flows, kTunnel, "").body.actions, "output:9");
  EXPECT_EQ(decompile(as_dump(compiled.flows)), state);
}

TEST(FlowImage, RulesForPortsComeBehindWhatPacketsSayAndFewerPortsFirst) {
  DesiredState state = small_state();
  state.port_rules.push_back({{6, 20, 23}, policy::TrafficClass::bulk});
  state.port_rules.push_back({{6, 22, 22}, policy::TrafficClass::bulk});  // never decides
  const FlowImage flows = compile(state, bridge()).flows;
  std::map<std::string, std::set<unsigned>> priorities;
  for (const auto& [key, flow] : flows) {
    if (key.table == kClass) priorities[flow.owner].insert(key.priority);
  }
  EXPECT_THAT(priorities,
              ElementsAre(testing::Pair("the pipeline", ElementsAre(kSaidPriority)),
                          testing::Pair("the rule for tcp:20-23", ElementsAre(2u)),
                          testing::Pair("the rule for tcp:22", ElementsAre(3u)),
                          testing::Pair("the rule for udp:5000-5999", ElementsAre(1u))));
  const OwnedFlow& flow = flow_of(flows, kClass, "tcp6,ip_frag=no,tp_src=0x14/0xfffc");
  EXPECT_THAT(flow.body.actions, HasSubstr("set_field:2->reg7"));
}

TEST(FlowImage, RulesForPortsAreNoMoreThanThereArePriorities) {
  DesiredState state = small_state();
  for (int port = 1; port <= 1100; ++port) {
    const auto one = static_cast<std::uint16_t>(port);
    state.port_rules.push_back({{132, one, one}, policy::TrafficClass::bulk});
  }
  const CompiledFlows compiled = compile(state, bridge());
  EXPECT_EQ(compiled.carried.port_rules.size(), kMostRules);
  EXPECT_THAT(compiled.problems, ElementsAre(HasSubstr("those behind the first 999 are left out")));
}

TEST(FlowImage, RoutersAndHostsAreReadBack) {
  DesiredState state = small_state();
  state.networks[0].gateways = {make_address("10.0.0.254"), make_address("fd00::fe")};
  state.networks[0].normal = state.networks[0].host_access = true;
  state.hosts = {{make_address("198.51.100.1"), std::nullopt},
                 {make_address("2001:db8:1::2"), make_address("192.0.2.2")}};
  normalize(state);
  BridgePorts ports = bridge();
  ports.host = 13;
  const CompiledFlows compiled = compile(state, ports);
  EXPECT_THAT(compiled.problems, IsEmpty());
  EXPECT_EQ(decompile(as_dump(compiled.flows)), state);
  EXPECT_THAT(flow_of(compiled.flows, kEntry, "in_port=13").body.actions, HasSubstr("221"));
  std::vector<policy::IpAddress> routes;
  for (const HostRoute& route : compiled.routes) routes.push_back(route.to);
  EXPECT_THAT(routes, ElementsAre(make_address("10.0.0.1"), make_address("10.0.0.2"),
                                  make_address("fd00::1")));
}

TEST(FlowImage, AGatewaysAddressIsNobodyElses) {
  DesiredState state = small_state();
  state.networks[0].gateways = {make_address("10.0.0.2")};
  const CompiledFlows compiled = compile(state, bridge());
  EXPECT_THAT(compiled.problems, ElementsAre(HasSubstr("is a gateway of it")));
  EXPECT_THAT(flow_of(compiled.flows, kNeighbor, "arp_op=1,arp_tpa=10.0.0.2,arp_sha").body.actions,
              HasSubstr("reg6"));
  EXPECT_THAT(compiled.carried.addresses[1].ips, IsEmpty());
}

TEST(FlowImage, OfTwoNetworksWithTheSameAddressHostsReachTheLower) {
  DesiredState state = small_state();
  state.networks.push_back({.vni = 43, .host_access = true});
  state.networks[0].host_access = true;
  AddressEntry other = state.addresses[1];
  other.vni = 43;
  state.addresses.push_back(other);
  state.hosts = {{make_address("10.0.0.1"), std::nullopt}};
  const CompiledFlows compiled = compile(state, bridge());
  EXPECT_THAT(compiled.problems,
              ElementsAre(HasSubstr("10.0.0.1 in the network 42 is a host's own"),
                          HasSubstr("10.0.0.2 is in the networks 42 and 43")));
  EXPECT_EQ(compiled.routes.at(0).vni, 42u);
}

TEST(FlowImage, NotesOfOthersAreNoRecords) {
  std::vector<vswitch::Flow> flows;
  for (const char* actions :
       {"note:", "note:7", "note:zz", "note:70.6f.72.74.20.78", "drop",
        "note:61.64.64.72.65.73.73.20.31.20.78", "note:6e.65.74.77.6f.72.6b.20.2d.31.20.78"}) {
    flows.push_back({{kAddress, 3, "dl_dst=02:00:00:00:00:01"}, {kCookie, actions}, {}});
  }
  EXPECT_EQ(decompile(flows), DesiredState{});
}

TEST(FlowImage, AHeldPortGetsWhatIsMarkedOrComesFromTheOwner) {
  DesiredState state = small_state();
  state.ports.push_back({"tap2", 42, mac(2), true});
  const FlowImage flows = compile(state, bridge()).flows;
  const OwnedFlow& marked = flow_of(flows, kArrived, "dl_dst=02:00:00:00:00:02,reg1=0x2/0x2");
  EXPECT_THAT(marked.body.actions, HasSubstr("set_field:12->reg5"));
  EXPECT_EQ(flow_of(flows, kArrived, "tun_src=192.0.2.2").body.actions, marked.body.actions);
  // Once the address is here, the port is like any other.
  AddressEntry taken = state.addresses[1];
  taken.location = LocalPort{"tap2"};
  for (const auto& [key, flow] : compile_address(taken, state, bridge())) {
    EXPECT_NE(key.table, kArrived);
  }
}

TEST(FlowImage, AnnouncementsGoToPortsAndHostsOfTheirNetworkAlone) {
  DesiredState state = small_state();
  state.networks.push_back({43, 0, {make_address("192.0.2.3")}});
  state.ports.push_back({"tap2", 43, mac(2), false});
  normalize(state);
  const FlowImage flows = compile(state, bridge()).flows;
  const std::string out = flow_of(flows, kCopy, "reg0=0x2a,reg1=0x0/0x11").body.actions;
  EXPECT_THAT(out, HasSubstr("set_field:11->reg5"));
  EXPECT_THAT(out, Not(HasSubstr("set_field:12->reg5")));
  EXPECT_THAT(out, HasSubstr("resubmit(,228)"));
  const std::string far = flow_of(flows, kSpread, "reg0=0x2a,reg1=0x0/0x800").body.actions;
  EXPECT_THAT(far, HasSubstr("192.0.2.2->tun_dst"));
  EXPECT_THAT(far, HasSubstr("192.0.2.3->tun_dst"));
  EXPECT_THAT(far, HasSubstr("load:0x1->NXM_NX_TUN_ID[23]"));
  // What came from another host is never sent to one.
  EXPECT_THAT(flow_of(flows, kCopy, "reg0=0x2a,reg1=0x1/0x11").body.actions, Not(HasSubstr("228")));
}

TEST(FlowImage, OfContradictionsTheHigherGenerationIsCarried) {
  DesiredState state = small_state();
  AddressEntry newer = state.addresses[1];
  newer.generation = 8;
  newer.location = RemoteHost{make_address("192.0.2.3")};
  state.addresses.push_back(newer);
  AddressEntry claims = state.addresses[1];
  claims.mac = mac(9);
  claims.generation = 1;
  state.addresses.push_back(claims);
  const CompiledFlows compiled = compile(state, bridge());
  EXPECT_THAT(compiled.problems, ElementsAre(HasSubstr("listed twice"), HasSubstr("10.0.0.2")));
  EXPECT_THAT(flow_of(compiled.flows, kAddress, "dl_dst=02:00:00:00:00:02").body.actions,
              HasSubstr("192.0.2.3"));
  EXPECT_THAT(flow_of(compiled.flows, kNeighbor, "arp_op=1,arp_tpa=10.0.0.2,arp_sha").body.actions,
              HasSubstr("reg6"));  // the probe of its owner
  EXPECT_THAT(flow_of(compiled.flows, kNeighbor, "arp_tpa=10.0.0.2,arp_sha=").owner,
              HasSubstr("02:00:00:00:00:02"));
}

TEST(FlowImage, WhatCannotBeIsLeftOutAndNamed) {
  DesiredState state;
  state.networks = {{0, 0, {}}, {policy::kVniMax + 1, 0, {}}};
  state.ports = {{"gone", 42, mac(1), false}, {"tap1", 0, mac(1), false}};
  state.addresses = {{42, mac(1), {}, LocalPort{"gone"}, 1},
                     {0, mac(2), {}, RemoteHost{make_address("192.0.2.2")}, 1},
                     {42, {{1, 0, 0, 0, 0, 1}}, {}, RemoteHost{make_address("192.0.2.2")}, 1}};
  const CompiledFlows compiled = compile(state, bridge());
  EXPECT_EQ(compiled.problems.size(), 7u);
  EXPECT_EQ(compiled.carried, DesiredState{});
  EXPECT_EQ(compiled.flows, compile({}, bridge()).flows);
}

TEST(FlowImage, LabelsThatCannotBeAreLeftOutAndNamed) {
  const auto one = make_address("192.0.2.2"), other = make_address("192.0.2.3");
  const auto best_effort = policy::TrafficClass::best_effort;
  DesiredState state;
  state.paths = {{one, best_effort, other, other, true, {{42, 42}}}};
  state.relays = {{kFirstLabel - 1, one, other, 42}, {kFirstLabel, one, other, 0}};
  CompiledFlows compiled = compile(state, bridge());
  EXPECT_THAT(compiled.problems, ElementsAre(HasSubstr("cannot have the label 42"),
                                             HasSubstr("under the label 7340031"),
                                             HasSubstr("The network 0 cannot be relayed")));
  EXPECT_EQ(compiled.flows, compile({}, bridge()).flows);
  state.paths[0].labels.clear();
  state.relays.clear();
  for (policy::Vni i = 0; i <= kMostLabels; ++i) {
    state.paths[0].labels.push_back({1 + i, kFirstLabel + i});
    state.relays.push_back({kFirstLabel + i, one, other, 42});
  }
  state.relays.push_back({kFirstLabel, other, one, 42});
  compiled = compile(state, bridge());
  EXPECT_THAT(compiled.problems,
              ElementsAre(HasSubstr("limit of 65536 labels"),
                          HasSubstr("limit of 65536 that it relays"), HasSubstr("listed twice")));
  EXPECT_EQ(compiled.carried.paths[0].labels.size(), kMostLabels);
  EXPECT_EQ(compiled.carried.relays.size(), kMostLabels);
}

TEST(FlowImage, MostHostsOfANetworkFitOneMessage) {
  DesiredState state = small_state();
  state.networks[0].hosts.clear();
  for (unsigned i = 0; i < 2000; ++i) {
    state.networks[0].hosts.push_back(make_address(fmt::format("2001:db8::{:x}", i + 1)));
  }
  const CompiledFlows compiled = compile(state, bridge());
  EXPECT_THAT(compiled.problems, ElementsAre(HasSubstr("only 1024")));
  EXPECT_EQ(compiled.carried.networks[0].hosts.size(), 1024u);
}

TEST(FlowImage, SolicitationsGoToTheOwnerWhereTheSwitchCannotAnswer) {
  BridgePorts kernel = bridge();
  kernel.answers_nd = false;
  for (const auto& [key, flow] : compile(small_state(), kernel).flows) {
    EXPECT_THAT(flow.body.actions, Not(HasSubstr("nd_reserved"))) << key.match;
    EXPECT_THAT(flow.body.actions, Not(HasSubstr("nd_options_type"))) << key.match;
  }
}

TEST(FlowImage, DifferencesAreToldByOwner) {
  const FlowImage left = compile(small_state(), bridge()).flows;
  FlowImage found = left;
  EXPECT_THAT(differences(left, found), IsEmpty());
  EXPECT_TRUE(same(left, as_dump(found)));
  std::erase_if(found, [](const auto& item) {
    return item.second.owner == "the address 02:00:00:00:00:02 of network 42";
  });
  for (auto& [key, flow] : found) {
    if (flow.owner == "the port tap1") flow.body.actions = "drop";
  }
  found[{kAddress, 9, "dl_dst=02:00:00:00:00:77"}] = {{kCookie, "drop"}, ""};
  EXPECT_THAT(differences(left, found),
              ElementsAre("a flow was added to table 202",
                          "flows of the address 02:00:00:00:00:02 of network 42 were missing",
                          "flows of the port tap1 were changed"));
  // Mended by what differs, and nothing else.
  FlowImage mended = found;
  for (const auto& change : changes(found, left)) {
    if (change.remove) {
      mended.erase(change.key);
    } else {
      mended[change.key].body = change.body;
    }
  }
  EXPECT_THAT(differences(left, mended), IsEmpty());
  EXPECT_TRUE(same(left, as_dump(mended)));
  EXPECT_THAT(differences({}, left), testing::SizeIs(kToldDifferences + 1));
}

TEST(FlowImage, OneFlowThatIsMissingOrMoreOrAnotherIsNotTheSame) {
  const FlowImage left = compile(small_state(), bridge()).flows;
  FlowImage missing = left, more = left, body = left, cookie = left, place = left;
  missing.erase(missing.begin());
  more[{kAddress, 9, "dl_dst=02:00:00:00:00:77"}] = {{kCookie, "drop"}, ""};
  body.begin()->second.body.actions = "note:41";
  cookie.begin()->second.body.cookie ^= 1;
  auto moved = place.extract(place.begin());
  moved.key().match = "in_port=77";
  place.insert(std::move(moved));
  for (const FlowImage* found : {&missing, &more, &body, &cookie, &place}) {
    EXPECT_FALSE(same(left, as_dump(*found)));
  }
  EXPECT_FALSE(same(left, {}));
}

}  // namespace
}  // namespace homeport::overlay::ovs
