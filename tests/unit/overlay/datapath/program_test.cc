// The program of the ports, packet in and packet out (BPF_PROG_TEST_RUN).
#include "overlay/datapath/tc_filter.h"
#include "tests/unit/overlay/datapath/fabric.h"
#include "tests/unit/overlay/datapath/frames.h"

#include <bpf/bpf.h>
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <net/if.h>

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

namespace homeport::overlay {
namespace {

using boost::asio::ip::make_address;

const BpfFileSystem& bpf() {
  static const BpfFileSystem file_system;
  return file_system;
}

struct Output {
  int verdict;
  std::string frame;
};

class FromPort : public testing::Test {
 protected:
  /// What is sent is looked at as it is given to the VXLAN device.
  FromPort() {
    fabric_.host(1).options.fast_send = false;
    fabric_.host(1).restart();
    fabric_.host(1).apply().value();
  }

  /// Runs the program attached to `device` of host 1 over one frame.
  Output run(const std::string& frame, std::uint32_t gso_size = 0,
             const std::string& device = "app1") {
    return fabric_.host(1).inside.run([&] {
      const unsigned ifindex = ::if_nametoindex(device.c_str());
      UniqueFd program(bpf_prog_get_fd_by_id(tc_filter::program_id(ifindex).value()));
      __sk_buff context{};
      context.ifindex = ifindex;
      context.gso_size = gso_size;
      context.gso_segs = gso_size ? 3 : 0;
      std::vector<char> out(65536);
      bpf_test_run_opts options{};
      options.sz = sizeof(options);
      options.data_in = frame.data();
      options.data_size_in = static_cast<std::uint32_t>(frame.size());
      options.data_out = out.data();
      options.data_size_out = static_cast<std::uint32_t>(out.size());
      options.ctx_in = &context;
      options.ctx_size_in = sizeof(context);
      const int result = bpf_prog_test_run_opts(program.get(), &options);
      EXPECT_EQ(result, 0) << std::generic_category().message(-result) << ", " << frame.size()
                           << " bytes";
      return Output{static_cast<int>(options.retval), {out.data(), options.data_size_out}};
    });
  }

  void expect_dropped(const std::string& frame, std::uint64_t TotalCounters::*counter) {
    expect_counted(frame, TC_ACT_SHOT, counter);
  }

  void expect_counted(const std::string& frame, int verdict,
                      std::uint64_t TotalCounters::*counter) {
    const TotalCounters before = fabric_.host(1).totals();
    EXPECT_EQ(run(frame).verdict, verdict);
    TotalCounters after = fabric_.host(1).totals();
    EXPECT_GE(after.*counter, before.*counter + 1);
    // Nothing else was counted, but for the multicast reports of the applications' kernels.
    after.*counter = before.*counter;
    after.drop_multicast = before.drop_multicast;
    EXPECT_EQ(after, before);
  }

