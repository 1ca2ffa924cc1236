// What every datapath keeps, adopts and mends: host 2 is the one that is looked at.
#include "overlay/datapath/map_image.h"
#include "tests/unit/overlay/datapath/fabric.h"
#include "tests/unit/overlay/datapath/frames.h"

#include <bpf/bpf.h>
#include <gmock/gmock.h>

#include <atomic>
#include <chrono>
#include <regex>

namespace homeport::overlay {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

const BpfFileSystem& bpf() {
  static const BpfFileSystem file_system;
  return file_system;
}

class Upkeep : public testing::TestWithParam<Fleet> {
 protected:
  Fabric fabric_{bpf(), GetParam()};
  Host& host_ = fabric_.host(2);
  App& one_ = fabric_.app(1);
  App& two_ = fabric_.app(2);

  DesiredState desired() const {
    DesiredState state = host_.desired;
    normalize(state);
    return state;
  }

  void expect_talk() {
    Socket server(two_.inside, false), client(one_.inside, false);
    client.send(two_.v4, server.port(), "ping");
    EXPECT_EQ(server.receive(), "ping");
    server.send(one_.v4, client.port(), "pong");
    EXPECT_EQ(client.receive(), "pong");
  }

  /// Takes by hand what says where application 2 is.
  void delete_address_by_hand() {
    if (host_.kind == Kind::ovs) {
      host_.open_vswitch->ofctl({"del-flows", "br-int", "dl_dst=" + two_.mac.to_string()});
      return;
    }
    const auto map = host_.options.pin_directory / ("layout-" + std::to_string(HP_LAYOUT_VERSION)) /
                     "hp_addresses";
    UniqueFd fd(bpf_obj_get(map.c_str()));
    const hp_address_key key = address_key(kVni, two_.mac);
    ASSERT_EQ(bpf_map_delete_elem(fd.get(), &key), 0);
  }
  /// And its port, not its device.
  void delete_port_by_hand() {
    if (host_.kind == Kind::ovs) {
      host_.open_vswitch->vsctl({"del-port", "br-int", "app2"});
    } else {
      host_.inside.shell("tc filter del dev app2 ingress");
    }
  }

