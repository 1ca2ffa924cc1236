// Ports and flows of a real bridge.
#include "overlay/vswitch/bridge.h"

#include "tests/unit/overlay/link/devices.h"
#include "tests/unit/overlay/link/net_namespace.h"
#include "tests/unit/overlay/vswitch/test_switch.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <atomic>
#include <future>

namespace homeport::overlay::vswitch {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr std::uint64_t kOurs = 0x4850ull << 48;
constexpr std::uint64_t kMask = 0xffffull << 48;

class BridgeTest : public testing::Test {
 protected:
  NetNamespace inside_;
  test::TestSwitch switch_{inside_.fd()};
  Bridge bridge_{switch_.bridge("br-int")};

  void SetUp() override { bridge_.ensure().value(); }

  static Flow flow(std::uint8_t table, std::uint16_t priority, std::string match,
                   std::string actions, std::uint64_t cookie = kOurs) {
    return {{table, priority, std::move(match)}, {cookie, std::move(actions)}, {}};
  }
  std::vector<FlowKey> keys(std::uint64_t cookie = kOurs, std::uint64_t mask = kMask) {
    std::vector<FlowKey> keys;
    for (const Flow& flow : bridge_.flows(cookie, mask).value()) keys.push_back(flow.key);
    return keys;
  }
  static FlowChange add(const Flow& flow) { return {flow.key, flow.body}; }
  static FlowChange remove(const Flow& flow) { return {flow.key, flow.body, true}; }
};

TEST_F(BridgeTest, IsMadeOnceAndForwardsNothingByItself) {
  EXPECT_EQ(switch_.vsctl({"get", "Bridge", "br-int", "datapath_type", "fail_mode"}),
            "netdev\nsecure\n");
  const std::string uuid = switch_.vsctl({"get", "Bridge", "br-int", "_uuid"});
  bridge_.ensure().value();
  EXPECT_EQ(switch_.vsctl({"get", "Bridge", "br-int", "_uuid"}), uuid);
  EXPECT_THAT(keys(0, 0), IsEmpty());
}

TEST_F(BridgeTest, OfAnotherDatapathTypeIsRefused) {
  BridgeOptions options = switch_.bridge("br-int");
  options.datapath_type = "system";
  auto refused = Bridge(options).ensure();
  EXPECT_THAT(refused.error().message, HasSubstr("has the datapath type netdev, not system"));
}

TEST_F(BridgeTest, PortsComeAndGoAndOtherPeoplesStay) {
  inside_.run([] {
    create_veth("ours", "ours-peer");
    create_veth("theirs", "theirs-peer");
  });
  switch_.vsctl({"add-port", "br-int", "theirs"});
  bridge_
      .change_ports(
          {{"ours", "", "port", "", "", -1},
           {"tunnel", "vxlan", "tunnel", "dst_port=4790,key=flow,remote_ip=flow", "", -1}},
          {})
      .value();
  std::map<std::string, BridgePort> ports;
  for (const BridgePort& port : bridge_.ports().value()) ports[port.name] = port;
  EXPECT_GT(ports.at("ours").number, 0);
  EXPECT_EQ(ports.at("ours").owner, "port");
  EXPECT_GT(ports.at("tunnel").number, 0);
  EXPECT_EQ(ports.at("tunnel").options, "dst_port=4790,key=flow,remote_ip=flow");
  EXPECT_EQ(ports.at("theirs").owner, "");

  bridge_.change_ports({}, {"ours", "theirs"}).value();
  EXPECT_THAT(switch_.vsctl({"list-ports", "br-int"}), "theirs\ntunnel\n");
}

TEST_F(BridgeTest, PortsAreAtHandAsLongAsTheBridgeIsAsItIsWanted) {
  inside_.run([] { create_veth("ours", "ours-peer"); });
  bridge_.change_ports({{"ours", "", "port", "", "", -1}}, {}).value();
  EXPECT_EQ(bridge_.ports_at_hand(), bridge_.ports().value());
  BridgeOptions other = switch_.bridge("br-int");
  other.datapath_type = "system";
  Bridge of_another_type(other);
  of_another_type.ports().value();
  EXPECT_FALSE(of_another_type.ports_at_hand());
  switch_.vsctl({"del-br", "br-int"});
  EXPECT_FALSE(bridge_.ports_at_hand());
}

TEST_F(BridgeTest, FloodingIsLookedAtAndSet) {
  inside_.run([] { create_veth("ours", "ours-peer"); });
  bridge_.change_ports({{"ours", "", "port", "", "", -1}}, {}).value();
  const auto ports = bridge_.ports().value();
  const std::int64_t number = std::ranges::find(ports, "ours", &BridgePort::name)->number;
  const std::map<std::int64_t, bool> wanted = {{number, false}, {number + 100, false}};
  auto shown = [&] { return switch_.ofctl10({"show", "br-int"}); };
  for (int look = 0; look < 2; ++look) {
    EXPECT_THAT(bridge_.other_flooding(wanted).value(), ElementsAre(number));
  }
  EXPECT_THAT(shown(), testing::Not(HasSubstr("NO_FLOOD")));
  EXPECT_THAT(bridge_.set_flooding(wanted).value(), ElementsAre(number));
  EXPECT_THAT(shown(), HasSubstr("NO_FLOOD"));
  EXPECT_THAT(bridge_.other_flooding(wanted).value(), IsEmpty());
  EXPECT_THAT(bridge_.set_flooding(wanted).value(), IsEmpty());
}

TEST_F(BridgeTest, DeviceThatIsMissingHasNoNumberAndAReason) {
  bridge_.change_ports({{"missing", "", "port", "", "", -1}}, {}).value();
  for (const BridgePort& port : bridge_.ports().value()) {
    if (port.name != "missing") continue;
    EXPECT_EQ(port.number, -1);
    EXPECT_THAT(port.error, HasSubstr("No such device"));
  }
  inside_.run([] { create_veth("missing", "peer"); });
  bridge_.change_ports({}, {}).value();
  for (const BridgePort& port : bridge_.ports().value()) EXPECT_GE(port.number, 0) << port.name;
}

TEST_F(BridgeTest, FlowsAreToldInTheWordsOfTheirCanonicalForm) {
  const std::vector<Flow> written = {
      flow(200, 7, "arp,reg0=0x2a,arp_tpa=10.0.0.1,arp_op=1",
           "set_field:0x020000000001->xreg1,resubmit(,201),note:41.42"),
      flow(201, 1, "reg1=0x1/0x3,dl_dst=01:00:00:00:00:00/01:00:00:00:00:00",
           "move:NXM_NX_REG0[]->NXM_NX_TUN_ID[0..31],load:0x1->NXM_NX_TUN_ID[23],"
           "set_field:192.0.2.1->tun_dst,output:7"),
      flow(202, 0, "", "drop")};
  const auto canonical = bridge_.canonical(written).value();
  bridge_.change_flows({add(written[0]), add(written[1]), add(written[2])}).value();
  const auto found = bridge_.flows(kOurs, kMask).value();
  ASSERT_EQ(found.size(), 3u);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(found[i].key, canonical[i].key);
    EXPECT_EQ(found[i].body, canonical[i].body);
  }
}

