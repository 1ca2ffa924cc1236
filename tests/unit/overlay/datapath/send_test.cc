// The short way out: that what goes past the VXLAN device is what that device would have sent, to
// where the kernel's routing says, and what goes through it all the same. Host 1 is the one that is
// looked at.
#include "tests/unit/overlay/datapath/connection.h"
#include "tests/unit/overlay/datapath/fabric.h"
#include "tests/unit/overlay/datapath/frames.h"

#include <gmock/gmock.h>
#include <netinet/udp.h>

#include <random>

namespace homeport::overlay {
namespace {

using boost::asio::ip::make_address;
using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;

const BpfFileSystem& bpf() {
  static const BpfFileSystem file_system;
  return file_system;
}

class ShortWayOut : public testing::TestWithParam<Underlay> {
 protected:
  Fabric fabric_{bpf(), 2, GetParam()};
  Host& host_ = fabric_.host(1);
  App& one_ = fabric_.app(1);
  App& two_ = fabric_.app(2);
  const bool v6_ = GetParam() == Underlay::v6;
  const std::size_t outer_ip_ = v6_ ? 40 : 20;
  const std::size_t outer_ = 14 + outer_ip_ + 16;  ///< all in front of the inner frame
  const std::string forwarding_ =
      std::string("net.") + (v6_ ? "ipv6" : "ipv4") + ".conf.lo.forwarding";

  std::uint64_t fast() { return host_.totals().sent_fast; }
  /// Whether the device has carrier and, with that, an IPv6 address of its own.
  bool serves_ipv6(const std::string& device) const {
    return host_.inside.run([&] {
      auto addresses = list_addresses().value();
      return std::ranges::any_of(addresses, [&](const LinkAddress& each) {
        return each.link_index == static_cast<int>(::if_nametoindex(device.c_str())) &&
               each.address.is_v6() && each.address.to_v6().is_link_local();
      });
    });
  }
  bool untouched() {
    return host_.inside.run([&] { return host_.datapath->untouched().value(); });
  }
  void apply_with(bool fast_send) {
    host_.options.fast_send = fast_send;
    host_.restart();
    host_.apply().value();
  }

  /// Whether it is VXLAN with that frame inside, in one packet.
  bool carries(const std::string& seen, const std::string& frame) const {
    return seen.size() == outer_ + frame.size() && read16(seen, 14 + outer_ip_ + 2) == kUdpPort &&
           seen.ends_with(frame);
  }
  /// Sends the frame from the application; what arrives at the other host.
  std::string through(Sniffer& wire, const std::string& frame) {
    send_frame(one_, frame);
    auto seen = wire.next([&](const std::string& each) { return carries(each, frame); });
    if (!seen) throw std::runtime_error("the frame did not arrive");
    return *seen;
  }
  /// The same but for what tells packets apart, whose header's checksum must be right.
  std::string comparable(std::string packet) const {
    if (v6_) return packet;
    EXPECT_EQ(internet_checksum(packet.substr(14, 20)), 0u);
    return packet.replace(18, 2, 2, '\0').replace(24, 2, 2, '\0');
  }