  /// Runs `disturb` while numbered datagrams go from one application to the other, one after the
  /// other as fast as they are taken; expects each of them, in order.
  template <class Disturb>
  void expect_no_loss_during(Disturb disturb) {
    Socket server(two_.inside, false), client(one_.inside, false);
    std::atomic<bool> done = false;
    std::uint64_t sent = 0;
    std::thread traffic([&] {
      while (!done || sent <= 100) {
        const std::string data = std::to_string(++sent);
        client.send(two_.v4, server.port(), data);
        ASSERT_EQ(server.receive(), data);
      }
    });
    disturb();
    done = true;
    traffic.join();
    EXPECT_GT(sent, 100u);
  }
};

TEST_P(Upkeep, ReadBackIsWhatWasApplied) {
  EXPECT_EQ(host_.read_back().value(), desired());
  EXPECT_TRUE(host_.untouched());
  host_.apply().value();
  EXPECT_THAT(host_.datapath->mended(), IsEmpty());
  EXPECT_EQ(host_.read_back().value(), desired());
}

TEST_P(Upkeep, SetAddressIsReadBack) {
  EXPECT_TRUE(host_.untouched());
  AddressEntry& entry = fabric_.desired_entry(2, two_);
  entry = fabric_.left(two_, 2, 1, 9);
  host_.set_address(entry).value();
  EXPECT_EQ(host_.read_back().value(), desired());
  EXPECT_TRUE(host_.untouched());
  host_.apply().value();
  EXPECT_THAT(host_.datapath->mended(), IsEmpty());  // It was not somebody else's.
  EXPECT_EQ(host_.read_back().value(), desired());
}

TEST_P(Upkeep, TrafficGoesOnWithoutTheAgent) {
  host_.datapath.reset();
  expect_talk();
}

TEST_P(Upkeep, NewAgentFindsEverythingAndKeepsTheCounters) {
  expect_talk();
  EXPECT_TRUE(eventually([&] { return host_.port(two_).delivered_packets >= 1; }));
  const auto delivered = host_.port(two_).delivered_packets;
  host_.restart();
  EXPECT_EQ(host_.read_back().value().addresses, desired().addresses);
  EXPECT_FALSE(host_.untouched()) << "it has left nothing yet";
  expect_talk();
  host_.apply().value();
  EXPECT_EQ(host_.read_back().value(), desired());
  EXPECT_TRUE(eventually([&] { return host_.port(two_).delivered_packets >= delivered + 1; }));
}

TEST_P(Upkeep, NewAgentRedirectsBeforeItsFirstApply) {
  host_.restart();
  AddressEntry& entry = fabric_.desired_entry(2, two_);
  entry = fabric_.left(two_, 2, 1, 2);
  host_.set_address(entry).value();
  EXPECT_EQ(host_.read_back().value().addresses, desired().addresses);
}

TEST_P(Upkeep, RestartsLoseNothing) {
  expect_no_loss_during([&] {
    for (int i = 0; i < 10; ++i) {
      host_.restart();
      host_.apply().value();
    }
  });
}

TEST_P(Upkeep, ChangesOfOthersLoseNothing) {
  AddressEntry other = fabric_.entry(one_, 2, 1);
  other.mac.bytes[5] = 50;
  other.ips = {boost::asio::ip::make_address("10.0.0.50")};
  expect_no_loss_during([&] {
    for (int i = 0; i < 5; ++i) {
      host_.desired.addresses.push_back(other);
      host_.apply().value();
      host_.desired.addresses.pop_back();
      host_.apply().value();
    }
  });
}

TEST_P(Upkeep, AddressDeletedByHandIsMendedAndNamed) {
  delete_address_by_hand();
  EXPECT_FALSE(host_.read_back().value() == desired());
  EXPECT_FALSE(host_.untouched());
  host_.apply().value();
  EXPECT_THAT(host_.datapath->mended(),
              Contains(HasSubstr("02:00:00:00:00:02 of network 42 w")));  // was or were missing
  EXPECT_EQ(host_.read_back().value(), desired());
  EXPECT_TRUE(host_.untouched());
  host_.apply().value();
  EXPECT_THAT(host_.datapath->mended(), IsEmpty());
  expect_talk();
}

TEST_P(Upkeep, PortDeletedByHandIsMendedAndNamed) {
  delete_port_by_hand();
  EXPECT_THAT(host_.read_back().value().ports, IsEmpty());
  EXPECT_FALSE(host_.untouched());
  host_.apply().value();
  EXPECT_THAT(host_.datapath->mended(), Contains(HasSubstr("app2 was missing")));
  EXPECT_TRUE(host_.untouched());
  EXPECT_EQ(host_.read_back().value(), desired());
  expect_talk();
}

TEST_P(Upkeep, MissingDeviceIsNamedAndTheRestIsApplied) {
  host_.desired.ports.insert(host_.desired.ports.begin(),
                             {"missing", kVni, {{2, 0, 0, 0, 0, 50}}, false});
  AddressEntry late = fabric_.entry(one_, 2, 1);
  late.mac.bytes[5] = 51;
  late.ips = {boost::asio::ip::make_address("10.0.0.51")};
  host_.desired.addresses.push_back(late);
  EXPECT_THAT(host_.apply().error().message, HasSubstr("missing is not carried"));
  host_.desired.ports.erase(host_.desired.ports.begin());
  EXPECT_EQ(host_.read_back().value(), desired());
}

TEST_P(Upkeep, AContradictionIsToldAndNothingToMend) {
  AddressEntry claims = fabric_.entry(one_, 2, 1);
  claims.mac.bytes[5] = 51;  // and the IP addresses are those of application 1
  host_.desired.addresses.push_back(claims);
  EXPECT_FALSE(host_.apply());
  EXPECT_TRUE(host_.untouched());
  delete_address_by_hand();
  EXPECT_FALSE(host_.untouched());
}

TEST_P(Upkeep, PortThatIsNoMoreWantedIsNoPort) {
  host_.desired.ports.clear();
  std::erase_if(host_.desired.addresses, [&](const auto& entry) { return entry.mac == two_.mac; });
  host_.apply().value();
  EXPECT_EQ(host_.read_back().value(), desired());
  EXPECT_TRUE(host_.inside.run([] { return find_link("app2").has_value(); }));
  EXPECT_EQ(host_.inside.run([&] { return host_.datapath->counters("app2").error().code; }),
            boost::system::errc::no_such_device);
}

TEST_P(Upkeep, DeviceThatComesBackIsAPortAgain) {
  expect_talk();
  host_.inside.run([] { delete_device("app2").value(); });
  EXPECT_FALSE(host_.untouched());
  EXPECT_FALSE(host_.apply());
  host_.inside.run([] { create_tap({.name = "app2"}).value(); });
  // ovs-vswitchd learns of both from the kernel, a moment later than of what it is told.
  EXPECT_TRUE(eventually([&] { return host_.apply() && host_.read_back().value() == desired(); }));
  UniqueFd guest = host_.inside.run([] { return open_tap_queue("app2").value(); });
  EXPECT_TRUE(eventually([&] {
    Socket client(one_.inside, false);
    client.send(two_.v4, 9, "here?");
    return !tap_queue_empty(guest.get()).value();
  }));
}

TEST_P(Upkeep, AddressOfADeviceThatIsNoPortIsRefused) {
  AddressEntry entry = fabric_.entry(two_, 2, 2);
  entry.location = LocalPort{"underlay"};
  EXPECT_THAT(host_.set_address(entry).error().message, HasSubstr("underlay"));
  entry.location = LocalPort{"missing"};
  EXPECT_EQ(host_.set_address(entry).error().code, boost::system::errc::no_such_device);
}

TEST_P(Upkeep, ManyAddressesAreReadBackWhole) {
  for (std::uint32_t i = 0; i < 500; ++i) {
    AddressEntry entry = fabric_.entry(one_, 2, 1);
    entry.mac.bytes = {2, 1, 0, 0, static_cast<std::uint8_t>(i >> 8), static_cast<std::uint8_t>(i)};
    entry.ips = {boost::asio::ip::address_v4(0x0a010000 + i)};
    host_.desired.addresses.push_back(entry);
  }
  host_.apply().value();
  EXPECT_TRUE(host_.read_back().value() == desired());
  host_.desired.addresses.resize(2);
  host_.apply().value();
  EXPECT_EQ(host_.read_back().value(), desired());
}

INSTANTIATE_TEST_SUITE_P(
    Fleets, Upkeep,
    testing::Values(Fleet{"Ebpf", Underlay::v4, {Kind::ebpf, Kind::ebpf}},
                    Fleet{"Ovs", Underlay::v4, {Kind::ovs, Kind::ovs}},
                    Fleet{"OvsAmongEbpf", Underlay::v6, {Kind::ebpf, Kind::ovs}}),
    fleet_name);

/// What only the eBPF datapath has.
class EbpfUpkeep : public Upkeep {};

TEST_P(EbpfUpkeep, WhatIsUnpinnedOrTakenDownByHandIsMendedAndNamed) {
  expect_talk();
  const auto delivered = host_.port(two_).delivered_packets;
  auto untouched = [&] { return host_.untouched(); };
  host_.apply().value();
  EXPECT_TRUE(untouched());
  const auto directory =
      host_.options.pin_directory / ("layout-" + std::to_string(HP_LAYOUT_VERSION));
  std::filesystem::remove(directory / "hp_addresses");
  EXPECT_FALSE(untouched());
  host_.apply().value();
  EXPECT_THAT(host_.datapath->mended(),
              ElementsAre("1 of the maps in " + directory.string() + " were not pinned any more"));
  EXPECT_TRUE(untouched());
  std::filesystem::remove_all(directory);
  host_.apply().value();
  EXPECT_THAT(host_.datapath->mended(), Contains(HasSubstr("were not pinned any more")));
  EXPECT_TRUE(untouched());
  host_.inside.run([&] { set_link_up(host_.options.vxlan_device, false).value(); });
  EXPECT_FALSE(untouched());
  host_.apply().value();
  EXPECT_THAT(host_.datapath->mended(),
              ElementsAre("the device " + host_.options.vxlan_device + " was down"));
  EXPECT_TRUE(untouched());
  // A new agent finds what the old one has pinned again.
  host_.restart();
  EXPECT_EQ(host_.read_back().value().addresses, desired().addresses);
  EXPECT_GE(host_.port(two_).delivered_packets, delivered);
  expect_talk();
}

INSTANTIATE_TEST_SUITE_P(Fleets, EbpfUpkeep,
                         testing::Values(Fleet{"Ebpf", Underlay::v4, {Kind::ebpf, Kind::ebpf}}),
                         fleet_name);

/// What concerns a bridge that others use too.
class SharedBridge : public Upkeep {
 protected:
  std::string flows(const std::string& match) {
    // Without their counts and ages.
    const std::string all = host_.open_vswitch->ofctl({"dump-flows", "br-int", match});
    return std::regex_replace(all, std::regex("(duration|n_packets|n_bytes|idle_age)=[^,]*, "), "");
  }
};

TEST_P(SharedBridge, OtherPeoplesFlowsAndPortsStay) {
  host_.inside.run([] { create_veth("theirs", "theirs-peer"); });
  host_.open_vswitch->vsctl({"add-port", "br-int", "theirs"});
  for (const char* flow : {"table=0,priority=5,cookie=0x77,actions=NORMAL",
                           "table=202,priority=9,cookie=0x77,dl_dst=06:00:00:00:00:01,actions=drop",
                           "table=99,cookie=0x77,ip,actions=drop"}) {
    host_.open_vswitch->ofctl({"add-flow", "br-int", flow});
  }
  const std::string before = flows("cookie=0x77/-1");
  EXPECT_TRUE(host_.untouched());
  host_.apply().value();
  EXPECT_THAT(host_.datapath->mended(), IsEmpty());
  host_.restart();
  host_.apply().value();
  host_.desired = {};
  host_.apply().value();
  EXPECT_EQ(flows("cookie=0x77/-1"), before);
  EXPECT_THAT(host_.open_vswitch->vsctl({"list-ports", "br-int"}), HasSubstr("theirs"));
}

TEST_P(SharedBridge, WhatOthersSendToAllIsForNetworksWithANormalWayAlone) {
  App& normal = fabric_.join(2, kVni + 1);
  host_.desired.networks.push_back({.vni = kVni + 1, .normal = true});
  host_.apply().value();
  host_.settle();
  host_.inside.shell("ip link add theirs type veth peer name world && ip link set theirs up");
  host_.inside.run([] { set_link_up("world", true).value(); });
  host_.open_vswitch->vsctl({"add-port", "br-int", "theirs"});
  host_.open_vswitch->ofctl({"add-flow", "br-int", "priority=0,cookie=0x77,actions=NORMAL"});
  const auto frame = ethernet(kBroadcast, {{6, 0, 0, 0, 0, 1}}, 0x88b5, std::string(64, 'b'));
  auto broadcast = [&](const App& expected) {
    Sniffer sniffer(expected.inside);
    return eventually([&] {
      host_.inside.run([&] { send_frame_at("world", frame); });
      return sniffer.pending([&](const std::string& got) { return got == frame; });
    });
  };
  Sniffer closed(two_.inside);
  EXPECT_TRUE(broadcast(normal));
  EXPECT_FALSE(closed.pending([&](const std::string& got) { return got == frame; }));
  EXPECT_EQ(fabric_.tunnelled(2), 0u);
  // Nor is it by hand.
  host_.open_vswitch->ofctl10({"mod-port", "br-int", two_.device, "flood"});
  host_.apply().value();
  EXPECT_THAT(host_.datapath->mended(), ElementsAre("the flooding of the port app2 was changed"));
  host_.settle();
  EXPECT_TRUE(broadcast(normal));
  EXPECT_FALSE(closed.pending([&](const std::string& got) { return got == frame; }));
}

TEST_P(SharedBridge, APlaceThatIsTakenIsNamedAndLeft) {
  // The very match and priority that the flow of an address has.
  host_.desired.addresses.pop_back();
  host_.apply().value();
  host_.open_vswitch->ofctl(
      {"add-flow", "br-int",
       "table=202,priority=3,cookie=0x77,reg0=42,dl_dst=02:00:00:00:00:02,actions=drop"});
  host_.desired.addresses.push_back(fabric_.entry(two_, 2, 2));
  EXPECT_THAT(host_.apply().error().message, HasSubstr("not Homeport's"));
  EXPECT_FALSE(host_.untouched()) << "the place may be free by now";
  EXPECT_THAT(flows("cookie=0x77/-1"), HasSubstr("dl_dst=02:00:00:00:00:02"));
  EXPECT_EQ(host_.read_back().value().addresses.size(), 1u);
  host_.open_vswitch->ofctl({"del-flows", "br-int", "cookie=0x77/-1"});
  host_.apply().value();
  EXPECT_EQ(host_.read_back().value(), desired());
  expect_talk();
}

TEST_P(SharedBridge, APortThatIsThereAlreadyIsUsedAndLeftThere) {
  App& other = fabric_.add_app(2);
  host_.open_vswitch->vsctl({"add-port", "br-int", other.device});
  host_.desired.ports.push_back({other.device, kVni, other.mac, false});
  host_.apply().value();
  EXPECT_EQ(host_.read_back().value(), desired());
  host_.desired.ports.pop_back();
  host_.apply().value();
  EXPECT_THAT(host_.open_vswitch->vsctl({"list-ports", "br-int"}), HasSubstr(other.device));
}

TEST_P(SharedBridge, NothingThatIsRightIsWrittenAgain) {
  host_.apply().value();
  fabric_.desired_entry(2, one_).generation = 2;
  host_.apply().value();
  const std::string all = host_.open_vswitch->ofctl({"dump-flows", "br-int"});
  // A flow that is written again is as young as that. Those of application 1 have its generation in
  // their cookies.
  const std::regex flow("cookie=0x[0-9a-f]{8}([0-9a-f]{8}), duration=([0-9.]+)s,[^\n]*");
  double oldest_new = 0, youngest_old = 1e9;
  int written = 0, left = 0;
  for (std::sregex_iterator it(all.begin(), all.end(), flow), end; it != end; ++it) {
    const double age = std::stod((*it)[2]);
    if ((*it)[1] == "00000002") {
      ++written;
      oldest_new = std::max(oldest_new, age);
    } else {
      ++left;
      youngest_old = std::min(youngest_old, age);
    }
  }
  EXPECT_GT(written, 5);
  EXPECT_GT(left, 50);
  EXPECT_LT(oldest_new, youngest_old);
}

TEST_P(SharedBridge, ALookFindsWhatSomebodyHasDoneAndDoesNothingItself) {
  test::TestSwitch& bridge = *host_.open_vswitch;
  // Whatever a look could change, and how often the database was told to have it followed. The
  // kernel's own routes come when they like.
  auto given_routes = [&] {
    return std::regex_replace(bridge.appctl({"ovs/route/show"}), std::regex("Cached: [^\n]*"), "");
  };
  auto all = [&] {
    return flows("") + bridge.vsctl({"get", "Open_vSwitch", ".", "next_cfg"}) +
           bridge.vsctl({"list-ports", "br-int"}) + bridge.ofctl10({"show", "br-int"}) +
           bridge.ofctl({"dump-meters", "br-int"}) + given_routes();
  };
  const std::string settled = all();
  EXPECT_TRUE(host_.untouched());
  EXPECT_EQ(all(), settled);
  struct Deed {
    std::function<void()> done;
    std::string told;
  };
  const std::vector<Deed> deeds = {
      {[&] {
         bridge.ofctl({"del-flows", "br-int", "table=202"});
       },
       "network 42 were missing"},
      {[&] {
         bridge.ofctl({"mod-flows", "br-int", "table=206,actions=drop"});
       },
       "flows of the port app2 were changed"},
      {[&] {
         bridge.ofctl({"add-flow", "br-int",
                       "table=202,priority=9,cookie=0x4850000000000077,ip,actions=drop"});
       },
       "a flow was added to table 202"},
      {[&] {
         bridge.vsctl({"del-port", "br-int", "app2"});
       },
       "the port app2 was missing"},
      {[&] {
         bridge.vsctl({"del-port", "br-int", host_.ovs_options.tunnel_port});
       },
       "the port " + host_.ovs_options.tunnel_port + " was missing"},
      {[&] {
         bridge.vsctl({"set", "Interface", host_.ovs_options.tunnel_port, "options:key=5"});
       },
       "the options of the port " + host_.ovs_options.tunnel_port + " were others"},
      {[&] {
         bridge.ofctl10({"mod-port", "br-int", "app2", "flood"});
       },
       "the flooding of the port app2 was changed"},
      {[&] {
         bridge.appctl({"ovs/route/del", fabric_.host(1).vtep.to_string() + "/32"});
       },
       "the way of ovs-vswitchd to the host " + fabric_.host(1).vtep.to_string() + " was missing"},
      {[&] {
         bridge.vsctl({"del-br", "br-int"});
       },
       "the port app2 was missing"}};
  for (const Deed& deed : deeds) {
    SCOPED_TRACE(deed.told);
    deed.done();
    const bool whole = deed.told != deeds.back().told;
    const std::string upset = whole ? all() : "";
    EXPECT_FALSE(host_.untouched());
    EXPECT_EQ(whole ? all() : "", upset);
    host_.apply().value();
    EXPECT_THAT(host_.datapath->mended(), Contains(HasSubstr(deed.told)));
    EXPECT_TRUE(host_.untouched());
  }
  expect_talk();
}

TEST_P(SharedBridge, UpdateChangesAnAddressAndNothingElse) {
  host_.apply().value();
  auto update = [&](const StateChange& change) {
    return host_.inside.run([&] { return host_.datapath->update(change).value(); });
  };
  // By hand: it is for the next apply() to find.
  host_.open_vswitch->ofctl({"del-flows", "br-int", "table=206"});
  AddressEntry& entry = fabric_.desired_entry(2, one_);
  StateChange change{{entry}, {}, {}};
  ++entry.generation;
  entry.location = RemoteHost{boost::asio::ip::make_address("192.0.2.77")};
  change.now = {entry};
  EXPECT_TRUE(update(change));
  EXPECT_FALSE(host_.untouched());
  EXPECT_EQ(host_.read_back().value().addresses.front(), entry);
  EXPECT_THAT(flows("table=206"), testing::Not(HasSubstr("actions")));
  EXPECT_FALSE(update(change)) << "it is not as it is said to have been";
  host_.apply().value();
  EXPECT_THAT(host_.datapath->mended(), ElementsAre("flows of the port app2 were missing"));
  EXPECT_EQ(host_.read_back().value(), desired());
}

TEST_P(SharedBridge, UpdateTakesAPortAwayAndBringsItBack) {
  host_.apply().value();
  auto update = [&](const StateChange& change) {
    return host_.inside.run([&] { return host_.datapath->update(change).value(); });
  };
  const DesiredState with = desired();
  const AddressEntry address = fabric_.desired_entry(2, two_);
  const Port port = *std::ranges::find(with.ports, "app2", &Port::device);
  const StateChange leaving{{address}, {}, {}, {}, {port}, {}};
  const StateChange coming{{}, {address}, {}, {}, {}, {port}};
  DesiredState without = with;
  std::erase(without.ports, port);
  std::erase(without.addresses, address);
  auto meters = [&] { return host_.open_vswitch->ofctl({"dump-meters", "br-int"}); };
  for (int round = 0; round < 2; ++round) {
    EXPECT_THAT(meters(), HasSubstr("meter="));
    ASSERT_TRUE(update(leaving));
    EXPECT_EQ(host_.read_back().value(), without);
    EXPECT_TRUE(host_.untouched());
    EXPECT_THAT(host_.open_vswitch->vsctl({"list-ports", "br-int"}),
                testing::Not(HasSubstr("app2")));
    EXPECT_THAT(meters(), testing::Not(HasSubstr("meter=")));
    ASSERT_TRUE(update(coming));
    EXPECT_EQ(host_.read_back().value(), with);
    EXPECT_TRUE(host_.untouched());
    expect_talk();
    // Other people's flows send nothing to it that is for all ports.
    EXPECT_THAT(host_.open_vswitch->ofctl10({"show", "br-int"}),
                testing::ContainsRegex("\\(app2\\): addr:[0-9a-f:]+\n +config: +NO_FLOOD"));
  }
  host_.apply().value();
  EXPECT_THAT(host_.datapath->mended(), IsEmpty());
}

TEST_P(SharedBridge, UpdateLeavesAPlaceThatIsTakenToTheLookAtAll) {
  const AddressEntry address = fabric_.desired_entry(2, two_);
  std::erase(host_.desired.addresses, address);
  host_.apply().value();
  host_.open_vswitch->ofctl(
      {"add-flow", "br-int",
       "table=202,priority=3,cookie=0x77,reg0=42,dl_dst=02:00:00:00:00:02,actions=drop"});
  const StateChange coming{{}, {address}, {}};
  EXPECT_FALSE(host_.inside.run([&] { return host_.datapath->update(coming).value(); }));
  EXPECT_THAT(flows("cookie=0x77/-1"), HasSubstr("dl_dst=02:00:00:00:00:02"));
}

// Which of the two answers at it follows from both.
TEST_P(SharedBridge, UpdateLeavesAnAddressThatTwoClaimToTheLookAtAll) {
  host_.apply().value();
  AddressEntry second = fabric_.desired_entry(2, one_);
  second.mac.bytes[5] = 50;
  second.generation += 1;
  const std::string before = flows("cookie=0x4850000000000000/0xffff000000000000");
  const StateChange coming{{}, {second}, {}};
  EXPECT_FALSE(host_.inside.run([&] { return host_.datapath->update(coming).value(); }));
  EXPECT_EQ(flows("cookie=0x4850000000000000/0xffff000000000000"), before);
}

TEST_P(SharedBridge, OpenVSwitchThatIsStartedAgainIsFilledAgain) {
  host_.open_vswitch->kill_daemon();
  EXPECT_FALSE(host_.untouched());
  EXPECT_FALSE(host_.apply());
  host_.open_vswitch->start_daemon();
  fabric_.introduce_neighbors();
  EXPECT_FALSE(host_.untouched());
  host_.apply().value();
  EXPECT_EQ(host_.read_back().value(), desired());
  EXPECT_TRUE(host_.untouched());
  EXPECT_TRUE(eventually([&] {
    Socket server(two_.inside, false), client(one_.inside, false);
    client.send(two_.v4, server.port(), "ping");
    return server.pending();
  }));
}

TEST_P(SharedBridge, WhatCouldNotBeAppliedIsAppliedThoughNothingHasChanged) {
  EXPECT_TRUE(host_.untouched());
  host_.open_vswitch->freeze_daemon();
  EXPECT_FALSE(host_.apply());
  host_.open_vswitch->thaw_daemon();
  EXPECT_TRUE(eventually([&] { return host_.datapath->counters().has_value(); }));
  EXPECT_FALSE(host_.untouched());
  host_.apply().value();
  EXPECT_THAT(host_.datapath->mended(), IsEmpty());
  EXPECT_TRUE(host_.untouched());
}

TEST_P(SharedBridge, TunnelOfSomebodyElseIsRefused) {
  OvsOptions options = host_.ovs_options;
  options.tunnel_port = "theirs";
  host_.open_vswitch->vsctl(
      {"add-port", "br-int", "theirs", "--", "set", "Interface", "theirs", "type=internal"});
  auto made = host_.inside.run([&] { return make_ovs_datapath(options); });
  EXPECT_THAT(made.error().message, HasSubstr("not Homeport's"));
}

INSTANTIATE_TEST_SUITE_P(Fleets, SharedBridge,
                         testing::Values(Fleet{"Ovs", Underlay::v4, {Kind::ebpf, Kind::ovs}}),
                         fleet_name);

}  // namespace
}  // namespace homeport::overlay
