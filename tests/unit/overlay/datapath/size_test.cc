// Packets as big as the tunnel carries, and bigger ones: nothing disappears in silence.
#include "tests/bulk.h"
#include "tests/unit/overlay/datapath/fabric.h"
#include "tests/unit/overlay/datapath/frames.h"

#include <gmock/gmock.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <regex>
#include <thread>
#include <vector>

namespace homeport::overlay {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

const BpfFileSystem& bpf() {
  static const BpfFileSystem file_system;
  return file_system;
}

/// The socket, which asked for errors, is told that what it sent was too big.
void expect_told_too_big(const Socket& client) {
  pollfd error{.fd = client.fd(), .events = 0, .revents = 0};
  ASSERT_EQ(::poll(&error, 1, 5000), 1);
  int code = 0;
  socklen_t length = sizeof(code);
  ::getsockopt(client.fd(), SOL_SOCKET, SO_ERROR, &code, &length);
  EXPECT_EQ(code, EMSGSIZE);
}

/// From application 1 to application 2.
class Size : public testing::TestWithParam<Fleet> {
 protected:
  Fabric fabric_{bpf(), GetParam()};
  App& one_ = fabric_.app(1);
  App& two_ = fabric_.app(2);

  void believe_in_1500() {
    for (int number : {1, 2}) fabric_.set_mtu(fabric_.app(number), number, 1500);
  }

  void expect_bulk(const policy::IpAddress& to) {
    EXPECT_EQ(test::send_bulk(one_.inside, two_.inside, to), "");
  }

  /// Whether the application's kernel has been told what fits on the way to application 2.
  bool knows(const App& app, bool v6) {
    return app.inside.succeeds("ip route get " + (v6 ? two_.v6 : two_.v4).to_string() +
                               " | grep -q 'mtu 1430'");
  }

  /// A packet of so many bytes behind its IPv4 header comes in fragments, in their order.
  static void expect_parts(Sniffer& sniffer, const policy::MacAddress& to, std::size_t length) {
    auto is_part = [&](const std::string& got) {
      return got.substr(0, 6) == bytes_of(to) && read16(got, 12) == 0x0800;
    };
    std::size_t payload = 0;
    while (payload < length) {
      const auto part = sniffer.next(is_part);
      ASSERT_TRUE(part);
      EXPECT_EQ((read16(*part, 20) & 0x1fff) * 8, payload);
      payload += part->size() - 34;
    }
    EXPECT_EQ(payload, length);
    EXPECT_FALSE(sniffer.pending(is_part));
  }

