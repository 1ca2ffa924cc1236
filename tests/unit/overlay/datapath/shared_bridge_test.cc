// A bridge of Open vSwitch that others use too: what is theirs stays, and what is Homeport's is
// kept.
#include "tests/unit/overlay/datapath/upkeep.h"

#include <regex>

namespace homeport::overlay {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

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
    EXPECT_THAT(meters(), HasSubstr("rate=100 "));
    ASSERT_TRUE(update(leaving));
    EXPECT_EQ(host_.read_back().value(), without);
    EXPECT_TRUE(host_.untouched());
    EXPECT_THAT(host_.open_vswitch->vsctl({"list-ports", "br-int"}),
                testing::Not(HasSubstr("app2")));
    EXPECT_THAT(meters(), testing::Not(HasSubstr("rate=100 ")));
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
  host_.ovs_options.bridge.silence = std::chrono::seconds(1);
  host_.restart();
  host_.apply().value();
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