TEST_F(BridgeTest, ABundleIsAllOrNothing) {
  const Flow good = flow(200, 1, "in_port=1", "drop");
  const Flow refused = flow(200, 1, "in_port=2", "meter:7");  // There is no such meter.
  auto result = bridge_.change_flows({add(good), add(refused)});
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().message, HasSubstr("refuses a change"));
  EXPECT_THAT(keys(), IsEmpty());
  bridge_.change_flows({add(good)}).value();
  EXPECT_THAT(keys(), ElementsAre(good.key));
}

TEST_F(BridgeTest, WrongWordsAreToldAndNothingHappens) {
  auto result = bridge_.change_flows({add(flow(200, 1, "in_port=1", "fly:1"))});
  EXPECT_THAT(result.error().message, HasSubstr("actions=fly:1\" is wrong"));
  EXPECT_THAT(keys(), IsEmpty());
}

TEST_F(BridgeTest, OnlyFlowsOfTheCookieAreRemoved) {
  const Flow ours = flow(200, 1, "in_port=1", "drop");
  const Flow theirs = flow(200, 1, "in_port=2", "drop", 0x77);
  bridge_.change_flows({add(ours), add(theirs)}).value();
  Flow pretended = theirs;
  pretended.body.cookie = kOurs;
  bridge_.change_flows({remove(pretended), remove(ours)}).value();
  EXPECT_THAT(keys(0, 0), ElementsAre(theirs.key));
}

TEST_F(BridgeTest, ManyFlowsGoThrough) {
  std::vector<FlowChange> changes;
  for (unsigned i = 0; i < 5'000; ++i) {
    changes.push_back(add(
        flow(202, 3, "reg0=" + std::to_string(i), "set_field:192.0.2.1->tun_dst,resubmit(,203)")));
  }
  bridge_.change_flows(changes).value();
  EXPECT_EQ(keys().size(), changes.size());
  for (FlowChange& change : changes) change.remove = true;
  bridge_.change_flows(changes).value();
  EXPECT_THAT(keys(), IsEmpty());
}