  std::string datagram(bool v6, std::size_t length = 100) const {
    return transport_frame(two_.mac, one_.mac, v6 ? one_.v6 : one_.v4, v6 ? two_.v6 : two_.v4, 17,
                           length);
  }
};

TEST_P(ShortWayOut, OnTheWireIsWhatTheVxlanDeviceSends) {
  host_.inside.shell("sysctl -qw net.ipv4.ip_local_port_range='40000 41000'");
  EXPECT_FALSE(untouched());
  host_.apply().value();
  EXPECT_TRUE(untouched());
  std::mt19937 random(v6_ ? 6 : 4);
  std::vector<std::string> frames;
  for (int i = 0; i < 400; ++i) {
    const bool v6 = i % 2;
    const std::size_t lengths[] = {80, 100, 1000, 1444};
    std::string frame = transport_frame(
        two_.mac, one_.mac, v6 ? one_.v6 : one_.v4, v6 ? two_.v6 : two_.v4,
        std::array<unsigned char, 4>{17, 6, 1, 58}[random() % 4], lengths[random() % 4]);
    // Congestion, fragments, options, headers that are none: all that may be inside.
    for (int changes = static_cast<int>(random() % 4); changes > 0; --changes) {
      frame[14 + random() % 66] = static_cast<char>(random());
    }
    if (i < 8) frame[15] = static_cast<char>(i / 2 << (v6 ? 4 : 0));
    const auto number = static_cast<std::uint32_t>(i);
    std::memcpy(frame.data() + frame.size() - 4, &number, 4);
    frames.push_back(std::move(frame));
  }
  Sniffer wire(fabric_.host(2).inside, "underlay");
  std::vector<std::string> sent;
  const std::uint64_t before = fast();
  for (const std::string& frame : frames) sent.push_back(through(wire, frame));
  EXPECT_GT(fast(), before + 150);

  apply_with(false);
  const std::uint64_t at_the_end = fast();
  for (std::size_t i = 0; i < frames.size() && !HasFailure(); ++i) {
    SCOPED_TRACE(i);
    EXPECT_EQ(comparable(sent[i]), comparable(through(wire, frames[i])));
    EXPECT_GE(read16(sent[i], 14 + outer_ip_), 40000u);
    EXPECT_LT(read16(sent[i], 14 + outer_ip_), 41000u);
  }
  EXPECT_EQ(fast(), at_the_end);
}

// The kernel leaves checksums to devices, and completes those of a device that cannot.
TEST_P(ShortWayOut, ChecksumsAreCompleteBehindADeviceThatLeavesThem) {
  for (const bool capable : {true, false}) {
    if (!capable) host_.inside.run([] { set_offloads_off("underlay").value(); });
    for (const auto& [v6, tcp] :
         {std::pair{false, false}, {true, false}, {false, true}, {true, true}}) {
      SCOPED_TRACE(testing::Message()
                   << "capable " << capable << ", IPv6 " << v6 << ", TCP " << tcp);
      const policy::IpAddress& address = v6 ? two_.v6 : two_.v4;
      const std::string data = "one with a checksum!";
      Sniffer wire(fabric_.host(2).inside, "underlay");
      std::uint64_t before = fast();
      if (tcp) {
        Connection connection(one_, two_, address);
        before = fast();
        EXPECT_EQ(connection.ask(data), data);
      } else {
        Socket from(one_.inside, v6), to(two_.inside, v6);
        from.send(address, to.port(), data);
        EXPECT_EQ(to.receive(), data);
      }
      EXPECT_GE(fast(), before + 1);
      auto seen = wire.next([&](const std::string& each) { return each.ends_with(data); });
      ASSERT_TRUE(seen);
      const std::string ip = seen->substr(outer_ + 14);
      const std::string transport = ip.substr(v6 ? 40 : 20);
      EXPECT_NE(read16(transport, tcp ? 16 : 6), 0u);
      if (capable) continue;  // Here it is as the sender's kernel left it.
      const std::string addresses = v6 ? ip.substr(8, 32) : ip.substr(12, 8);
      EXPECT_EQ(internet_checksum(addresses + be16(tcp ? 6 : 17) +
                                  be16(static_cast<unsigned>(transport.size())) + transport),
                0u);
    }
  }
}

TEST_P(ShortWayOut, WhatIsNotPlainGoesThroughTheVxlanDevice) {
  Socket from(one_.inside, false), to(two_.inside, false);
  from.connect(two_.v4, to.port());
  from.send("plain");
  EXPECT_EQ(to.receive(), "plain");
  const std::uint64_t before = fast();
  EXPECT_GT(before, 0u);
  // GSO packets.
  const int size = 10, none = 0;
  ::setsockopt(from.fd(), SOL_UDP, UDP_SEGMENT, &size, sizeof(size));
  from.send("0123456789abcdefghijABC");
  for (const char* piece : {"0123456789", "abcdefghij", "ABC"}) EXPECT_EQ(to.receive(), piece);
  EXPECT_EQ(fast(), before);
  // What does not fit a route, whose MTU is its own. Over IPv6 the kernel fragments none.
  ::setsockopt(from.fd(), SOL_UDP, UDP_SEGMENT, &none, sizeof(none));
  if (!v6_) {
    host_.inside.shell("ip route add " + fabric_.host(2).vtep.to_string() +
                       "/32 dev underlay mtu 1300");
    const std::string big(1390, 'x');
    from.send(big);
    EXPECT_EQ(to.receive(), big);
    EXPECT_EQ(fast(), before);
  }
  from.send("plain");
  EXPECT_EQ(to.receive(), "plain");
  EXPECT_EQ(fast(), before + 1);
}

TEST_P(ShortWayOut, SegmentsOfTcpTakeItUnlessTheyAreGsoPackets) {
  Sniffer wire(fabric_.host(2).inside, "underlay");
  const std::uint64_t before = fast();
  for (const auto& [source, destination] : {std::pair{one_.v4, two_.v4}, {one_.v6, two_.v6}}) {
    through(wire, transport_frame(two_.mac, one_.mac, source, destination, 6, 100));
  }
  EXPECT_EQ(fast(), before + 2);
  Connection connection(one_, two_, two_.v4);
  const std::string much(50'000, 'm');  // 37 segments: what the buffers hold without a reader.
  EXPECT_EQ(connection.ask(much), much);
  EXPECT_LT(fast(), before + 2 + 30);
}

TEST_P(ShortWayOut, FindsTheNeighborFirst) {
  Socket from(one_.inside, false), to(two_.inside, false);
  for (int i = 0; i < 3; ++i) {
    host_.inside.shell("ip neigh flush dev underlay");
    const std::uint64_t before = fast();
    from.send(two_.v4, to.port(), std::to_string(i));
    EXPECT_EQ(to.receive(), std::to_string(i));
    EXPECT_EQ(fast(), before + 1);
  }
}

// By a gateway, by rules, over another device, or nowhere: the next packet goes as they say.
TEST_P(ShortWayOut, FollowsTheKernelsRoutesAtOnce) {
  Host& other = fabric_.host(2);
  const auto near = make_address(v6_ ? "2001:db8:5::1" : "198.51.100.1");
  const auto far = make_address(v6_ ? "2001:db8:5::2" : "198.51.100.2");
  // The kernel asks for a neighbor in the name of an address that the device itself has. The VTEP
  // is the other device's, and what this one gets has to prove unique first, which takes as long as
  // the kernel keeps a packet that waits for a neighbor.
  host_.inside.shell("sysctl -qw net.ipv6.conf.default.accept_dad=0");
  host_.inside.run([&] {
    create_veth("second", "second", other.inside.fd());
    set_link_up("second", true).value();
    add_address("second", near, v6_ ? 64 : 24);
  });
  other.inside.run([&] {
    set_link_up("second", true).value();
    add_address("second", far, v6_ ? 64 : 24);
  });
  ASSERT_TRUE(eventually([&] { return serves_ipv6("second"); }));
  Sniffer first(other.inside, "underlay"), second(other.inside, "second");
  auto number = 0;
  auto expect_at = [&](Sniffer& there, Sniffer& not_there) {
    std::string frame = datagram(false);
    frame.back() = static_cast<char>(++number);
    const std::uint64_t before = fast();
    const std::string seen = through(there, frame);
    EXPECT_EQ(seen.substr(v6_ ? 22 : 26, v6_ ? 16 : 4), bytes_of(host_.vtep));
    EXPECT_EQ(fast(), before + 1);
    EXPECT_FALSE(not_there.pending([&](const std::string& each) { return carries(each, frame); }));
  };
  const std::string ip = v6_ ? "ip -6 " : "ip ";
  const std::string to = other.vtep.to_string() + (v6_ ? "/128" : "/32");
  const std::string by_second = " via " + far.to_string() + " dev second";
  expect_at(first, second);
  host_.inside.shell(ip + "route add " + to + by_second);
  expect_at(second, first);
  host_.inside.shell(ip + "route del " + to);
  expect_at(first, second);
  host_.inside.shell(ip + "route add " + to + by_second + " table 100 && " + ip +
                     "rule add iif lo from " + host_.vtep.to_string() + " lookup 100");
  expect_at(second, first);
  host_.inside.shell(ip + "rule del iif lo from " + host_.vtep.to_string() + " lookup 100");
  expect_at(first, second);
  host_.inside.shell(ip + "route add unreachable " + to);
  const std::uint64_t before = fast();
  std::string lost = datagram(false);
  lost.back() = 'l';
  send_frame(one_, lost);
  host_.inside.shell(ip + "route del unreachable " + to);
  expect_at(first, second);
  EXPECT_EQ(fast(), before + 1);
  EXPECT_FALSE(first.pending([&](const std::string& each) { return carries(each, lost); }));
}

TEST_P(ShortWayOut, WithoutTheKernelsSettingTheLongWayIsLeftAndItIsMended) {
  EXPECT_TRUE(untouched());
  host_.inside.shell("sysctl -qw " + forwarding_ + "=0");
  EXPECT_FALSE(untouched());
  const std::uint64_t before = fast();
  Socket from(one_.inside, false), to(two_.inside, false);
  from.send(two_.v4, to.port(), "the long way");
  EXPECT_EQ(to.receive(), "the long way");
  EXPECT_EQ(fast(), before);
  host_.apply().value();
  EXPECT_THAT(host_.datapath->mended(), Contains(HasSubstr("conf/lo/forwarding was off")));
  EXPECT_TRUE(untouched());
  from.send(two_.v4, to.port(), "the short way");
  EXPECT_EQ(to.receive(), "the short way");
  EXPECT_EQ(fast(), before + 1);
}

TEST_P(ShortWayOut, IsNotTakenWhereIpsecGuardsTheUnderlay) {
  const std::string any = v6_ ? "::/0" : "0.0.0.0/0";
  host_.inside.shell("ip xfrm policy add src " + any + " dst " + any + " dir out action block");
  EXPECT_FALSE(untouched());
  host_.apply().value();
  EXPECT_THAT(host_.datapath->mended(), IsEmpty());
  EXPECT_TRUE(untouched());
  const std::uint64_t before = fast();
  std::string blocked = datagram(false);
  send_frame(one_, blocked);
  host_.inside.shell("ip xfrm policy flush");
  host_.apply().value();
  EXPECT_EQ(fast(), before);
  Sniffer wire(fabric_.host(2).inside, "underlay");
  through(wire, datagram(true));
  EXPECT_EQ(fast(), before + 1);
}

TEST_P(ShortWayOut, IsNotTakenWhereItIsNotWanted) {
  apply_with(false);
  EXPECT_TRUE(untouched());
  const std::uint64_t before = fast();
  Sniffer wire(fabric_.host(2).inside, "underlay");
  through(wire, datagram(false));
  EXPECT_EQ(fast(), before);
  apply_with(true);
  through(wire, datagram(true));
  EXPECT_EQ(fast(), before + 1);
}

INSTANTIATE_TEST_SUITE_P(Underlays, ShortWayOut, testing::Values(Underlay::v4, Underlay::v6),
                         [](const auto& info) { return info.param == Underlay::v6 ? "v6" : "v4"; });

}  // namespace
}  // namespace homeport::overlay