  Fabric fabric_{bpf(), 2};
  App& one_ = fabric_.app(1);
  App& two_ = fabric_.app(2);
  const policy::MacAddress nobody_ = {{2, 0, 0, 0, 0, 99}};
};

TEST_F(FromPort, ArpRequestIsAnsweredInPlace) {
  Output out = run(arp(Arp::request, one_.mac, one_.v4, two_.v4));
  EXPECT_EQ(out.verdict, TC_ACT_REDIRECT);
  EXPECT_EQ(out.frame, ethernet(one_.mac, two_.mac, 0x0806,
                                be16(1) + be16(0x0800) + std::string("\6\4", 2) + be16(2) +
                                    bytes_of(two_.mac) + bytes_of(two_.v4) + bytes_of(one_.mac) +
                                    bytes_of(one_.v4)));
  EXPECT_EQ(fabric_.host(1).totals().neighbor_answers, 1u);
}

TEST_F(FromPort, TrueAnnouncementsArePassed) {
  const auto padding = std::string(18, '\0');  // To the 60 bytes of a frame on a wire.
  for (const std::string& frame :
       {arp(Arp::request, one_.mac, one_.v4, one_.v4), arp(Arp::reply, one_.mac, one_.v4, one_.v4),
        arp(Arp::request, one_.mac, one_.v4, one_.v4) + padding, rarp(one_.mac, one_.mac),
        rarp(one_.mac, one_.mac) + padding, rarp(one_.mac, one_.mac, bytes_of(one_.v4)),
        advertisement(one_.mac, one_.mac, one_.v6, one_.v6),
        advertisement(one_.mac, one_.mac, make_address("fe80::1"), one_.v6)}) {
    expect_counted(frame, TC_ACT_STOLEN, &TotalCounters::announcements);
  }
}

TEST_F(FromPort, ForgedAnnouncementsAreDropped) {
  const auto none = make_address("10.0.0.99"), none6 = make_address("fd00::99");
  std::string other_inside = arp(Arp::reply, one_.mac, one_.v4, one_.v4);
  other_inside[27] = 2;  // The sender's MAC address, of ARP itself.
  std::string other_target = rarp(one_.mac, one_.mac);
  other_target[37] = 2;
  for (const std::string& frame :
       {// Another's address at one's own MAC address, and the other way round.
        arp(Arp::request, one_.mac, two_.v4, two_.v4), arp(Arp::reply, one_.mac, two_.v4, two_.v4),
        arp(Arp::request, two_.mac, two_.v4, two_.v4), arp(Arp::reply, two_.mac, one_.v4, one_.v4),
        other_inside, arp(Arp::request, one_.mac, none, none),
        arp(Arp::request, one_.mac, make_address("0.0.0.0"), make_address("0.0.0.0")),
        rarp(two_.mac, two_.mac), rarp(one_.mac, two_.mac), rarp(two_.mac, one_.mac), other_target,
        rarp(one_.mac, one_.mac, bytes_of(two_.v4)),
        advertisement(two_.mac, two_.mac, two_.v6, two_.v6),
        advertisement(one_.mac, one_.mac, two_.v6, two_.v6),
        advertisement(one_.mac, one_.mac, one_.v6, two_.v6),
        advertisement(one_.mac, one_.mac, two_.v6, one_.v6),
        advertisement(one_.mac, two_.mac, one_.v6, one_.v6),
        advertisement(two_.mac, one_.mac, one_.v6, one_.v6),
        advertisement(one_.mac, one_.mac, none6, none6)}) {
    expect_dropped(frame, &TotalCounters::drop_forged_announcement);
  }
}

TEST_F(FromPort, WhatOnlyLooksLikeAnAnnouncementIsDropped) {
  const std::string garp = arp(Arp::reply, one_.mac, one_.v4, one_.v4);
  const std::string na = advertisement(one_.mac, one_.mac, one_.v6, one_.v6);
  auto with = [](std::string frame, std::size_t at, char value) {
    frame.at(at) = value;
    return frame;
  };
  for (const std::string& frame :
       {garp + std::string(60, 'x'),  // Somebody's data behind it.
        na + "x", with(garp, 0, 0x03), with(garp, 21, 3), with(rarp(one_.mac, one_.mac), 21, 4),
        rarp(one_.mac, one_.mac).substr(0, 30), with(rarp(one_.mac, one_.mac), 15, 6),
        with(na, 5, 2), with(na, 53, 2), with(na, 21, 64), with(na, 19, 24), with(na, 55, 1),
        with(na, 58, 0x60), with(na, 78, 1), with(na, 79, 2), na.substr(0, 85)}) {
    expect_dropped(frame, &TotalCounters::drop_multicast);
  }
}

TEST_F(FromPort, ProbeForOnesOwnAddressIsLeftUnanswered) {
  expect_dropped(arp(Arp::request, one_.mac, make_address("0.0.0.0"), one_.v4),
                 &TotalCounters::probes);
}

TEST_F(FromPort, ArpForNobodyOrBrokenIsDropped) {
  expect_dropped(arp(Arp::request, one_.mac, one_.v4, make_address("10.0.0.99")),
                 &TotalCounters::drop_unknown_neighbor);
  expect_dropped(arp(Arp::request, one_.mac, one_.v4, two_.v4).substr(0, 30),
                 &TotalCounters::drop_malformed);
  std::string token_ring = arp(Arp::request, one_.mac, one_.v4, two_.v4);
  token_ring[15] = 6;
  expect_dropped(token_ring, &TotalCounters::drop_malformed);
  expect_dropped(arp(Arp::reply, one_.mac, one_.v4, two_.v4), &TotalCounters::drop_multicast);
}

TEST_F(FromPort, NeighborSolicitationIsAnsweredInPlace) {
  const policy::MacAddress group = {{0x33, 0x33, 0xff, 0, 0, 2}};
  const auto group_ip = make_address("ff02::1:ff00:2");
  const std::string source_link_address = std::string("\1\1", 2) + bytes_of(one_.mac);
  for (const std::string& options :
       {std::string(), source_link_address, source_link_address + "\x0e\1nonce!"}) {
    Output out = run(neighbor_discovery(group, one_.mac, one_.v6, group_ip, 135, two_.v6, options));
    EXPECT_EQ(out.verdict, TC_ACT_REDIRECT);
    std::string expected = neighbor_discovery(one_.mac, two_.mac, two_.v6, one_.v6, 136, two_.v6,
                                              std::string("\2\1", 2) + bytes_of(two_.mac));
    expected[58] = 0x60;  // Solicited, override.
    expected[56] = out.frame.at(56);
    expected[57] = out.frame.at(57);
    EXPECT_EQ(out.frame, expected);
    EXPECT_EQ(icmp6_checksum(out.frame), 0u);
  }
}

TEST_F(FromPort, DuplicateAddressDetectionIsAnsweredToAllNodes) {
  const policy::MacAddress group = {{0x33, 0x33, 0xff, 0, 0, 2}};
  const auto unspecified = make_address("::");
  Output out = run(neighbor_discovery(group, one_.mac, unspecified, make_address("ff02::1:ff00:2"),
                                      135, two_.v6));
  EXPECT_EQ(out.verdict, TC_ACT_REDIRECT);
  EXPECT_EQ(out.frame.substr(0, 6), bytes_of(policy::MacAddress{{0x33, 0x33, 0, 0, 0, 1}}));
  EXPECT_EQ(out.frame.substr(38, 16), bytes_of(make_address("ff02::1")));
  EXPECT_EQ(out.frame.at(58), 0x20);  // Not solicited: nobody in particular asked.
  EXPECT_EQ(icmp6_checksum(out.frame), 0u);
  // For one's own address: silence means it is free.
  expect_dropped(neighbor_discovery(group, one_.mac, unspecified, make_address("ff02::1:ff00:1"),
                                    135, one_.v6),
                 &TotalCounters::probes);
}

TEST_F(FromPort, OtherNeighborDiscoveryIsToldApart) {
  const policy::MacAddress all = {{0x33, 0x33, 0, 0, 0, 1}};
  const auto all_ip = make_address("ff02::1");
  // Advertises, but not at which MAC address.
  expect_dropped(neighbor_discovery(all, one_.mac, one_.v6, all_ip, 136, one_.v6),
                 &TotalCounters::drop_multicast);
  // Asks for a router; asks in another's name, which would tell that this one is there.
  expect_counted(neighbor_discovery(all, one_.mac, one_.v6, all_ip, 133, one_.v6), TC_ACT_STOLEN,
                 &TotalCounters::multicast);
  expect_dropped(neighbor_discovery(all, one_.mac, two_.v6, all_ip, 135, make_address("fe80::9")),
                 &TotalCounters::drop_multicast);
  expect_dropped(neighbor_discovery(all, one_.mac, one_.v6, all_ip, 137, two_.v6),
                 &TotalCounters::drop_multicast);
  expect_dropped(neighbor_discovery(all, one_.mac, one_.v6, all_ip, 135, make_address("fd00::99")),
                 &TotalCounters::drop_unknown_neighbor);
  std::string routed = neighbor_discovery(all, one_.mac, one_.v6, all_ip, 135, two_.v6);
  routed[21] = 64;  // Hop limit below 255: it came through a router (RFC 4861, 7.1.1).
  expect_dropped(routed, &TotalCounters::drop_multicast);
  expect_dropped(routed.substr(0, 60), &TotalCounters::drop_multicast);
}

TEST_F(FromPort, NoAdvertisementHidesBehindOtherHeaders) {
  // An advertisement of another's address, which receivers would believe.
  const std::string forged = advertisement(one_.mac, one_.mac, one_.v6, two_.v6);
  for (const int header : {0, 43, 44, 60}) {
    std::string frame = forged;
    frame.insert(54, std::string("\x3a\0\1\4\0\0\0\0", 8));
    frame[20] = static_cast<char>(header);
    frame.replace(18, 2, be16(40));
    expect_dropped(frame, &TotalCounters::drop_multicast);
  }
  // Longer than a report's, with what looks like one where that would be.
  std::string longer = forged;
  longer.insert(54, std::string("\x3a\1\5\2\0\0\1\6\x8f\0\0\0\0\0\0\0", 16));
  longer[20] = 0;
  longer.replace(18, 2, be16(48));
  expect_dropped(longer, &TotalCounters::drop_multicast);
}

TEST_F(FromPort, UnicastToNobodyIsNotFlooded) {
  expect_dropped(ethernet(nobody_, one_.mac, 0x0800, std::string(100, 'x')),
                 &TotalCounters::drop_unknown_address);
}

TEST_F(FromPort, AnApplicationSpeaksForItselfOnly) {
  const policy::MacAddress three = {{2, 0, 0, 0, 0, 3}};
  for (const auto& from : {two_.mac, nobody_, three}) {
    expect_dropped(transport_frame(two_.mac, from, one_.v4, two_.v4, 17, 500),
                   &TotalCounters::drop_forged_source);
  }
  // What waited in its tap and is sent on: its address is elsewhere by now.
  fabric_.host(1).set_address(fabric_.entry(one_, 1, 2, 2)).value();
  EXPECT_EQ(run(transport_frame(one_.mac, two_.mac, two_.v4, one_.v4, 17, 500)).verdict,
            TC_ACT_REDIRECT);
}

TEST_F(FromPort, RouterAnswersEchoRequests) {
  Host& host = fabric_.host(1);
  host.desired.networks[0].gateways = {make_address("10.0.0.254"), make_address("fd00::fe")};
  host.apply().value();
  for (const auto& [own, gateway] : {std::pair(one_.v4, host.desired.networks[0].gateways[0]),
                                     std::pair(one_.v6, host.desired.networks[0].gateways[1])}) {
    const bool v6 = own.is_v6();
    std::string frame =
        transport_frame(kRouterMac, one_.mac, own, gateway, v6 ? 58 : 1, v6 ? 118 : 98);
    std::string message = std::string(1, static_cast<char>(v6 ? 128 : 8)) + std::string(3, '\0') +
                          "identifier and so on";
    const std::size_t at = v6 ? 54 : 34;
    frame.replace(at, message.size(), message);
    auto checksum = [&](const std::string& of) {
      return v6 ? icmp6_checksum(of) : internet_checksum(of.substr(34));
    };
    frame.replace(at + 2, 2, be16(checksum(frame)));
    const Output out = run(frame);
    EXPECT_EQ(out.verdict, TC_ACT_REDIRECT);
    std::string expected =
        transport_frame(one_.mac, kRouterMac, gateway, own, v6 ? 58 : 1, v6 ? 118 : 98);
    message[0] = static_cast<char>(v6 ? 129 : 0);
    expected.replace(at, message.size(), message);
    expected.replace(at + 2, 2, out.frame.substr(at + 2, 2));
    EXPECT_EQ(out.frame, expected);
    EXPECT_EQ(checksum(out.frame), 0u);
  }
}

TEST_F(FromPort, UnicastIsRedirectedUnchanged) {
  const std::string frame = transport_frame(two_.mac, one_.mac, one_.v4, two_.v4, 17, 500);
  Output out = run(frame);
  EXPECT_EQ(out.verdict, TC_ACT_REDIRECT);
  EXPECT_EQ(out.frame, frame);
  EXPECT_GE(fabric_.host(1).port(one_).received_bytes, frame.size());
}

TEST_F(FromPort, DeviceThatIsNoPortGetsNothing) {
  fabric_.host(1).desired.ports.clear();
  fabric_.host(1).desired.addresses.erase(fabric_.host(1).desired.addresses.begin());
  UniqueFd kept(fabric_.host(1).inside.run([] {
    return bpf_prog_get_fd_by_id(tc_filter::program_id(::if_nametoindex("app1")).value());
  }));
  fabric_.host(1).apply().value();
  // By hand, the filter again without its port.
  fabric_.host(1).inside.run(
      [&] { tc_filter::attach(::if_nametoindex("app1"), kept.get()).value(); });
  expect_dropped(ethernet(two_.mac, one_.mac, 0x0800, std::string(100, 'x')),
                 &TotalCounters::drop_unknown_port);
}

TEST_F(FromPort, FrameWithoutTunnelKeyIsDroppedAtTheVxlanDevice) {
  EXPECT_EQ(
      run(ethernet(two_.mac, one_.mac, 0x0800, std::string(100, 'x')), 0, "homeport0").verdict,
      TC_ACT_SHOT);
  EXPECT_EQ(fabric_.host(1).totals().drop_malformed, 1u);
}

/// Frames as nobody should send them: cut off, drawn out to jumbo size, bytes changed.
class Broken {
 public:
  Broken(std::vector<std::string> whole, unsigned seed) : whole_(std::move(whole)), random_(seed) {}

