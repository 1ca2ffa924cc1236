// Broadcast and multicast: to the members of a network, once each, wherever they are, also while
// one of them moves.
#include "tests/unit/overlay/datapath/fabric.h"
#include "tests/unit/overlay/datapath/frames.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include <array>

namespace homeport::overlay {
namespace {

using boost::asio::ip::make_address;

const BpfFileSystem& bpf() {
  static const BpfFileSystem file_system;
  return file_system;
}

class Multicast : public testing::TestWithParam<Fleet> {
 protected:
  Fabric fabric_{bpf(), GetParam()};
  App& one_ = fabric_.app(1);
  App& two_ = fabric_.app(2);
  App& three_ = fabric_.app(3);

  static constexpr policy::MacAddress kGroup = {{0x01, 0x00, 0x5e, 0x01, 0x02, 0x03}};
  static constexpr policy::MacAddress kGroup6 = {{0x33, 0x33, 0, 0, 0, 0x77}};

  /// One of each kind that a network knows: DHCP, multicast of both families, router advertisement,
  /// duplicate address detection of a link-local address, something that is no IP.
  static std::vector<std::string> frames(const App& from) {
    const auto all_nodes = make_address("ff02::1");
    return {with_header_checksum(transport_frame(kBroadcast, from.mac, make_address("0.0.0.0"),
                                                 make_address("255.255.255.255"), 17, 300)),
            with_header_checksum(
                transport_frame(kGroup, from.mac, from.v4, make_address("239.1.2.3"), 17, 120)),
            transport_frame(kGroup6, from.mac, from.v6, make_address("ff05::77"), 17, 120),
            neighbor_discovery(kAllNodes, from.mac, make_address("fe80::1"), all_nodes, 134,
                               make_address("::")),
            neighbor_discovery({{0x33, 0x33, 0xff, 0, 0, 5}}, from.mac, make_address("::"),
                               make_address("ff02::1:ff00:5"), 135, make_address("fe80::5")),
            ethernet(kBroadcast, from.mac, 0x88b5, std::string(64, 'e'))};
  }