TEST_F(BridgeTest, ADigestIsThatOfTheFlowsWhateverTheyHaveCounted) {
  const Flow one = flow(200, 1, "in_port=1", "drop"), two = flow(201, 1, "in_port=2", "drop");
  auto digest = [&] { return bridge_.digest(kOurs, kMask).value(); };
  const FlowDigest none = digest();
  EXPECT_EQ(none, FlowDigest{});
  bridge_.change_flows({add(two), add(flow(7, 1, "", "drop", 0x77)), add(one)}).value();
  const FlowDigest both = digest();
  EXPECT_EQ(both.flows, 2u);
  EXPECT_EQ(bridge_.digested_flows(kOurs, kMask).value().second, both);
  EXPECT_EQ(bridge_.digested_flows(kOurs, kMask).value().first.size(), 2u);
  // Counted, and written once more.
  switch_.ofctl({"packet-out", "br-int",
                 "in_port=1,packet=" + std::string(200, '0') + ",actions=resubmit(,200)"});
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(5);
  while (bridge_.flows(kOurs, kMask, 200).value().front().counts.packets == 0) {
    ASSERT_LT(std::chrono::steady_clock::now(), deadline);
  }
  EXPECT_EQ(digest(), both);
  EXPECT_EQ(bridge_.digested_flows(kOurs, kMask).value().first.front().counts.packets, 1u);
  bridge_.change_flows({add(one)}).value();
  EXPECT_EQ(digest(), both);
  Flow other = one;
  for (const Flow& changed :
       {flow(200, 1, "in_port=1", "output:1"), flow(200, 1, "in_port=1", "drop", kOurs | 1)}) {
    bridge_.change_flows({add(changed)}).value();
    EXPECT_FALSE(digest() == both) << changed.body.actions;
    other = changed;
  }
  bridge_.change_flows({remove(other), add(flow(200, 2, "in_port=1", "drop"))}).value();
  EXPECT_FALSE(digest() == both) << "another priority";
  bridge_.change_flows({remove(flow(200, 2, "in_port=1", "drop")), add(one)}).value();
  EXPECT_EQ(digest(), both);
}

TEST_F(BridgeTest, MetersAreToldAsTheyAreSetAndOthersWithoutARate) {
  switch_.ofctl({"add-meter", "br-int", "meter=7,kbps,bands=type=drop,rate=5"});
  EXPECT_TRUE(bridge_.add_meter({0x48500001, 100}));
  auto again = bridge_.add_meter({0x48500001, 200});
  ASSERT_FALSE(again);
  EXPECT_THAT(again.error().message, HasSubstr("METER_EXISTS"));
  bridge_.modify_meter({0x48500001, 300}).value();
  std::map<std::uint32_t, std::uint32_t> rates;
  for (const Meter& meter : bridge_.meters(false).value()) rates[meter.id] = meter.rate;
  EXPECT_THAT(rates, ElementsAre(std::pair(7, 0), std::pair(0x48500001, 300)));
  for (const Meter& meter : bridge_.meters(true).value()) EXPECT_EQ(meter.dropped, 0u);
  bridge_.remove_meter(0x48500001).value();
  EXPECT_EQ(bridge_.meters(false).value().size(), 1u);
}

TEST_F(BridgeTest, WhatAFlowHandsOverIsHeardAndTheSwitchIsAsBefore) {
  switch_.ofctl({"set-frags", "br-int", "nx-match"});
  std::promise<std::string> first;
  std::atomic<bool> told = false;
  Bridge listener(switch_.bridge("br-int"));
  listener.answer_punted(0x4850, [&](const PuntedPacket& packet) {
    if (!told.exchange(true)) {
      first.set_value(fmt::format("{} {} of {}, {:#x}", packet.tag, packet.frame.size(),
                                  packet.length, packet.cookie));
    }
    return PuntedReply{};
  });
  bridge_.change_flows({add(flow(7, 1, "", "controller(id=18512,userdata=61.62)"))}).value();
  auto heard = first.get_future();
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(5);
  do {
    switch_.ofctl({"packet-out", "br-int",
                   "in_port=controller,packet=" + std::string(200, '0') + ",actions=resubmit(,7)"});
  } while (heard.wait_for(std::chrono::milliseconds(100)) != std::future_status::ready &&
           std::chrono::steady_clock::now() < deadline);
  ASSERT_TRUE(told);
  EXPECT_EQ(heard.get(), "ab 100 of 100, 0x4850000000000000");
  EXPECT_THAT(switch_.ofctl({"get-frags", "br-int"}), HasSubstr("nx-match"));
}