  std::string next() {
    std::string frame = whole_.at(below(whole_.size()));
    for (std::size_t changes = below(4); changes > 0; --changes) {
      frame.at(below(std::min<std::size_t>(frame.size(), 100))) = static_cast<char>(below(256));
    }
    switch (below(4)) {
      case 0:
        cut_off(frame);
        break;
      case 1:
        frame.resize(std::min<std::size_t>(frame.size() + below(3000), 3000),
                     'j');  // a page holds it
        break;
      default:
        break;
    }
    return frame;
  }
  std::uint32_t gso_size() { return below(4) == 0 ? static_cast<std::uint32_t>(below(2000)) : 0; }

 private:
  /// Not within an IP header: the kernel does not run programs over that.
  void cut_off(std::string& frame) {
    const unsigned type = read16(frame, 12);
    const std::size_t least = type == 0x0800 ? 34 : type == 0x86dd ? 54 : 15;
    if (frame.size() > least) frame.resize(least + below(frame.size() - least));
  }

  std::size_t below(std::size_t limit) {
    return std::uniform_int_distribution<std::size_t>(0, limit - 1)(random_);
  }

  std::vector<std::string> whole_;
  std::mt19937 random_;
};

std::uint64_t drops(const TotalCounters& totals) {
  return totals.probes + totals.drop_unknown_port + totals.drop_unknown_address +
         totals.drop_elsewhere + totals.drop_unknown_neighbor + totals.drop_forged_source +
         totals.drop_forged_announcement + totals.drop_multicast + totals.drop_unknown_network +
         totals.drop_unknown_vtep + totals.drop_forwarded_twice + totals.drop_too_big +
         totals.drop_expired + totals.drop_malformed;
}

// Whatever an application sends, it is sent on as it is, answered well, or dropped and counted;
// nothing is left to the host's own stack.
TEST_F(FromPort, BrokenFramesAreSentAnsweredOrCounted) {
  const policy::MacAddress group = {{0x33, 0x33, 0xff, 0, 0, 2}};
  const auto group_ip = make_address("ff02::1:ff00:2");
  Broken frames({arp(Arp::request, one_.mac, one_.v4, two_.v4),
                 arp(Arp::reply, one_.mac, one_.v4, one_.v4), rarp(one_.mac, one_.mac),
                 neighbor_discovery(group, one_.mac, one_.v6, group_ip, 135, two_.v6,
                                    std::string("\1\1", 2) + bytes_of(one_.mac)),
                 advertisement(one_.mac, one_.mac, one_.v6, one_.v6),
                 transport_frame(two_.mac, one_.mac, one_.v4, two_.v4, 6, 1514),
                 transport_frame(two_.mac, one_.mac, one_.v4, two_.v4, 17, 1514, false),
                 transport_frame(two_.mac, one_.mac, one_.v6, two_.v6, 6, 1514),
                 transport_frame(two_.mac, one_.mac, one_.v6, two_.v6, 58, 100)},
                1);
  std::uint64_t dropped = drops(fabric_.host(1).totals());
  std::size_t answers = 0;
  for (int i = 0; i < 20'000 && !HasFailure(); ++i) {
    SCOPED_TRACE(i);
    const std::string frame = frames.next();
    const std::uint32_t gso_size = frames.gso_size();
    const Output out = run(frame, gso_size);
    if (out.verdict == TC_ACT_SHOT) {
      const std::uint64_t now = drops(fabric_.host(1).totals());
      EXPECT_GT(now, dropped);
      dropped = now;
      continue;
    }
    ASSERT_TRUE(out.verdict == TC_ACT_REDIRECT || out.verdict == TC_ACT_STOLEN) << out.verdict;
    if (out.frame == frame) continue;
    ++answers;
    ASSERT_GE(out.frame.size(), 42u);
    switch (read16(out.frame, 12)) {
      case 0x0806:
        EXPECT_EQ(read16(out.frame, 20), 2u);
        break;
      case 0x0800:
        EXPECT_EQ(internet_checksum(out.frame.substr(14, 20)), 0u);
        EXPECT_EQ(internet_checksum(out.frame.substr(34)), 0u);
        break;
      case 0x86dd:
        EXPECT_EQ(icmp6_checksum(out.frame), 0u);
        break;
      default:
        ADD_FAILURE() << "an answer of type " << read16(out.frame, 12);
    }
  }
  EXPECT_GT(answers, 1000u);
}

/// What is too big, by protocol (6 TCP, 17 UDP) and family.
class TooBig : public FromPort, public testing::WithParamInterface<int> {
 protected:
  void expect_v4_answer(const Output& out, const std::string& frame) {
    EXPECT_EQ(out.verdict, TC_ACT_REDIRECT);
    ASSERT_EQ(out.frame.size(), 14u + 20 + 8 + 20 + 20);
    EXPECT_EQ(out.frame.substr(0, 12), bytes_of(one_.mac) + bytes_of(two_.mac));
    EXPECT_EQ(internet_checksum(out.frame.substr(14, 20)), 0u);
    EXPECT_EQ(out.frame.substr(26, 8), bytes_of(two_.v4) + bytes_of(one_.v4));
    EXPECT_EQ(out.frame.substr(34, 2), std::string("\3\4"));
    EXPECT_EQ(read16(out.frame, 40), 1430u);
    EXPECT_EQ(internet_checksum(out.frame.substr(34)), 0u);
    EXPECT_EQ(out.frame.substr(42, 20), frame.substr(14, 20));  // The packet's own header
    EXPECT_EQ(out.frame.substr(62, 6), frame.substr(34, 6));    // and ports.
  }