  std::uint64_t delivered(int host, const std::string& device) {
    App app;
    app.device = device;
    return fabric_.host(host).port(app).delivered_packets;
  }
  bool passed(int host, std::uint64_t frames) {
    return eventually([&] { return fabric_.host(host).totals().multicast == frames; });
  }
};

TEST_P(Multicast, ReachesEveryMemberOnceAndNobodyElse) {
  App& four = fabric_.join(1);
  App& other = fabric_.join(2, kVni + 1);
  fabric_.host(2).desired.networks.push_back({kVni + 1, 0});
  fabric_.apply_all();
  std::vector<std::pair<App*, Sniffer>> members;
  for (App* app : {&four, &two_, &three_}) members.emplace_back(app, app->inside);
  const auto sent = frames(one_);
  for (const std::string& frame : sent) {
    send_frame(one_, frame);
    for (auto& [app, sniffer] : members) {
      EXPECT_TRUE(sniffer.next([&](const std::string& got) { return got == frame; }))
          << "application " << app->number;
    }
  }
  for (int host = 1; host <= 3; ++host) EXPECT_TRUE(passed(host, sent.size())) << host;
  EXPECT_EQ(delivered(1, one_.device), 0u);
  EXPECT_EQ(delivered(1, four.device), sent.size());
  EXPECT_EQ(delivered(2, two_.device), sent.size());
  EXPECT_EQ(delivered(2, other.device), 0u);
  EXPECT_EQ(delivered(3, three_.device), sent.size());
  // No host of the network has sent on what it got.
  EXPECT_EQ(fabric_.tunnelled(2), 0u);
}

TEST_P(Multicast, IsNotSentInAnothersName) {
  for (const std::string& frame : frames(two_)) send_frame(one_, frame);
  // The router advertisement is one of them: nobody becomes a router of others by it.
  EXPECT_TRUE(eventually(
      [&] { return fabric_.host(1).totals().drop_forged_source == frames(two_).size(); }));
  EXPECT_EQ(fabric_.host(1).totals().multicast, 0u);
}

TEST_P(Multicast, HostsWithoutMembersGetNothing) {
  fabric_.host(1).desired.networks[0].hosts = {fabric_.host(2).vtep};
  fabric_.apply_all();
  for (const std::string& frame : frames(one_)) send_frame(one_, frame);
  EXPECT_TRUE(passed(2, frames(one_).size()));
  EXPECT_EQ(fabric_.host(3).totals().multicast, 0u);
  EXPECT_EQ(delivered(3, three_.device), 0u);
}

TEST_P(Multicast, FollowsAnApplicationThatMovesOnceEach) {
  const Port held = fabric_.held_port(two_, 3);
  Host& destination = fabric_.host(3);
  destination.desired.ports.push_back(held);
  destination.apply().value();
  UniqueFd guest = destination.inside.run([&] { return open_tap_queue(held.device).value(); });
  App& local = fabric_.join(2);
  fabric_.apply_all();
  const auto frame = frames(one_).at(1);
  std::uint64_t sent = 0;
  // From a third host, from the former host and from the new one.
  auto send = [&] {
    for (App* app : {&one_, &local, &three_}) {
      std::string mine = frame;
      mine.replace(6, 6, bytes_of(app->mac));
      send_frame(*app, mine);
    }
    sent += 3;
  };
  send();
  EXPECT_TRUE(eventually([&] { return delivered(2, two_.device) == sent; }));
  EXPECT_EQ(delivered(3, held.device), 0u);
  // Redirected: its new port has all of it, its old port none.
  fabric_.host(2).set_address(fabric_.left(two_, 2, 3)).value();
  send();
  EXPECT_TRUE(eventually([&] { return delivered(3, held.device) == 3; }));
  EXPECT_EQ(delivered(2, two_.device), 3u);
  EXPECT_TRUE(eventually([&] { return destination.totals().delivered_held == 3; }));
  // The others have had each once.
  EXPECT_TRUE(eventually([&] {
    return delivered(1, one_.device) == 4 && delivered(3, three_.device) == 4 &&
           delivered(2, local.device) == 4;
  }));
  // And no more of any, as the latest of all was counted: what the hosts have sent is all there.
  EXPECT_EQ(delivered(2, two_.device), 3u);
  EXPECT_EQ(delivered(3, held.device), 3u);
}

TEST_P(Multicast, OfANetworkWithANormalWayIsLeftToTheHost) {
  Host& host = fabric_.host(1);
  host.desired.networks[0].normal = true;
  host.apply().value();
  host.inside.shell("ip link add uplink type veth peer name world && ip link set world up");
  if (host.kind == Kind::ebpf) {
    host.inside.shell(
        "ip link add br0 type bridge mcast_snooping 0 && ip link set br0 up && "
        "ip link set uplink master br0 up && ip link set " +
        one_.device + " master br0");
    // A bridge takes a port into service a moment after it has carrier.
    for (const std::string& port : {std::string("uplink"), one_.device}) {
      ASSERT_TRUE(eventually([&] {
        return host.inside.succeeds("bridge link show dev " + port + " | grep -q forwarding");
      }));
    }
  } else {
    // The bridge that the port is in is the switch's, and has a way only if somebody gives it one.
    host.inside.shell("ip link set uplink up");
    host.open_vswitch->vsctl({"add-port", "br-int", "uplink"});
    host.open_vswitch->ofctl({"add-flow", "br-int", "priority=0,actions=NORMAL"});
  }
  Sniffer bridge(host.inside, "world");
  for (const std::string& frame : frames(one_)) {
    send_frame(one_, frame);
    EXPECT_TRUE(bridge.next([&](const std::string& got) { return got == frame; }))
        << testing::PrintToString(frame);
  }
  // So is a unicast frame to nobody the network knows, and the question who has an address.
  const policy::MacAddress elsewhere = {{2, 0, 0, 0, 0, 0x55}};
  const auto unknown = ethernet(elsewhere, one_.mac, 0x88b5, std::string(64, 'u'));
  const auto question = arp(Arp::request, one_.mac, one_.v4, make_address("10.0.0.200"));
  for (const std::string& frame : {unknown, question}) {
    send_frame(one_, frame);
    EXPECT_TRUE(bridge.next([&](const std::string& got) { return got.starts_with(frame); }));
  }
  EXPECT_EQ(host.totals().multicast, 0u);
  // What is an application's still goes to it.
  Socket server(two_.inside, false), client(one_.inside, false);
  client.send(two_.v4, server.port(), "hello");
  EXPECT_EQ(server.receive(), "hello");
}

INSTANTIATE_TEST_SUITE_P(Fleets, Multicast, testing::ValuesIn(fleets()), fleet_name);

}  // namespace
}  // namespace homeport::overlay