  static void set_discovery(const Socket& socket, bool v6, int mode) {
    ::setsockopt(socket.fd(), v6 ? IPPROTO_IPV6 : IPPROTO_IP,
                 v6 ? IPV6_MTU_DISCOVER : IP_MTU_DISCOVER, &mode, sizeof(mode));
  }
};

class Answers : public Size {
 protected:
  /// The kernel fragments outer packets of IPv4. For a userspace switch, which fragments none, the
  /// agent cuts the inner ones.
  const bool outside_ = GetParam().hosts[0] == Kind::ebpf && GetParam().underlay == Underlay::v4;
  const bool fragments_ = outside_ || GetParam().hosts[0] == Kind::ovs;
};

TEST_P(Size, FullSizeDatagramsOfBothFamiliesArrive) {
  for (bool v6 : {false, true}) {
    Socket server(two_.inside, v6), client(one_.inside, v6);
    set_discovery(client, v6, IP_PMTUDISC_DO);
    const std::string data(1430 - (v6 ? 48 : 28), 'x');
    client.send(v6 ? two_.v6 : two_.v4, server.port(), data);
    EXPECT_EQ(server.receive(), data);
  }
  EXPECT_EQ(fabric_.host(1).totals().too_big_answers, 0u);
  EXPECT_EQ(fabric_.host(1).totals().fragmented, 0u);
}

TEST_P(Size, BulkArrives) {
  for (const auto& to : {two_.v4, two_.v6}) expect_bulk(to);
  EXPECT_EQ(fabric_.host(1).totals().too_big_answers, 0u);
  EXPECT_EQ(fabric_.host(1).totals().fragmented, 0u);
}

TEST_P(Answers, BulkKeepsItsSegmentationOffload) {
  for (const auto& to : {two_.v4, two_.v6}) expect_bulk(to);
  // Where a switch is about, the devices are set to complete their packets.
  if (GetParam().has(Kind::ovs)) return;
  const PortCounters counters = fabric_.host(2).port(two_);
  // 32 MiB in packets of 1430 bytes would be 23,000; in GSO packets it is far fewer.
  EXPECT_LT(counters.delivered_packets, 8000u);
  EXPECT_GT(counters.delivered_bytes, 32u << 20);
  EXPECT_EQ(fabric_.host(1).totals().too_big_answers, 0u);
  EXPECT_EQ(fabric_.host(1).totals().fragmented, 0u);
}

TEST_P(Answers, BulkFromAnApplicationThatBelievesIn1500) {
  believe_in_1500();
  for (const auto& to : {two_.v4, two_.v6}) expect_bulk(to);
  EXPECT_GE(fabric_.host(1).totals().too_big_answers, 2u);
  EXPECT_EQ(fabric_.host(1).totals().fragmented, 0u);
}

TEST_P(Answers, DatagramThatMustNotBeFragmentedIsAnswered) {
  believe_in_1500();
  for (bool v6 : {false, true}) {
    Socket client(one_.inside, v6);
    set_discovery(client, v6, IP_PMTUDISC_DO);
    const int on = 1;
    ::setsockopt(client.fd(), v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_RECVERR : IP_RECVERR, &on,
                 sizeof(on));
    const std::string data(1500 - (v6 ? 48 : 28), 'x');
    client.send(v6 ? two_.v6 : two_.v4, 9, data);
    expect_told_too_big(client);
  }
  EXPECT_EQ(fabric_.host(1).totals().too_big_answers, 2u);
}

TEST_P(Answers, DatagramThatMayBeFragmentedArrives) {
  believe_in_1500();
  Socket server(two_.inside, false), client(one_.inside, false);
  set_discovery(client, false, IP_PMTUDISC_DONT);
  const std::string data(1472, 'x');
  client.send(two_.v4, server.port(), data);
  if (!fragments_) {
    // The sender is told, and fragments the next itself.
    ASSERT_TRUE(eventually([&] { return knows(one_, false); }));
    EXPECT_EQ(fabric_.host(1).totals().too_big_answers, 1u);
    client.send(two_.v4, server.port(), data);
  }
  EXPECT_TRUE(server.receive() == data);
  EXPECT_EQ(fabric_.host(1).totals().fragmented, fragments_ ? 1u : 0u);
  EXPECT_EQ(fabric_.host(1).totals().too_big_answers, fragments_ ? 0u : 1u);
}

TEST_P(Answers, DatagramsOfJumboFramesThatMayBeFragmentedArrive) {
  if (!fragments_) return;  // The sender is told, as above.
  for (int number : {1, 2}) fabric_.set_mtu(fabric_.app(number), number, 9000);
  Socket server(two_.inside, false), client(one_.inside, false);
  set_discovery(client, false, IP_PMTUDISC_DONT);
  for (char what = 'a'; what <= 'j'; ++what) {
    const std::string data(8972, what);
    client.send(two_.v4, server.port(), data);
    EXPECT_TRUE(server.receive() == data) << what;
  }
  EXPECT_EQ(fabric_.host(1).totals().fragmented, 10u);
}

TEST_P(Answers, WhatCannotBeAnsweredIsFragmentedOrCounted) {
  believe_in_1500();
  Sniffer sniffer(two_.inside);
  send_frame(one_, ethernet(two_.mac, one_.mac, 0x88b5, std::string(1500, 'x')));
  if (!outside_) {
    EXPECT_TRUE(eventually([&] { return fabric_.host(1).totals().drop_too_big == 1; }));
    return;
  }
  auto frame = sniffer.next([](const std::string& bytes) { return read16(bytes, 12) == 0x88b5; });
  ASSERT_TRUE(frame);
  EXPECT_EQ(frame->size(), 1514u);
}

/// Frames that come in outer packets of which a router or the sender's kernel has made fragments.
class OuterFragments : public Size {};

TEST_P(OuterFragments, OfAnotherHostsPacketsAreTaken) {
  believe_in_1500();
  const bool v6 = GetParam().underlay == Underlay::v6;
  const std::string frame = transport_frame(two_.mac, one_.mac, one_.v4, two_.v4, 17, 1514);
  Sniffer wire(fabric_.host(2).inside, "underlay"), application(two_.inside);
  // No datapath sends such over IPv6; its kernel does what it is told.
  Socket host(fabric_.host(1).inside, v6);
  set_discovery(host, v6, IP_PMTUDISC_DONT);
  host.send(fabric_.host(2).vtep, kUdpPort,
            std::string("\x08\0\0\0\0", 5) + be16(kVni) + '\0' + frame);
  EXPECT_TRUE(wire.next([&](const std::string& seen) {
    if (v6) return read16(seen, 12) == 0x86dd && seen.at(20) == IPPROTO_FRAGMENT;
    return read16(seen, 12) == 0x0800 && (read16(seen, 20) & 0x3fff) != 0;
  }));
  EXPECT_TRUE(application.next([&](const std::string& seen) { return seen == frame; }));
}

INSTANTIATE_TEST_SUITE_P(
    Fleets, OuterFragments,
    testing::Values(Fleet{"OvsOverIpv4", Underlay::v4, {Kind::ebpf, Kind::ovs}},
                    Fleet{"OvsOverIpv6", Underlay::v6, {Kind::ebpf, Kind::ovs}}),
    fleet_name);

/// What is sent to all of the network, and too big for the tunnel, by a switch.
class Groups : public Size {
 protected:
  static constexpr policy::MacAddress kGroup = {{0x01, 0x00, 0x5e, 0x01, 0x02, 0x03}};
  const policy::IpAddress group_ = boost::asio::ip::make_address("239.1.2.3");