  void expect_v6_answer(const Output& out, const std::string& frame) {
    EXPECT_EQ(out.verdict, TC_ACT_REDIRECT);
    ASSERT_EQ(out.frame.size(), 14u + 40 + 8 + 40 + 20);
    EXPECT_EQ(out.frame.substr(0, 12), bytes_of(one_.mac) + bytes_of(two_.mac));
    EXPECT_EQ(out.frame.substr(22, 32), bytes_of(two_.v6) + bytes_of(one_.v6));
    EXPECT_EQ(out.frame.substr(54, 2), std::string("\2\0", 2));
    EXPECT_EQ(read16(out.frame, 60), 1430u);
    EXPECT_EQ(icmp6_checksum(out.frame), 0u);
    EXPECT_EQ(out.frame.substr(62, 40), frame.substr(14, 40));
    EXPECT_EQ(out.frame.substr(102, 6), frame.substr(54, 6));
  }

  unsigned char protocol() const { return static_cast<unsigned char>(GetParam()); }
};

TEST_P(TooBig, FullSizeFits) {
  for (const auto& [from, to] : {std::pair{one_.v4, two_.v4}, std::pair{one_.v6, two_.v6}}) {
    const auto frame = transport_frame(two_.mac, one_.mac, from, to, protocol(), 14 + 1430);
    EXPECT_TRUE(run(frame).frame == frame);
  }
  EXPECT_EQ(fabric_.host(1).totals().too_big_answers, 0u);
}

TEST_P(TooBig, OneByteMoreIsAnswered) {
  auto v4 = transport_frame(two_.mac, one_.mac, one_.v4, two_.v4, protocol(), 14 + 1431);
  expect_v4_answer(run(v4), v4);
  auto v6 = transport_frame(two_.mac, one_.mac, one_.v6, two_.v6, protocol(), 14 + 1431);
  expect_v6_answer(run(v6), v6);
  EXPECT_EQ(fabric_.host(1).totals().too_big_answers, 2u);
}

TEST_P(TooBig, WithoutDontFragmentItIsSent) {
  auto frame = transport_frame(two_.mac, one_.mac, one_.v4, two_.v4, protocol(), 14 + 1500, false);
  EXPECT_TRUE(run(frame).frame == frame);
  EXPECT_EQ(fabric_.host(1).totals().fragmented, 1u);
}

TEST_P(TooBig, SegmentsCountNotTheWhole) {
  const std::uint32_t header = protocol() == 6 ? 20 : 8;
  auto v4 = transport_frame(two_.mac, one_.mac, one_.v4, two_.v4, protocol(), 3000);
  EXPECT_TRUE(run(v4, 1430 - 20 - header).frame == v4);
  expect_v4_answer(run(v4, 1430 - 20 - header + 1), v4);
  auto v6 = transport_frame(two_.mac, one_.mac, one_.v6, two_.v6, protocol(), 3000);
  EXPECT_TRUE(run(v6, 1430 - 40 - header).frame == v6);
  expect_v6_answer(run(v6, 1430 - 40 - header + 1), v6);
}

INSTANTIATE_TEST_SUITE_P(Transport, TooBig, testing::Values(6, 17));

TEST_F(FromPort, ErrorsAndFragmentsAreNeverAnswered) {
  auto later_fragment = transport_frame(two_.mac, one_.mac, one_.v4, two_.v4, 17, 1514);
  later_fragment[21] = 8;  // Fragment offset 64, and DF.
  EXPECT_TRUE(run(later_fragment).frame == later_fragment);
  auto icmp_error = transport_frame(two_.mac, one_.mac, one_.v4, two_.v4, 1, 1514);
  icmp_error[34] = 3;
  EXPECT_TRUE(run(icmp_error).frame == icmp_error);
  auto icmp6_error = transport_frame(two_.mac, one_.mac, one_.v6, two_.v6, 58, 1514);
  icmp6_error[54] = 1;
  EXPECT_TRUE(run(icmp6_error).frame == icmp6_error);
  auto other = ethernet(two_.mac, one_.mac, 0x88b5, std::string(1500, 'x'));
  EXPECT_TRUE(run(other).frame == other);
  EXPECT_EQ(fabric_.host(1).totals().fragmented, 4u);
  EXPECT_EQ(fabric_.host(1).totals().too_big_answers, 0u);
  auto echo = transport_frame(two_.mac, one_.mac, one_.v4, two_.v4, 1, 1514);
  echo[34] = 8;
  EXPECT_FALSE(run(echo).frame == echo);
  EXPECT_EQ(fabric_.host(1).totals().too_big_answers, 1u);
}

}  // namespace
}  // namespace homeport::overlay
