#include "overlay/datapath/map_image.h"
#include "overlay/datapath/map_labels.h"
#include "overlay/datapath/map_rules.h"
#include "overlay/datapath/tampering.h"

#include <gmock/gmock.h>
#include <xxhash.h>

#include <fstream>
#include <iterator>
#include <numeric>
#include <regex>

namespace homeport::overlay {
namespace {

TEST(Layout, ChangesOnlyWithItsNumber) {
  std::string text;
  for (const char* file : {"layout.h", "maps.h"}) {
    std::ifstream source(std::string(HOMEPORT_SOURCE_DIR "/overlay/datapath/ebpf/") + file);
    ASSERT_TRUE(source) << file;
    text.append(std::istreambuf_iterator<char>(source), {});
  }
  static const std::regex no_matter(R"(/\*[^*]*\*+(?:[^/*][^*]*\*+)*/|//[^\n]*|\s+)");
  text = std::regex_replace(text, no_matter, "");
  // Agents of the same number use each other's pinned maps: whoever changes what is hashed here
  // raises HP_LAYOUT_VERSION, and writes both down anew.
  EXPECT_EQ(std::pair(HP_LAYOUT_VERSION, XXH3_64bits(text.data(), text.size())),
            std::pair(5, XXH64_hash_t{1232667265908793987u}));
}

using boost::asio::ip::make_address;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

policy::MacAddress mac(std::uint8_t last) {
  return {{0x02, 0, 0, 0, 0, last}};
}

/// Two networks, a port of each, one of them held, and an address of each kind.
DesiredState example() {
  DesiredState state;
  state.networks = {{7, 1430, {make_address("192.0.2.2"), make_address("2001:db8::2")}}, {8, 0}};
  state.ports = {{"tap1", 7, mac(1), false, policy::TrafficClass::interactive},
                 {"tap2", 8, mac(2), true}};
  state.addresses = {
      {7, mac(1), {make_address("10.0.0.1"), make_address("fd00::1")}, LocalPort{"tap1"}, 3},
      {7, mac(3), {make_address("10.0.0.3")}, RemoteHost{make_address("192.0.2.2")}, 1},
      {8, mac(2), {}, RemoteHost{make_address("2001:db8::2")}, 9},
  };
  state.vteps = {make_address("192.0.2.2"), make_address("2001:db8::2")};
  state.aliases = {{make_address("198.51.100.2"), make_address("192.0.2.2")},
                   {make_address("2001:db8:2::2"), make_address("192.0.2.2")}};
  state.paths = {{make_address("192.0.2.2"), policy::TrafficClass::bulk,
                  make_address("198.51.100.1"), make_address("198.51.100.2")},
                 {make_address("192.0.2.2"), policy::TrafficClass::best_effort,
                  make_address("2001:db8:2::1"), make_address("2001:db8:2::2")},
                 {make_address("2001:db8::2"),
                  policy::TrafficClass::bulk,
                  make_address("198.51.100.1"),
                  make_address("198.51.100.2"),
                  true,
                  {{7, kFirstLabel}, {8, kLastLabel}}},
                 {make_address("2001:db8::2"),
                  policy::TrafficClass::best_effort,
                  make_address("198.51.100.1"),
                  make_address("198.51.100.2"),
                  true,
                  {}}};
  state.relays = {{kFirstLabel, make_address("192.0.2.2"), make_address("2001:db8::2"), 7},
                  {kFirstLabel + 1, make_address("2001:db8::2"), make_address("192.0.2.2"), 9}};
  state.port_rules = {{{6, 1, 65535}, policy::TrafficClass::bulk},
                      {{6, 5000, 5999}, policy::TrafficClass::interactive},
                      {{17, 5000, 5999}, policy::TrafficClass::best_effort}};
  normalize(state);
  return state;
}

const PortDevices kDevices = {{"tap1", {11, false}}, {"tap2", {12, true}}};
const std::map<std::uint32_t, std::string> kNames = {{11, "tap1"}, {12, "tap2"}};

TEST(MapImage, WhatIsCompiledReadsBackAsItWas) {
  auto [image, problems] = compile(example(), kDevices, {});
  EXPECT_THAT(problems, IsEmpty());
  EXPECT_EQ(decompile(image, kNames, {11, 12}), example());
}

TEST(MapImage, PortsCarryTheirNetworksMtuAndTheirDelivery) {
  auto [image, problems] = compile(example(), kDevices, {});
  EXPECT_EQ(image.ports.at(11).mtu, 1430u);
  EXPECT_EQ(image.ports.at(12).mtu, 0u);
  EXPECT_EQ(image.addresses.at(address_key(7, mac(1))).local.ifindex, 11u);
  EXPECT_EQ(image.held.at(address_key(8, mac(2))).ifindex, 12u);
  EXPECT_EQ(image.held.at(address_key(8, mac(2))).peer, 1u);
  EXPECT_EQ(image.held.size(), 1u);
}

TEST(MapImage, PortWithoutItsFilterIsNotReadBack) {
  auto [image, problems] = compile(example(), kDevices, {});
  DesiredState read = decompile(image, {{11, "tap1"}}, {11});
  EXPECT_THAT(read.ports, ElementsAre(testing::Field(&Port::device, "tap1")));
}

TEST(MapImage, DeviceThatIsGoneIsNamedByItsIndex) {
  auto [image, problems] = compile(example(), kDevices, {});
  EXPECT_EQ(decompile(image, {}, {11}).ports.at(0).device, "#11");
}

TEST(MapImage, StayingPortsKeepTheirSlotsAndNewOnesGetFreeOnes) {
  auto first = compile(example(), kDevices, {}).image;
  DesiredState more = example();
  more.ports.insert(more.ports.begin(), {"tap0", 7, mac(9), false});
  PortDevices devices = kDevices;
  devices["tap0"] = {10, false};
  auto second = compile(more, devices, first).image;
  EXPECT_EQ(second.ports.at(11).slot, first.ports.at(11).slot);
  EXPECT_EQ(second.ports.at(12).slot, first.ports.at(12).slot);
  EXPECT_EQ(second.ports.at(10).slot, 2u);
}

TEST(MapImage, MissingDeviceLeavesOutItsPortAndAddressOnly) {
  auto [image, problems] = compile(example(), {{"tap2", {12, true}}}, {});
  EXPECT_THAT(problems, ElementsAre(HasSubstr("tap1"), HasSubstr("tap1")));
  EXPECT_EQ(image.ports.size(), 1u);
  EXPECT_EQ(image.addresses.size(), 2u);
  EXPECT_FALSE(image.neighbors.contains(neighbor_key(7, make_address("10.0.0.1"))));
}

TEST(MapImage, NumbersOutsideTheirRangeAreLeftOut) {
  DesiredState state;
  state.networks = {{0, 1430}, {policy::kVniForwardedBit, 1430}};
  state.ports = {{"tap1", policy::kVniForwardedBit | 7, mac(1), false}};
  state.addresses = {
      {0, mac(1), {}, RemoteHost{make_address("192.0.2.2")}, 1},
      {7, {{0x33, 0x33, 0, 0, 0, 1}}, {}, RemoteHost{make_address("192.0.2.2")}, 1},
  };
  auto [image, problems] = compile(state, kDevices, {});
  EXPECT_EQ(problems.size(), 5u);
  EXPECT_TRUE(image.networks.empty() && image.ports.empty() && image.addresses.empty());
}

TEST(MapImage, OfTwoClaimsTheHigherGenerationWins) {
  const auto here = LocalPort{"tap1"};
  const auto there = RemoteHost{make_address("192.0.2.2")};
  for (bool newer_first : {false, true}) {
    DesiredState state = example();
    state.addresses = {{7, mac(1), {make_address("10.0.0.1")}, here, 4},
                       {7, mac(1), {make_address("10.0.0.1")}, there, 5},
                       {7, mac(4), {make_address("10.0.0.1")}, there, 6}};
    if (newer_first) std::reverse(state.addresses.begin(), state.addresses.end());
    auto [image, problems] = compile(state, kDevices, {});
    EXPECT_EQ(image.addresses.at(address_key(7, mac(1))).remote, 1u);
    EXPECT_EQ(image.neighbors.at(neighbor_key(7, make_address("10.0.0.1"))).mac[5], 4);
    EXPECT_THAT(problems, testing::Contains(HasSubstr("listed twice")));
    EXPECT_THAT(problems, testing::Contains(HasSubstr("10.0.0.1")));
  }
}

TEST(MapImage, DifferenceIsWhatChangedAndNoMore) {
  auto before = compile(example(), kDevices, {}).image;
  EXPECT_TRUE(difference(before.addresses, before.addresses).updates.empty());
  EXPECT_TRUE(difference(before.addresses, before.addresses).removals.empty());

  DesiredState moved = example();
  moved.addresses[0].location = RemoteHost{make_address("192.0.2.2")};
  moved.addresses.pop_back();
  auto after = compile(moved, kDevices, before).image;
  auto changes = difference(before.addresses, after.addresses);
  ASSERT_EQ(changes.updates.size(), 1u);
  EXPECT_EQ(changes.updates[0].second.remote, 1u);
  ASSERT_EQ(changes.removals.size(), 1u);
  EXPECT_EQ(changes.removals[0].vni, 8u);
  EXPECT_TRUE(difference(before.ports, after.ports).updates.empty());
}

TEST(MapImage, StayingHostsOfANetworkKeepTheirIndexes) {
  const auto host = [](int number) {
    return policy::IpAddress(boost::asio::ip::address_v4(0xc0000200u + number));
  };
  DesiredState state;
  state.networks = {{7, 0, {host(1), host(2), host(3), host(2)}}, {8, 0, {host(1)}}};
  auto first = compile(state, {}, {}).image;
  EXPECT_EQ(first.networks.at(7).hosts, 3u);
  EXPECT_EQ(first.networks.at(8).hosts, 1u);
  EXPECT_EQ(first.network_hosts.size(), 4u);

  // One goes: nothing else is touched, and nothing is where it was.
  state.networks = {{7, 0, {host(2), host(3)}}, {8, 0, {}}};
  auto second = compile(state, {}, first).image;
  EXPECT_THAT(difference(first.network_hosts, second.network_hosts).updates, IsEmpty());
  EXPECT_EQ(difference(first.network_hosts, second.network_hosts).removals.size(), 2u);
  EXPECT_EQ(second.networks.at(7).hosts, 3u);
  EXPECT_EQ(second.networks.at(8).hosts, 0u);
  EXPECT_THAT(decompile(second, {}, {}).networks[0].hosts, ElementsAre(host(2), host(3)));

  // One comes, and takes that place.
  state.networks = {{7, 0, {host(2), host(3), host(4)}}};
  auto third = compile(state, {}, second).image;
  EXPECT_EQ(difference(second.network_hosts, third.network_hosts).updates.size(), 1u);
  EXPECT_EQ(third.networks.at(7).hosts, 3u);
  // A host that is listed twice, as only somebody else can have written it.
  auto tampered = third;
  tampered.network_hosts[{7, 900}] = vtep_value(host(2));
  EXPECT_EQ(compile(state, {}, tampered).image.network_hosts.size(), 3u);
}

TEST(MapImage, StayingPortsOfANetworkKeepTheirIndexes) {
  DesiredState state;
  state.networks = {{7, 0}, {8, 0}};
  state.ports = {{"a", 7, mac(1)}, {"b", 7, mac(2)}, {"c", 8, mac(3)}};
  const PortDevices devices = {{"a", {11}}, {"b", {12}}, {"c", {13}}, {"d", {5}}};
  auto first = compile(state, devices, {}).image;
  EXPECT_EQ(first.networks.at(7).ports, 2u);
  EXPECT_EQ(first.networks.at(8).ports, 1u);
  state.ports = {{"b", 7, mac(2)}, {"c", 8, mac(3)}};
  auto second = compile(state, devices, first).image;
  EXPECT_THAT(difference(first.network_ports, second.network_ports).updates, IsEmpty());
  EXPECT_EQ(difference(first.network_ports, second.network_ports).removals.size(), 1u);
  EXPECT_EQ(second.networks.at(7).ports, 2u);
  state.ports.push_back({"d", 7, mac(4)});
  auto third = compile(state, devices, second).image;
  EXPECT_EQ(third.network_ports.at({7, 0}), 5u);
  EXPECT_EQ(third.network_ports.at({7, 1}), 12u);
  EXPECT_EQ(third.network_ports.at({8, 0}), 13u);
}

TEST(MapImage, HostsBeyondTheLimitOfANetworkAreReported) {
  NetworkEntry network{7, 0};
  for (std::uint32_t i = 0; i < HP_MAX_NETWORK_HOSTS; ++i) {
    network.hosts.push_back(boost::asio::ip::address_v4(0x0a000000u + i));
  }
  EXPECT_THAT(compile({{network}, {}, {}, {}}, {}, {}).problems, IsEmpty());
  network.hosts.push_back(make_address("192.0.2.2"));
  auto [image, problems] = compile({{network}, {}, {}, {}}, {}, {});
  EXPECT_THAT(problems, ElementsAre(testing::AllOf(HasSubstr("1025"), HasSubstr("1024"))));
  EXPECT_EQ(image.network_hosts.size(), std::size_t{HP_MAX_NETWORK_HOSTS});
  EXPECT_EQ(image.networks.at(7).hosts, std::uint32_t{HP_MAX_NETWORK_HOSTS});
}

TEST(MapImage, VtepsOfBothFamiliesKeepTheirValue) {
  for (const char* text : {"192.0.2.1", "2001:db8::1"}) {
    EXPECT_EQ(vtep_address(vtep_value(make_address(text))), make_address(text));
  }
}

TEST(MapImage, AliasesAndPathsThatCannotBeAreLeftOut) {
  DesiredState state = example();
  state.aliases = {{make_address("203.0.113.1"), make_address("192.0.2.77")},
                   {make_address("2001:db8::2"), make_address("192.0.2.2")}};
  state.paths = {{make_address("192.0.2.2"), policy::TrafficClass::bulk,
                  make_address("198.51.100.1"), make_address("2001:db8:2::2")}};
  auto [image, problems] = compile(state, kDevices, {});
  EXPECT_THAT(problems, ElementsAre(HasSubstr("203.0.113.1 is left out"),
                                    HasSubstr("2001:db8::2 is one of the hosts"),
                                    HasSubstr("different families")));
  EXPECT_TRUE(image.paths.empty());
  EXPECT_EQ(vtep_address(image.vteps.at(vtep_value(make_address("2001:db8::2"))).host),
            make_address("2001:db8::2"));
}

/// A way by that relay, on which those networks have the labels from `first` on.
PathEntry relayed(const char* relay, policy::Vni first, std::vector<policy::Vni> networks) {
  PathEntry path{make_address("192.0.2.2"),
                 policy::TrafficClass::bulk,
                 make_address("198.51.100.1"),
                 make_address(relay),
                 true,
                 {}};
  for (const policy::Vni vni : networks) path.labels.push_back({vni, first++});
  return path;
}

TEST(Labels, OfOneRelayAreNeverThoseOfAnother) {
  DesiredState state;
  state.paths = {relayed("203.0.113.1", kFirstLabel, {7, 8})};
  const auto first = compile(state, {}, {}).image;
  const __u32 number = first.labels.begin()->first.labels;
  // Others of the same are changed where they are.
  state.paths = {relayed("203.0.113.1", kFirstLabel + 9, {7, 9})};
  const auto second = compile(state, {}, first).image;
  EXPECT_EQ(second.paths.begin()->second.labels, number);
  EXPECT_EQ(second.labels.at({number, 7}), kFirstLabel + 9);
  EXPECT_THAT(difference(first.paths, second.paths).updates, IsEmpty());
  // Those of another have all come before the way leads there.
  std::vector<std::string> problems;
  const PathEntry other = relayed("203.0.113.2", kFirstLabel, {7});
  const MapPatch patch = patch_of(second, other, problems);
  ASSERT_EQ(patch.paths.updates.size(), 1u);
  const __u32 another = patch.paths.updates[0].second.labels;
  EXPECT_NE(another, number);
  ASSERT_EQ(patch.labels.updates.size(), 1u);
  EXPECT_EQ(patch.labels.updates[0].first.labels, another);
  EXPECT_EQ(patch.labels.removals.size(), 2u);
  // And the whole state says the same.
  MapImage third = second;
  apply_patch(third, patch);
  state.paths = {other};
  EXPECT_EQ(decompile(third, {}, {}), state);
  EXPECT_THAT(difference(third.paths, compile(state, {}, third).image.paths).updates, IsEmpty());
  // Two ways by one number, as only somebody else can have written it.
  MapImage tampered = third;
  hp_path twice = third.paths.begin()->second;
  tampered.paths[path_key(make_address("192.0.2.3"), policy::TrafficClass::bulk)] = twice;
  state.paths.push_back(other);
  state.paths.back().vtep = make_address("192.0.2.3");
  state.paths.back().labels = {{7, kLastLabel}};
  EXPECT_EQ(decompile(compile(state, {}, tampered).image, {}, {}), state);
}

TEST(Labels, AWayThatIsRelayedNoMoreHasNone) {
  DesiredState state;
  state.paths = {relayed("203.0.113.1", kFirstLabel, {7, 8})};
  const auto image = compile(state, {}, {}).image;
  PathEntry direct = relayed("203.0.113.1", kFirstLabel, {});
  direct.relayed = false;
  std::vector<std::string> problems;
  const MapPatch patch = patch_of(image, direct, problems);
  ASSERT_EQ(patch.paths.updates.size(), 1u);
  EXPECT_EQ(patch.paths.updates[0].second.labels, 0u);
  EXPECT_EQ(patch.labels.removals.size(), 2u);
}

TEST(Labels, AreOfTheirRangeAndNoMoreThanThereIsRoomFor) {
  DesiredState state;
  state.paths = {relayed("203.0.113.1", 7, {7})};
  state.relays = {{kFirstLabel - 1, make_address("192.0.2.2"), make_address("192.0.2.3"), 7},
                  {kFirstLabel, make_address("192.0.2.2"), make_address("192.0.2.3"), kFirstLabel},
                  {kFirstLabel, make_address("192.0.2.2"), make_address("192.0.2.3"), 7},
                  {kFirstLabel, make_address("192.0.2.9"), make_address("192.0.2.3"), 7}};
  auto [image, problems] = compile(state, {}, {});
  EXPECT_THAT(
      problems,
      ElementsAre(HasSubstr("cannot have the label 7"), HasSubstr("under the label 7340031"),
                  HasSubstr("The network 7340032 cannot be relayed"), HasSubstr("listed twice")));
  EXPECT_TRUE(image.paths.empty() && image.labels.empty());
  EXPECT_EQ(vtep_address(image.relays.at(kFirstLabel).from), make_address("192.0.2.2"));

  std::vector<policy::Vni> networks(HP_MAX_LABELS + 2);
  std::iota(networks.begin(), networks.end(), 1);
  state.paths = {relayed("203.0.113.1", kFirstLabel, networks)};
  state.relays.clear();
  for (policy::Vni label = kFirstLabel; label <= kFirstLabel + HP_MAX_RELAYS; ++label) {
    state.relays.push_back({label, make_address("192.0.2.2"), make_address("192.0.2.3"), 7});
  }
  const auto full = compile(state, {}, {});
  EXPECT_THAT(full.problems, ElementsAre(HasSubstr("limit of 65536 labels"),
                                         HasSubstr("limit of 65536 that it relays")));
  EXPECT_EQ(full.image.labels.size(), std::size_t{HP_MAX_LABELS});
  EXPECT_EQ(full.image.relays.size(), std::size_t{HP_MAX_RELAYS});
}

TEST(PortRulesOfMaps, AreFoundByEachOfTheirPorts) {
  DesiredState state;
  state.port_rules = {{{6, 10, 20}, policy::TrafficClass::bulk},
                      {{6, 15, 15}, policy::TrafficClass::interactive}};
  const MapImage image = compile(state, {}, {}).image;
  for (int port = 0; port <= 65535; ++port) {
    const auto found = find_rule(image, rule_key(6, static_cast<std::uint16_t>(port)));
    ASSERT_EQ(found.has_value(), port >= 10 && port <= 20) << port;
    if (!found) continue;
    const auto expected = port == 15 ? HP_CLASS_INTERACTIVE : HP_CLASS_BULK;
    EXPECT_EQ(found->traffic_class, static_cast<__u32>(expected)) << port;
    EXPECT_EQ(found->first, port == 15 ? 15 : 10) << port;
  }
  EXPECT_FALSE(find_rule(image, rule_key(17, 15)));
  const MapImage none;
  EXPECT_THAT(tampering(image, none), testing::Contains("the rule for tcp:16-19 was missing"));
  EXPECT_THAT(tampering(none, image), testing::Contains("the rule for tcp:15 was added"));
}

TEST(PortRulesOfMaps, ThatFindNoRoomAreNamed) {
  DesiredState state;
  for (int protocol = 0; protocol < 256; ++protocol) {  // 28 prefixes each, and more
    const auto number = static_cast<std::uint8_t>(protocol);
    state.port_rules.push_back({{number, 1, 32766}, policy::TrafficClass::bulk});
    state.port_rules.push_back({{number, 32769, 65534}, policy::TrafficClass::bulk});
  }
  const auto [image, problems] = compile(state, {}, {});
  EXPECT_EQ(image.port_rules.size(), std::size_t{HP_MAX_PORT_RULES});
  EXPECT_THAT(problems, ElementsAre(HasSubstr("there is room for 8192 prefixes")));
}

TEST(Differences, NameWhatIsMissingTooMuchOrAnother) {
  DesiredState desired = example();
  normalize(desired);
  EXPECT_THAT(differences(desired, desired), IsEmpty());
  DesiredState found = desired;
  found.ports.erase(found.ports.begin());
  found.vteps.push_back(make_address("203.0.113.9"));
  found.addresses.at(0).generation += 1;
  found.networks.at(0).mtu = 9;
  EXPECT_THAT(differences(desired, found),
              ElementsAre("the network of VNI 7 is another",
                          HasSubstr("the port " + desired.ports.at(0).device + " of VNI"),
                          HasSubstr("is another"), "the VTEP 203.0.113.9 should not be there"));
  EXPECT_THAT(differences(desired, found, 2), testing::SizeIs(2));
}

}  // namespace
}  // namespace homeport::overlay