  void send_1500(bool dont_fragment) {
    send_frame(one_, with_header_checksum(transport_frame(kGroup, one_.mac, one_.v4, group_, 17,
                                                          1514, dont_fragment)));
  }
};

TEST_P(Groups, ThatMayBeFragmentedReachesEveryMemberInParts) {
  App& four = fabric_.join(1);
  fabric_.apply_all();
  believe_in_1500();
  fabric_.set_mtu(four, 1, 1500);
  std::vector<std::pair<App*, Sniffer>> members;
  for (App* app : {&four, &two_, &fabric_.app(3)}) members.emplace_back(app, app->inside);
  send_1500(false);
  for (auto& [app, sniffer] : members) {
    SCOPED_TRACE(app->number);
    expect_parts(sniffer, kGroup, 1480);
  }
  EXPECT_EQ(fabric_.host(1).totals().fragmented, 1u);
}

TEST_P(Groups, ThatMustStayWholeIsCountedAndReachesThoseHere) {
  App& four = fabric_.join(1);
  fabric_.apply_all();
  believe_in_1500();
  fabric_.set_mtu(four, 1, 1500);
  Sniffer sniffer(four.inside);
  send_1500(true);
  EXPECT_TRUE(sniffer.next([](const std::string& got) { return got.size() == 1514; }));
  EXPECT_TRUE(eventually([&] { return fabric_.host(1).totals().drop_too_big == 1; }));
  EXPECT_EQ(fabric_.host(1).totals().too_big_answers, 0u);
}

TEST_P(Groups, OfIpv6IsAnswered) {
  believe_in_1500();
  Socket client(one_.inside, true);
  set_discovery(client, true, IP_PMTUDISC_DO);
  const int on = 1;
  ::setsockopt(client.fd(), IPPROTO_IPV6, IPV6_RECVERR, &on, sizeof(on));
  const int index = one_.inside.run([] { return static_cast<int>(::if_nametoindex("eth0")); });
  ::setsockopt(client.fd(), IPPROTO_IPV6, IPV6_MULTICAST_IF, &index, sizeof(index));
  client.send(boost::asio::ip::make_address("ff05::77"), 9, std::string(1452, 'x'), one_.v6);
  expect_told_too_big(client);
  EXPECT_EQ(fabric_.host(1).totals().too_big_answers, 1u);
}

INSTANTIATE_TEST_SUITE_P(
    Fleets, Groups,
    testing::Values(Fleet{"OvsOverIpv4", Underlay::v4, {Kind::ovs, Kind::ovs, Kind::ebpf}},
                    Fleet{"OvsOverIpv6", Underlay::v6, {Kind::ovs, Kind::ebpf, Kind::ovs}}),
    fleet_name);

/// What the agent answers for a switch, and is handed no more of than it can stand.
class Handed : public Size {
 protected:
  Host& host_ = fabric_.host(1);

