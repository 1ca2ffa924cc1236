// Announcements: to whom they are passed, the same on every datapath and any mix of them, over both
// underlay families.
#include "tests/unit/overlay/datapath/fabric.h"
#include "tests/unit/overlay/datapath/frames.h"

#include <gmock/gmock.h>
#include <unistd.h>

namespace homeport::overlay {
namespace {

const BpfFileSystem& bpf() {
  static const BpfFileSystem file_system;
  return file_system;
}

/// What a guest at the end of a tap sends.
void send_from_tap(const UniqueFd& queue, const std::string& frame) {
  const std::string bytes = std::string(10, '\0') + frame;  // After a virtio-net header.
  ASSERT_EQ(::write(queue.get(), bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
}

class Announcement : public testing::TestWithParam<Fleet> {
 protected:
  Fabric fabric_{bpf(), GetParam()};
  App& one_ = fabric_.app(1);
  App& two_ = fabric_.app(2);
  App& three_ = fabric_.app(3);

  static std::string gratuitous_arp(const App& app) {
    return arp(Arp::request, app.mac, app.v4, app.v4);
  }

  /// One of each kind.
  static std::vector<std::string> announcements(const App& app) {
    return {gratuitous_arp(app), arp(Arp::reply, app.mac, app.v4, app.v4), rarp(app.mac, app.mac),
            advertisement(app.mac, app.mac, app.v6, app.v6)};
  }

  std::uint64_t delivered(int host, const std::string& device) {
    App app;
    app.device = device;
    return fabric_.host(host).port(app).delivered_packets;
  }
  std::uint64_t delivered(int host, const App& app) { return delivered(host, app.device); }

  std::uint64_t tunnelled(int host) { return fabric_.tunnelled(host); }

  /// Whether the host has done what it does about that many announcements; what it has delivered is
  /// counted by then.
  bool passed(int host, std::uint64_t announcements) {
    return eventually([&] { return fabric_.host(host).totals().announcements == announcements; });
  }

  /// Puts a frame into the tunnel from host 1 to host 2 as it is, whatever the programs say.
  void inject(std::uint32_t vni, const std::string& frame) {
    Socket wire(fabric_.host(1).inside, GetParam().underlay == Underlay::v6);
    const std::string header = std::string("\x08\0\0\0", 4) + static_cast<char>(vni >> 16) +
                               be16(vni & 0xffff) + std::string(1, '\0');  // RFC 7348.
    wire.send(fabric_.host(2).vtep, kUdpPort, header + frame);
  }
};

TEST_P(Announcement, ReachesEveryOtherPortOfItsNetworkOnce) {
  App& four = fabric_.join(1);
  App& five = fabric_.join(2);
  fabric_.apply_all();
  const std::vector<std::string> sent = announcements(one_);
  std::vector<std::pair<App*, Sniffer>> others;
  for (App* app : {&four, &two_, &five, &three_}) others.emplace_back(app, app->inside);
  Sniffer own(one_.inside);
  for (const std::string& frame : sent) {
    send_frame(one_, frame);
    for (auto& [app, sniffer] : others) {
      auto got = sniffer.next([&](const std::string& bytes) { return bytes.starts_with(frame); });
      EXPECT_TRUE(got) << "application " << app->number;
    }
  }
  for (int host = 1; host <= 3; ++host) EXPECT_TRUE(passed(host, sent.size())) << host;
  EXPECT_EQ(delivered(1, one_), 0u);
  EXPECT_EQ(delivered(1, four), sent.size());
  EXPECT_EQ(delivered(2, two_), sent.size());
  EXPECT_EQ(delivered(2, five), sent.size());
  EXPECT_EQ(delivered(3, three_), sent.size());
  // One copy for each host, however many ports it has, and none from there.
  EXPECT_EQ(tunnelled(1), 2 * sent.size());
  EXPECT_EQ(tunnelled(2), 0u);
  EXPECT_EQ(tunnelled(3), 0u);
}

TEST_P(Announcement, ForgedOneReachesNobody) {
  App& four = fabric_.join(1);
  fabric_.apply_all();
  App liar;
  liar.mac = one_.mac;
  liar.v4 = two_.v4;
  liar.v6 = two_.v6;
  send_frame(one_, gratuitous_arp(liar));
  send_frame(one_, advertisement(liar.mac, liar.mac, liar.v6, liar.v6));
  send_frame(one_, rarp(four.mac, four.mac));
  EXPECT_TRUE(eventually([&] { return fabric_.host(1).totals().drop_forged_announcement == 3; }));
  EXPECT_EQ(delivered(1, four), 0u);
  EXPECT_EQ(tunnelled(1), 0u);
}

/// To one station, which would learn it just the same.
TEST_P(Announcement, NobodyIsToldThatAnothersAddressIsTheSenders) {
  const std::string own_mac = bytes_of(one_.mac);
  auto nd = [&](unsigned char type, const policy::IpAddress& source,
                const policy::IpAddress& target) {
    const char option = type == 135 ? '\1' : '\2';
    return neighbor_discovery(two_.mac, one_.mac, source, two_.v6, type, target,
                              std::string(1, option) + "\1" + own_mac);
  };
  // The advertisement behind a header of destination options (RFC 8200), padded.
  std::string hidden = nd(136, one_.v6, three_.v6);
  hidden[20] = 60;
  hidden.insert(54, std::string("\x3a\0\1\4\0\0\0\0", 8));
  hidden.replace(18, 2, be16(static_cast<unsigned>(hidden.size() - 54)));
  const std::vector<std::string> lies = {
      arp(Arp::reply, one_.mac, three_.v4, two_.v4, two_.mac),
      arp(Arp::request, one_.mac, three_.v4, two_.v4, two_.mac),
      nd(135, three_.v6, two_.v6),
      nd(136, one_.v6, three_.v6),
      nd(136, three_.v6, three_.v6),
      hidden,
  };
  const auto link_local = boost::asio::ip::make_address("fe80::1");
  const auto unbound_v4 = boost::asio::ip::make_address("10.0.0.200");
  const std::vector<std::string> truths = {
      arp(Arp::reply, one_.mac, one_.v4, two_.v4, two_.mac),
      arp(Arp::request, one_.mac, one_.v4, two_.v4, two_.mac),
      arp(Arp::request, one_.mac, unbound_v4, two_.v4, two_.mac),  // of which nothing is known
      nd(135, one_.v6, two_.v6),
      nd(135, link_local, two_.v6),
      nd(136, one_.v6, one_.v6),
      nd(136, link_local, link_local),
  };
  Sniffer sniffer(two_.inside);
  for (const std::string& lie : lies) send_frame(one_, lie);
  for (const std::string& truth : truths) {
    send_frame(one_, truth);
    auto got = sniffer.next([&](const std::string& bytes) {
      for (const std::string& lie : lies) EXPECT_FALSE(bytes.starts_with(lie));
      return bytes.starts_with(truth);
    });
    EXPECT_TRUE(got) << &truth - truths.data();
  }
  EXPECT_TRUE(
      eventually([&] { return fabric_.host(1).totals().drop_forged_announcement == lies.size(); }));
}

TEST_P(Announcement, OtherNetworksGetNothing) {
  // On the sender's host and on another one, which has both networks.
  constexpr policy::Vni kOther = kVni + 1;
  App& here = fabric_.join(1, kOther);
  App& there = fabric_.join(2, kOther);
  for (int host : {1, 2}) {
    fabric_.host(host).desired.networks.push_back({kOther, 0, {fabric_.host(3 - host).vtep}});
  }
  // Host 3 has left the network of the sender.
  fabric_.host(1).desired.networks[0].hosts = {fabric_.host(2).vtep};
  fabric_.apply_all();
  for (const std::string& frame : announcements(one_)) send_frame(one_, frame);
  EXPECT_TRUE(passed(2, 4));
  EXPECT_EQ(delivered(2, two_), 4u);
  EXPECT_EQ(delivered(1, here), 0u);
  EXPECT_EQ(delivered(2, there), 0u);
  EXPECT_EQ(tunnelled(1), 4u);
  EXPECT_EQ(fabric_.host(3).totals().announcements, 0u);
}

TEST_P(Announcement, ReachesAMovedApplicationWhereItsAddressIs) {
  const Port held = fabric_.held_port(two_, 3);
  Host& destination = fabric_.host(3);
  destination.desired.ports.push_back(held);
  destination.apply().value();
  UniqueFd guest = destination.inside.run([&] { return open_tap_queue(held.device).value(); });
  // The kernel has it drop everything (the queueing discipline noop) until it has dealt with its
  // carrier, which on a busy machine it does late.
  EXPECT_TRUE(eventually([&] {
    return destination.inside.succeeds("! ip -o link show " + held.device + " | grep -q noop");
  }));
  // Held: at the old port only.
  send_frame(one_, gratuitous_arp(one_));
  EXPECT_TRUE(passed(2, 1) && passed(3, 1));
  EXPECT_EQ(delivered(2, two_), 1u);
  EXPECT_EQ(delivered(3, held.device), 0u);
  // Redirected: at the new one, by the host it leaves, as nothing may join what the guest has left
  // to read there.
  fabric_.host(2).set_address(fabric_.left(two_, 2, 3)).value();
  send_frame(one_, gratuitous_arp(one_));
  EXPECT_TRUE(passed(2, 2) && passed(3, 3));  // host 3 has its own copy, and that one
  EXPECT_EQ(delivered(2, two_), 1u);
  EXPECT_EQ(delivered(3, held.device), 1u);
  // What is counted is about to be delivered.
  EXPECT_TRUE(eventually([&] { return !tap_queue_empty(guest.get()).value(); }));
  // Taken: at the new one, before the next apply() says that it is no longer held.
  AddressEntry taken = fabric_.entry(two_, 3, 3, 2);
  taken.location = LocalPort{held.device};
  destination.set_address(taken).value();
  destination.settle();
  send_frame(one_, gratuitous_arp(one_));
  EXPECT_TRUE(passed(2, 3) && passed(3, 5));
  EXPECT_EQ(delivered(2, two_), 1u);
  EXPECT_EQ(delivered(3, held.device), 2u);
  EXPECT_TRUE(eventually([&] { return !tap_queue_empty(guest.get()).value(); }));
}

TEST_P(Announcement, OfAnApplicationThatJustMovedSparesItsFormerPort) {
  App& five = fabric_.join(2);
  fabric_.apply_all();
  const Port held = fabric_.held_port(two_, 3);
  Host& destination = fabric_.host(3);
  destination.desired.ports.push_back(held);
  destination.apply().value();
  UniqueFd guest = destination.inside.run([&] { return open_tap_queue(held.device).value(); });
  AddressEntry taken = fabric_.entry(two_, 3, 3, 2);
  taken.location = LocalPort{held.device};
  destination.set_address(taken).value();
  destination.settle();
  // As QEMU announces it there. Host 2 has not heard of the move.
  for (const std::string& frame : announcements(two_)) send_from_tap(guest, frame);
  for (int host = 1; host <= 3; ++host) EXPECT_TRUE(passed(host, 4)) << host;
  EXPECT_EQ(delivered(2, two_), 0u);
  EXPECT_EQ(delivered(2, five), 4u);
  EXPECT_EQ(delivered(1, one_), 4u);
  EXPECT_EQ(delivered(3, three_), 4u);
  EXPECT_EQ(delivered(3, held.device), 0u);
  EXPECT_EQ(tunnelled(2), 0u);
}

TEST_P(Announcement, FromTheTunnelIsJudgedAgainAndNeverSentOn) {
  Host& host = fabric_.host(2);
  const std::string frame = gratuitous_arp(one_);
  // At least, because the applications' own multicast reports are counted too.
  const TotalCounters before = host.totals();
  auto counted = [&](std::uint64_t TotalCounters::*counter) {
    return eventually([&] { return host.totals().*counter > before.*counter; });
  };
  inject(kVni | policy::kVniForwardedBit, frame);
  EXPECT_TRUE(passed(2, 1));
  EXPECT_EQ(delivered(2, two_), 1u);

  inject(kVni, frame);  // Without the mark it is for one that moves here, and nobody does.
  inject(kVni | policy::kVniForwardedBit, arp(Arp::request, one_.mac, three_.v4, three_.v4));
  EXPECT_TRUE(counted(&TotalCounters::drop_forged_announcement));
  inject((kVni + 1) | policy::kVniForwardedBit, frame);
  EXPECT_TRUE(counted(&TotalCounters::drop_unknown_network));
  const policy::MacAddress nobody = {{2, 0, 0, 0, 0, 99}};
  inject(kVni | policy::kVniForwardedBit, rarp(nobody, nobody));
  EXPECT_TRUE(counted(&TotalCounters::drop_unknown_address));
  std::erase(host.desired.vteps, fabric_.host(1).vtep);
  host.apply().value();
  inject(kVni | policy::kVniForwardedBit, frame);
  EXPECT_TRUE(counted(&TotalCounters::drop_unknown_vtep));

  EXPECT_EQ(host.totals().announcements, 2u);
  EXPECT_EQ(delivered(2, two_), 1u);
  EXPECT_EQ(tunnelled(2), 0u);
  EXPECT_EQ(host.totals().forwarded, 0u);
}

TEST_P(Announcement, OtherArpFromTheTunnelIsNotDelivered) {
  const std::uint64_t before = fabric_.host(2).totals().drop_multicast;
  inject(kVni | policy::kVniForwardedBit, arp(Arp::reply, one_.mac, one_.v4, two_.v4));
  inject(kVni | policy::kVniForwardedBit, arp(Arp::request, one_.mac, one_.v4, two_.v4));
  inject(kVni | policy::kVniForwardedBit, gratuitous_arp(one_));
  // At least, because the applications' own multicast reports are counted too.
  EXPECT_TRUE(eventually([&] { return fabric_.host(2).totals().drop_multicast >= before + 2; }));
  EXPECT_TRUE(passed(2, 1));
  EXPECT_EQ(delivered(2, two_), 1u);
}

TEST_P(Announcement, TaggedForAVlanIsNotPassed) {
  std::string frame = gratuitous_arp(one_);
  frame.insert(12, be16(0x8100) + be16(5));
  send_frame(one_, frame);
  EXPECT_TRUE(eventually([&] { return fabric_.host(1).totals().drop_multicast == 1; }));
  EXPECT_EQ(fabric_.host(1).totals().announcements, 0u);
}

TEST_P(Announcement, PassesWithoutTheAgent) {
  Sniffer sniffer(two_.inside);
  const std::string frame = gratuitous_arp(one_);
  auto arrives = [&] {
    send_frame(one_, frame);
    return sniffer.next([&](const std::string& bytes) { return bytes == frame; }).has_value();
  };
  fabric_.host(1).datapath.reset();
  EXPECT_TRUE(arrives());
  fabric_.host(1).restart();
  EXPECT_TRUE(arrives());
  fabric_.host(1).apply().value();
  EXPECT_TRUE(arrives());
}

INSTANTIATE_TEST_SUITE_P(Fleets, Announcement, testing::ValuesIn(fleets()), fleet_name);

}  // namespace
}  // namespace homeport::overlay