TEST_F(BridgeTest, FramesGoOnWithTheirOuterAddressesInTheTableThatIsAsked) {
  struct Heard {
    std::string frame;
    policy::IpAddress source, destination;
  };
  bridge_.change_flows({add(flow(7, 1, "tun_id=5", "controller(id=18512)"))}).value();
  using boost::asio::ip::make_address;
  for (const auto& [source, destination] :
       {std::pair(make_address("192.0.2.1"), make_address("192.0.2.2")),
        std::pair(make_address("2001:db8::1"), make_address("2001:db8::2"))}) {
    std::promise<Heard> first;
    std::atomic<bool> told = false;
    Bridge sender(switch_.bridge("br-int"));
    sender.answer_punted(0x4850, [&](const PuntedPacket& packet) {
      if (!told.exchange(true)) {
        first.set_value(
            {std::string(packet.frame), packet.tunnel_source, packet.tunnel_destination});
      }
      return PuntedReply{};
    });
    auto heard = first.get_future();
    const std::string frame(64, 'x');
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(5);
    do {
      sender.send({7, 4, source, destination}, [] { return std::string(64, 'y'); });
      sender.send({7, 5, source, destination}, [frame] { return frame; });
    } while (heard.wait_for(std::chrono::milliseconds(100)) != std::future_status::ready &&
             std::chrono::steady_clock::now() < deadline);
    ASSERT_TRUE(told);
    const Heard found = heard.get();
    EXPECT_EQ(found.frame, frame);
    EXPECT_EQ(found.source, source);
    EXPECT_EQ(found.destination, destination);
  }
}

TEST_F(BridgeTest, DevicesOfAnyOfTheBridgesAreKnown) {
  inside_.run([] { create_veth("theirs", "spare"); });
  switch_.vsctl({"add-br", "br-phy", "--", "set", "Bridge", "br-phy", "datapath_type=netdev", "--",
                 "add-port", "br-phy", "theirs"});
  bridge_.ports().value();
  for (const char* device : {"br-int", "br-phy", "theirs"}) {
    EXPECT_TRUE(bridge_.has_device_at_hand(device)) << device;
  }
  for (const char* device : {"spare", "lo", ""}) {
    EXPECT_FALSE(bridge_.has_device_at_hand(device)) << device;
  }
}

TEST_F(BridgeTest, RevalidationIsWaitedFor) {
  const Flow flow = BridgeTest::flow(202, 0, "", "drop");
  bridge_.change_flows({add(flow)}).value();
  EXPECT_TRUE(bridge_.wait_revalidated(flow));
  switch_.kill_daemon();
  EXPECT_FALSE(bridge_.wait_revalidated(flow));
}

TEST_F(BridgeTest, DaemonThatDoesNotAnswerIsGivenUp) {
  BridgeOptions options = switch_.bridge("br-int");
  options.patience = std::chrono::seconds(1);
  Bridge bridge(options);
  bridge.ports().value();
  switch_.freeze_daemon();
  EXPECT_THAT(bridge.flows(kOurs, kMask).error().message, HasSubstr("OpenFlow"));
  EXPECT_THAT(bridge.change_ports({}, {}).error().message, HasSubstr("is it running"));
  switch_.thaw_daemon();
  EXPECT_TRUE(bridge_.flows(kOurs, kMask));
}

TEST_F(BridgeTest, DaemonThatHangsIsWaitedForOnce) {
  BridgeOptions options = switch_.bridge("br-int");
  options.patience = options.silence = std::chrono::seconds(1);
  Bridge bridge(options);
  bridge.answer_punted(0x4850, [](const PuntedPacket&) { return PuntedReply{}; });
  bridge.flows(kOurs, kMask).value();
  // Killed and started again, or stopped and gone on: it is used as soon as it answers.
  for (int round = 0; round < 2; ++round) {
    switch_.freeze_daemon();
    EXPECT_FALSE(bridge.flows(kOurs, kMask));
    const auto began = std::chrono::steady_clock::now();
    for (int i = 0; i < 20; ++i) {
      EXPECT_THAT(bridge.flows(kOurs, kMask).error().message, HasSubstr("without waiting"));
      EXPECT_FALSE(bridge.change_ports({}, {}));
      EXPECT_TRUE(bridge.ports());
    }
    EXPECT_LT(std::chrono::steady_clock::now() - began, 20 * options.patience / 2);
    if (round == 0) {
      switch_.thaw_daemon();
    } else {
      switch_.kill_daemon();
      switch_.start_daemon();
    }
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (!bridge.flows(kOurs, kMask) && std::chrono::steady_clock::now() < deadline) {
    }
    EXPECT_TRUE(bridge.flows(kOurs, kMask));
    EXPECT_TRUE(bridge.change_ports({}, {}));
  }
}

TEST(BridgeOfNobody, SaysThatNothingAnswers) {
  BridgeOptions options;
  options.database = "unix:/nonexistent/db.sock";
  options.management = "unix:/nonexistent/br-int.mgmt";
  options.patience = std::chrono::milliseconds(50);
  Bridge bridge(options);
  EXPECT_FALSE(bridge.ports_at_hand());
  EXPECT_THAT(bridge.ensure().error().message, HasSubstr("does not answer"));
  EXPECT_THAT(bridge.flows(0, 0).error().message, HasSubstr("/nonexistent/br-int.mgmt"));
}

}  // namespace
}  // namespace homeport::overlay::vswitch