  static constexpr policy::MacAddress kGuestMac = {{2, 0, 0, 0, 0, 9}};
  const policy::IpAddress guest_ip_ = boost::asio::ip::make_address("10.0.0.9");
  /// A guest, whose tap has the MTU of the network: where it writes its frames.
  UniqueFd add_guest() {
    UniqueFd guest = host_.inside.run([] {
      create_tap({.name = "guest", .mtu = 1430}).value();
      return open_tap_queue("guest").value();
    });
    for (int number : {1, 2}) {
      AddressEntry entry{kVni, kGuestMac, {guest_ip_}, LocalPort{"guest"}, 1};
      if (number == 2) entry.location = RemoteHost{host_.vtep};
      fabric_.host(number).desired.addresses.push_back(entry);
    }
    host_.desired.ports.push_back({"guest", kVni, kGuestMac, false});
    fabric_.apply_all();
    return guest;
  }
  /// With virtio's header.
  static void write_frame(const UniqueFd& guest, const std::string& frame) {
    const std::string written = std::string(10, '\0') + frame;
    EXPECT_EQ(::write(guest.get(), written.data(), written.size()),
              static_cast<ssize_t>(written.size()));
  }

  /// Whether too big datagrams of both families are answered, some time.
  bool answered(App& from) {
    for (bool v6 : {false, true}) {
      Socket client(from.inside, v6);
      // Does not believe what it is told.
      set_discovery(client, v6, IP_PMTUDISC_PROBE);
      const bool told = eventually([&] {
        client.send(v6 ? two_.v6 : two_.v4, 9, std::string(1500 - (v6 ? 48 : 28), 'x'));
        return knows(from, v6);
      });
      if (!told) return false;
    }
    return true;
  }
  std::string meters() { return host_.open_vswitch->ofctl({"dump-meters", "br-int"}); }
};

TEST_P(Handed, AFloodIsBoundedAndKeepsNoAnswerFromOthers) {
  believe_in_1500();
  App& three = fabric_.join(1);
  fabric_.apply_all();
  fabric_.set_mtu(three, 1, 1500);

  const auto began = std::chrono::steady_clock::now();
  std::atomic<bool> done = false;
  std::uint64_t sent = 0;
  Socket flooder(one_.inside, false);
  set_discovery(flooder, false, IP_PMTUDISC_PROBE);
  std::thread flood([&] {
    const std::string data(1472, 'f');
    while (!done || sent < 20'000) {
      flooder.send(two_.v4, 9, data);
      ++sent;
    }
  });
  EXPECT_TRUE(answered(three));
  host_.apply().value();
  Socket server(two_.inside, false), client(three.inside, false);
  EXPECT_TRUE(eventually([&] {
    client.send(two_.v4, server.port(), "small");  // Queues to the switch are full of the flood.
    return server.pending();
  }));
  done = true;
  flood.join();
  EXPECT_TRUE(eventually([&] { return host_.totals().drop_too_big > 1000; }));
  const TotalCounters totals = host_.totals();
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(
      std::chrono::steady_clock::now() - began + std::chrono::seconds(1));
  // Two ports, of which each may have as many at once as in a second.
  EXPECT_LE(totals.too_big_answers, 2 * 100 * (static_cast<std::uint64_t>(seconds.count()) + 1));
  EXPECT_LE(totals.too_big_answers + totals.drop_too_big, sent + 1000);
}

TEST_P(Handed, AGuestThatBelievesInMoreThanItsTapIsAnswered) {
  UniqueFd guest = add_guest();
  for (const std::size_t length : {1514u, 9014u}) {
    std::string heard(2048, '\0');
    EXPECT_TRUE(eventually([&] {
      write_frame(guest, transport_frame(two_.mac, kGuestMac, guest_ip_, two_.v4, 17, length));
      pollfd readable{.fd = guest.get(), .events = POLLIN, .revents = 0};
      if (::poll(&readable, 1, 100) != 1) return false;
      const ssize_t got = ::read(guest.get(), heard.data(), heard.size());
      return got == 10 + 14 + 576 && heard.substr(10, 6) == bytes_of(kGuestMac) &&
             heard.substr(10 + 34, 2) == std::string("\3\4");
    })) << length;
  }
  EXPECT_TRUE(host_.untouched());
  host_.inside.run([] { set_link_mtu("guest", 1430).value(); });
  EXPECT_FALSE(host_.untouched());
  host_.apply().value();
  EXPECT_THAT(host_.datapath->mended(), IsEmpty());
  EXPECT_TRUE(host_.untouched());
}

TEST_P(Handed, AGuestsDatagramsThatMayBeFragmentedArriveWhole) {
  UniqueFd guest = add_guest();
  host_.open_vswitch->vsctl({"--timeout=10", "wait-until", "Interface", "guest", "mtu=9216"});
  Sniffer sniffer(two_.inside);
  std::uint64_t sent = 0;
  for (const std::size_t length : {1514u, 9014u}) {
    write_frame(guest, with_header_checksum(transport_frame(two_.mac, kGuestMac, guest_ip_, two_.v4,
                                                            17, length, false)));
    expect_parts(sniffer, two_.mac, length - 34);
    EXPECT_EQ(host_.totals().fragmented, ++sent);
  }
}

TEST_P(Handed, MetersComeAndGoWithTheirPortsAndAreMended) {
  EXPECT_THAT(meters(), HasSubstr("rate=100"));
  host_.open_vswitch->ofctl({"add-meter", "br-int", "meter=7,pktps,bands=type=drop,rate=5"});
  const std::string all = meters();
  EXPECT_TRUE(host_.untouched());
  host_.apply().value();
  EXPECT_THAT(host_.datapath->mended(), IsEmpty());
  EXPECT_EQ(meters(), all);

  // Whoever deletes it deletes the flow that refers to it.
  std::smatch own;
  // The tunnel's, for probes, has another rate.
  ASSERT_TRUE(
      std::regex_search(all, own, std::regex("meter=([0-9]{6,})[^=]*=\\s*type=drop rate=100 ")));
  const std::string ours = own[1];
  host_.open_vswitch->ofctl({"del-meter", "br-int", "meter=" + ours});
  EXPECT_FALSE(host_.untouched());
  host_.apply().value();
  EXPECT_THAT(host_.datapath->mended(), Contains("the meter " + ours + " was missing"));
  EXPECT_EQ(meters(), all);
  host_.open_vswitch->ofctl(
      {"mod-meter", "br-int", "meter=" + ours + ",pktps,bands=type=drop,rate=100000"});
  EXPECT_FALSE(host_.untouched());
  host_.apply().value();
  EXPECT_THAT(host_.datapath->mended(), ElementsAre("the meter " + ours + " was changed"));
  EXPECT_TRUE(host_.untouched());
  EXPECT_EQ(meters(), all);
  believe_in_1500();
  EXPECT_TRUE(answered(one_));

  host_.desired = {};
  host_.apply().value();
  EXPECT_THAT(meters(), Not(HasSubstr(ours)));
  EXPECT_THAT(meters(), HasSubstr("meter=7 "));
}

TEST_P(Handed, AnswersGoOnWithANewAgentAndANewSwitch) {
  believe_in_1500();
  host_.restart();
  EXPECT_TRUE(answered(one_));
  one_.inside.shell("ip route flush cache && ip -6 route flush cache");
  host_.open_vswitch->kill_daemon();
  host_.open_vswitch->start_daemon();
  fabric_.introduce_neighbors();
  host_.apply().value();
  EXPECT_TRUE(answered(one_));
}

INSTANTIATE_TEST_SUITE_P(Fleets, Handed,
                         testing::Values(Fleet{"Ovs", Underlay::v4, {Kind::ovs, Kind::ebpf}}),
                         fleet_name);
INSTANTIATE_TEST_SUITE_P(Fleets, Size, testing::ValuesIn(fleets()), fleet_name);
INSTANTIATE_TEST_SUITE_P(
    Fleets, Answers,
    testing::Values(Fleet{"EbpfOverIpv4", Underlay::v4, {Kind::ebpf, Kind::ebpf}},
                    Fleet{"EbpfOverIpv6", Underlay::v6, {Kind::ebpf, Kind::ebpf}},
                    Fleet{"EbpfToOvsOverIpv4", Underlay::v4, {Kind::ebpf, Kind::ovs}},
                    Fleet{"EbpfToOvsOverIpv6", Underlay::v6, {Kind::ebpf, Kind::ovs}},
                    Fleet{"OvsOverIpv4", Underlay::v4, {Kind::ovs, Kind::ovs}},
                    Fleet{"OvsOverIpv6", Underlay::v6, {Kind::ovs, Kind::ovs}},
                    Fleet{"OvsToEbpfOverIpv4", Underlay::v4, {Kind::ovs, Kind::ebpf}},
                    Fleet{"OvsToEbpfOverIpv6", Underlay::v6, {Kind::ovs, Kind::ebpf}}),
    fleet_name);

}  // namespace
}  // namespace homeport::overlay
