// The short way in: which frames of other hosts are taken at the underlay, which are left to the
// VXLAN device, and that no frame overtakes another. Host 2 is the one that is looked at.
#include "overlay/datapath/bpf_map.h"
#include "overlay/datapath/ebpf/layout.h"
#include "overlay/datapath/underlay_hook.h"
#include "tests/unit/overlay/datapath/connection.h"
#include "tests/unit/overlay/datapath/fabric.h"
#include "tests/unit/overlay/datapath/frames.h"

#include <bpf/bpf.h>
#include <gmock/gmock.h>
#include <linux/pkt_cls.h>
#include <net/if.h>
#include <netinet/udp.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <fstream>
#include <iterator>
#include <random>
#include <thread>

namespace homeport::overlay {
namespace {

using boost::asio::ip::make_address;
using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

const BpfFileSystem& bpf() {
  static const BpfFileSystem file_system;
  return file_system;
}

/// Keeps the thread on one processor.
class OnProcessor {
 public:
  explicit OnProcessor(int number) {
    ::sched_getaffinity(0, sizeof(before_), &before_);
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(static_cast<unsigned>(number), &one);
    ::sched_setaffinity(0, sizeof(one), &one);
  }
  ~OnProcessor() { ::sched_setaffinity(0, sizeof(before_), &before_); }

 private:
  cpu_set_t before_{};
};

/// Flags of TCP (RFC 9293).
constexpr unsigned char kFin = 1, kSyn = 2, kRst = 4, kPsh = 8, kAck = 16;

/// What a host puts around a frame, and how it may differ from the plain case.
struct Around {
  unsigned char flags = 8;
  std::uint32_t vni = kVni;
  unsigned reserved = 0;
  unsigned checksum = 0;
  unsigned char tos = 0;
  bool more_fragments = false;
  bool options = false;
  std::string behind = {};  ///< the UDP datagram, in the outer packet
};

class ShortWay : public testing::TestWithParam<Underlay> {
 protected:
  Fabric fabric_{bpf(), 2, GetParam()};
  Host& host_ = fabric_.host(2);
  App& one_ = fabric_.app(1);
  App& two_ = fabric_.app(2);
  const bool v6_ = GetParam() == Underlay::v6;

  policy::MacAddress underlay_mac(int number) {
    return fabric_.host(number).inside.run([] { return find_link("underlay").value().mac; });
  }

  std::string packet(const std::string& frame, const Around& around = {},
                     std::optional<policy::IpAddress> from = std::nullopt) {
    const policy::IpAddress source = from.value_or(fabric_.host(1).vtep);
    std::string udp = be16(50000) + be16(kUdpPort) +
                      be16(static_cast<unsigned>(16 + frame.size())) + be16(around.checksum) +
                      static_cast<char>(around.flags) + std::string(3, '\0') +
                      static_cast<char>(around.vni >> 16) + be16(around.vni & 0xffff) +
                      static_cast<char>(around.reserved) + frame;
    udp += around.behind;
    std::string ip;
    if (v6_) {
      ip = std::string(1, static_cast<char>(0x60 | around.tos >> 4)) +
           static_cast<char>(around.tos << 4) + be16(0) + be16(static_cast<unsigned>(udp.size())) +
           "\x11\x40" + bytes_of(source) + bytes_of(host_.vtep);
    } else {
      const std::string options = around.options ? std::string(4, '\1') : "";
      ip = std::string(1, around.options ? '\x46' : '\x45') + static_cast<char>(around.tos) +
           be16(static_cast<unsigned>(20 + options.size() + udp.size())) + be16(7) +
           be16(around.more_fragments ? 0x2000 : 0x4000) + "\x40\x11" + be16(0) + bytes_of(source) +
           bytes_of(host_.vtep) + options;
      ip.replace(10, 2, be16(internet_checksum(ip)));
    }
    return ethernet(underlay_mac(2), underlay_mac(1), v6_ ? 0x86dd : 0x0800, ip + udp);
  }

  std::string datagram(const policy::IpAddress& source, unsigned char protocol = 17,
                       std::size_t length = 100) {
    return transport_frame(two_.mac, one_.mac, source, source.is_v4() ? two_.v4 : two_.v6, protocol,
                           length);
  }

  /// Of TCP, with data.
  std::string segment(const policy::IpAddress& source, unsigned char flags) {
    std::string frame = datagram(source, 6);
    frame[source.is_v4() ? 47 : 67] = static_cast<char>(flags);
    return frame;
  }

  /// What the program at the underlay says to the packet, and what is left of it then.
  std::pair<int, std::string> run_program(const std::string& packet) {
    const std::uint32_t underlay = ifindex("underlay");
    return host_.inside.run([&] {
      const UniqueFd program(bpf_prog_get_fd_by_id(links().at(underlay)));
      __sk_buff context{};
      context.ifindex = underlay;
      std::vector<char> out(65536);
      bpf_test_run_opts options{};
      options.sz = sizeof(options);
      options.data_in = packet.data();
      options.data_size_in = static_cast<std::uint32_t>(packet.size());
      options.data_out = out.data();
      options.data_size_out = static_cast<std::uint32_t>(out.size());
      options.ctx_in = &context;
      options.ctx_size_in = sizeof(context);
      if (bpf_prog_test_run_opts(program.get(), &options) != 0) {
        throw std::system_error(errno, std::generic_category(), "the program");
      }
      return std::pair(static_cast<int>(options.retval),
                       std::string(out.data(), options.data_size_out));
    });
  }

  /// Whether the program counts nothing as on its way through the VXLAN device.
  bool nothing_waits() {
    const UniqueFd flows(bpf_obj_get((directory() / "hp_flows").c_str()));
    std::vector<hp_flow> values(values_per_slot().value());
    for (std::uint32_t slot = 0; slot < 1u << HP_FLOW_BITS; ++slot) {
      if (bpf_map_lookup_elem(flows.get(), &slot, values.data()) != 0) return false;
      if (std::ranges::any_of(values, &hp_flow::waiting)) return false;
    }
    return true;
  }

  void arrive(const std::string& packet) {
    fabric_.host(1).inside.run([&] { send_frame_at("underlay", packet); });
  }
  std::uint64_t delivered() { return host_.port(two_).delivered_packets; }
  std::uint64_t fast() { return host_.totals().delivered_fast; }

  std::map<std::uint32_t, std::uint32_t> links() {
    return underlay_hook::list(directory()).value();
  }
  std::filesystem::path directory() {
    return host_.options.pin_directory / ("layout-" + std::to_string(HP_LAYOUT_VERSION));
  }
  std::uint32_t ifindex(const char* device) {
    return host_.inside.run([&] { return ::if_nametoindex(device); });
  }
  bool untouched() {
    return host_.inside.run([&] { return host_.datapath->untouched().value(); });
  }
  std::vector<std::string> detached() {
    return host_.inside.run([&] { return host_.datapath->detached().value(); });
  }
};

TEST_P(ShortWay, DatagramsOfBothFamiliesTakeIt) {
  for (const bool v6 : {false, true}) {
    Socket from(one_.inside, v6), to(two_.inside, v6);
    const std::uint64_t fast_before = fast(), before = delivered();
    for (int i = 0; i < 10; ++i) {
      from.send(v6 ? two_.v6 : two_.v4, to.port(), "hello " + std::to_string(i));
      EXPECT_EQ(to.receive(), "hello " + std::to_string(i));
    }
    EXPECT_GE(fast(), fast_before + 10);
    EXPECT_EQ(delivered() - before, fast() - fast_before);
  }
}

TEST_P(ShortWay, TheFrameThatArrivesIsTheOneThatWasSent) {
  Sniffer sniffer(two_.inside);
  for (const std::string& frame :
       {datagram(one_.v4), datagram(one_.v6), datagram(one_.v4, 1), datagram(one_.v6, 58),
        datagram(one_.v4, 17, 1400), datagram(one_.v6, 44), segment(one_.v4, kPsh | kAck),
        segment(one_.v6, kPsh | kAck)}) {
    std::string sent = frame;
    if (sent[20] == 44) sent[54] = 17;  // A fragment of a datagram.
    const std::uint64_t before = fast();
    arrive(packet(sent));
    EXPECT_EQ(sniffer.next([&](const std::string& seen) { return seen == sent; }), sent);
    EXPECT_EQ(fast(), before + 1);
  }
}

// But for those behind an acknowledgement that waits in the VXLAN device's queue just then.
TEST_P(ShortWay, RequestsAndAnswersOfTcpTakeIt) {
  for (const bool v6 : {false, true}) {
    Connection connection(one_, two_, v6 ? two_.v6 : two_.v4);
    const std::uint64_t in = fast(), out = host_.totals().sent_fast;
    for (int i = 0; i < 1000 && (fast() < in + 10 || host_.totals().sent_fast < out + 10); ++i) {
      const std::string text = "hello " + std::to_string(i);
      ASSERT_EQ(connection.ask(text), text);
      ASSERT_EQ(connection.answer(text), text);
    }
    EXPECT_GE(fast(), in + 10);
    EXPECT_GE(host_.totals().sent_fast, out + 10);
    // More than one segment is a GSO packet, and as many go into the queue as come out of it.
    const std::string much(50'000, 'm');
    EXPECT_EQ(connection.ask(much), much);
    EXPECT_EQ(connection.answer(much), much);
    EXPECT_TRUE(eventually([&] { return nothing_waits(); }));
  }
}

// The kernel waits for what it may join to a segment that does not end what is sent.
TEST_P(ShortWay, SegmentsToWhichOthersAreJoinedTakeTheLongWay) {
  std::string fragment = segment(one_.v4, kPsh | kAck);
  fragment[20] = 0x20;
  fragment = with_header_checksum(fragment);
  const std::vector<std::pair<std::string, bool>> cases = {{segment(one_.v4, kSyn), true},
                                                           {segment(one_.v6, kSyn), true},
                                                           {segment(one_.v4, kFin | kAck), true},
                                                           {segment(one_.v6, kRst), true},
                                                           {segment(one_.v4, kAck), false},
                                                           {segment(one_.v6, kAck), false},
                                                           {segment(one_.v4, kPsh | kAck), true},
                                                           {segment(one_.v6, kPsh | kAck), true},
                                                           {fragment, false}};
  for (std::size_t i = 0; i < cases.size(); ++i) {
    const auto& [frame, takes_it] = cases[i];
    const std::uint64_t fast_before = fast(), before = delivered();
    arrive(packet(frame));
    EXPECT_TRUE(eventually([&] { return delivered() > before; }));
    EXPECT_EQ(fast() - fast_before, takes_it ? 1u : 0u) << i;
  }
}

// Nor does the last segment overtake those in front of it. What waits is forgotten after 0.1 s, so
// that this is tried again where the machine has stood still for so long.
TEST_P(ShortWay, SegmentFollowsThoseInFrontOfIt) {
  const OnProcessor first(0);  // Each has counts of its own.
  for (std::uint32_t i = 0; i < 50; ++i) {
    const boost::asio::ip::address_v4 source(0x0a010001u + i), another(0x0a020001u + i);
    const auto start = std::chrono::steady_clock::now();
    ASSERT_EQ(run_program(packet(segment(source, kAck))).first, TC_ACT_UNSPEC);
    const int verdict = run_program(packet(segment(source, kPsh | kAck))).first;
    if (std::chrono::steady_clock::now() - start > std::chrono::milliseconds(80)) continue;
    EXPECT_EQ(verdict, TC_ACT_UNSPEC);
    EXPECT_EQ(run_program(packet(datagram(source))).first, TC_ACT_REDIRECT);
    EXPECT_EQ(run_program(packet(segment(another, kPsh | kAck))).first, TC_ACT_REDIRECT);
    return;
  }
  FAIL() << "the machine stands still";
}

TEST_P(ShortWay, WhatIsNotPlainIsDeliveredTheLongWay) {
  std::vector<std::string> packets = {
      packet(datagram(one_.v4, 6)), packet(datagram(one_.v6, 6)),
      packet(datagram(one_.v4), {.vni = kVni | HP_VNI_MARK}),
      // Congestion was met on the way: the frame inside has to tell.
      packet(
          [&] {
            std::string capable = datagram(one_.v4);
            capable[15] = 2;
            return with_header_checksum(capable);
          }(),
          {.tos = 3}),
      packet(datagram(one_.v4), {.behind = "something"})};
  if (!v6_) packets.push_back(packet(datagram(one_.v4), {.options = true}));
  const std::uint64_t fast_before = fast();
  for (const std::string& each : packets) {
    const std::uint64_t before = delivered();
    arrive(each);
    EXPECT_TRUE(eventually([&] { return delivered() == before + 1; }));
    EXPECT_EQ(fast(), fast_before) << &each - packets.data();
  }
}

TEST_P(ShortWay, WhatTheLongWayDropsIsDroppedAndCounted) {
  std::string nobody = datagram(one_.v4), forged = nobody;
  nobody[5] = 99;
  forged[11] = 99;
  const auto stranger = make_address(v6_ ? "2001:db8::99" : "192.0.2.99");
  const std::uint64_t fast_before = fast(), before = delivered();
  const std::vector<std::pair<std::string, std::uint64_t TotalCounters::*>> cases = {
      {packet(datagram(one_.v4), {}, stranger), &TotalCounters::drop_unknown_vtep},
      {packet(nobody), &TotalCounters::drop_unknown_address},
      {packet(datagram(one_.v4), {.vni = 4711}), &TotalCounters::drop_unknown_network},
      {packet(forged), &TotalCounters::drop_forged_source}};
  for (const auto& [bytes, counter] : cases) {
    const std::uint64_t dropped = host_.totals().*counter;
    arrive(bytes);
    EXPECT_TRUE(eventually([&] { return host_.totals().*counter == dropped + 1; }));
  }
  // And what the kernel itself drops, or gives to somebody else.
  std::string elsewhere = packet(datagram(one_.v4)), broken = elsewhere;
  elsewhere[0] = 2;
  elsewhere[5] = static_cast<char>(elsewhere[5] ^ 1);
  if (!v6_) broken[22] = 1;  // Another TTL than the checksum's.
  std::vector<std::string> dropped = {
      packet(datagram(one_.v4), {.flags = 0}), packet(datagram(one_.v4), {.reserved = 1}),
      packet(datagram(one_.v4), {.flags = 0x88}), packet(datagram(one_.v4), {.checksum = 1}),
      packet(datagram(one_.v4), {.tos = 3})};
  if (!v6_) {
    dropped.push_back(broken);
    dropped.push_back(packet(datagram(one_.v4), {.more_fragments = true}));
  }
  for (const std::string& each : dropped) arrive(each);
  fabric_.host(1).inside.run([&] { send_frame_at("underlay", elsewhere); });
  // What comes last has arrived when all before it have.
  arrive(packet(datagram(one_.v4, 6)));
  EXPECT_TRUE(eventually([&] { return delivered() > before; }));
  EXPECT_EQ(delivered(), before + 1);
  EXPECT_EQ(fast(), fast_before);
}

// A sender that has the kernel cut one big write into datagrams (UDP_SEGMENT), and sends others
// between: the big ones wait in a queue of the VXLAN device. Another processor than the sender's
// receives (RPS), so that it finds several at a time.
TEST_P(ShortWay, NothingOvertakesWhatIsInTheQueue) {
  host_.inside.shell(
      "unshare -m sh -c 'mount -t sysfs none /sys && "
      "echo 2 >/sys/class/net/underlay/queues/rx-0/rps_cpus'");
  const OnProcessor first(0);
  fabric_.stop_counting();
  Socket to(two_.inside, false), from(one_.inside, false);
  const int room = 16 << 20;
  ::setsockopt(to.fd(), SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room));
  ::setsockopt(from.fd(), SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room));
  from.connect(two_.v4, to.port());
  from.send("first");  // What waits until the underlay has found its neighbor keeps no order.
  ASSERT_TRUE(to.receive());
  const std::uint64_t fast_before = fast(), sent_fast_before = fabric_.host(1).totals().sent_fast;
  std::uint32_t sent = 0, next = 0, reordered = 0;
  auto numbered = [&](int count) {
    std::string data;
    for (int i = 0; i < count; ++i, ++sent) {
      std::string one(100, 'x');
      std::memcpy(one.data(), &sent, sizeof(sent));
      data += one;
    }
    return data;
  };
  constexpr int kRounds = 300;
  for (int round = 0; round < kRounds; ++round) {
    // Some rounds without a big one, so that both ways are taken.
    for (int i = 0; i < 8; ++i) {
      const int pieces = round % 3 != 0 && i % 3 == 1 ? 5 : 1;
      const int size = pieces > 1 ? 100 : 0;
      ::setsockopt(from.fd(), SOL_UDP, UDP_SEGMENT, &size, sizeof(size));
      from.send(numbered(pieces));
    }
    while (next + reordered < sent) {
      auto data = to.receive();
      ASSERT_TRUE(data) << "lost after " << next << " of " << sent;
      std::uint32_t number = 0;
      std::memcpy(&number, data->data(), sizeof(number));
      if (number == next + reordered) {
        ++next;
      } else {
        ++reordered;
      }
    }
  }
  EXPECT_EQ(reordered, 0u);
  EXPECT_GT(fast() - fast_before, sent / 10);
  EXPECT_LT(fast() - fast_before, sent);
  // The sender's host has given what is no GSO packet a short way, too.
  EXPECT_GT(fabric_.host(1).totals().sent_fast - sent_fast_before, sent / 10);
}

// What the program takes is what the long way delivers, the same bytes; what it does not take it
// leaves as it is.
TEST_P(ShortWay, DecidesAsTheLongWayDoes) {
  std::mt19937 random(GetParam() == Underlay::v6 ? 6 : 4);
  std::vector<std::pair<std::string, std::string>> taken;
  int left = 0;
  for (int i = 0; i < 900; ++i) {
    // Flows of their own: what one leaves to the device holds up no other.
    const policy::IpAddress source =
        i % 2 ? policy::IpAddress(boost::asio::ip::address_v4(0x0a010000u + random() % 60000))
              : make_address("fd00::" + std::to_string(random() % 9999));
    std::string bytes = packet(i % 3 ? datagram(source) : segment(source, kPsh | kAck));
    for (int changes = static_cast<int>(random() % 3); changes > 0; --changes) {
      bytes[12 + random() % (bytes.size() - 12)] = static_cast<char>(random());
    }
    if (random() % 8 == 0) bytes.resize(60 + random() % 160, 'x');
    const auto [verdict, result] = run_program(bytes);
    if (verdict == TC_ACT_REDIRECT) {
      taken.emplace_back(bytes, result);
      EXPECT_EQ(result, bytes.substr(bytes.size() - result.size()));
    } else {
      ++left;
      EXPECT_EQ(verdict, TC_ACT_UNSPEC);
      EXPECT_EQ(result, bytes);
    }
  }
  EXPECT_GT(taken.size(), 100u);
  EXPECT_GT(left, 100);

  host_.options.fast_receive = false;
  host_.restart();
  host_.apply().value();
  EXPECT_THAT(links(), IsEmpty());
  const std::uint64_t fast_before = fast();
  Sniffer sniffer(two_.inside);
  for (const auto& [bytes, frame] : taken) {
    arrive(bytes);
    ASSERT_TRUE(
        sniffer.next([&, &frame = frame](const std::string& seen) { return seen == frame; }));
  }
  EXPECT_EQ(fast(), fast_before);
}

TEST_P(ShortWay, ProgramTakenAwayByHandIsMendedAndNamed) {
  EXPECT_TRUE(untouched());
  EXPECT_THAT(detached(), IsEmpty());
  const auto pin = directory() / ("underlay-" + std::to_string(ifindex("underlay")));
  {
    UniqueFd link(bpf_obj_get(pin.c_str()));
    ASSERT_EQ(bpf_link_detach(link.get()), 0);  // At once; without a pin the kernel takes a moment.
  }
  EXPECT_FALSE(untouched());
  std::filesystem::remove(pin);
  EXPECT_FALSE(untouched());
  EXPECT_THAT(detached(), SizeIs(1));
  // Everything goes on without it.
  Socket from(one_.inside, false), to(two_.inside, false);
  from.send(two_.v4, to.port(), "the long way");
  EXPECT_EQ(to.receive(), "the long way");
  host_.apply().value();
  EXPECT_THAT(host_.datapath->mended(), Contains(HasSubstr("receives at underlay was missing")));
  EXPECT_TRUE(untouched());
  const std::uint64_t before = fast();
  EXPECT_TRUE(eventually([&] {
    from.send(two_.v4, to.port(), "x");
    return to.receive() && fast() > before;
  }));
}

/// Whether a thread of this process waits for something (proc(5), "stat").
bool waits(pid_t thread) {
  std::ifstream file("/proc/self/task/" + std::to_string(thread) + "/stat");
  const std::string stat{std::istreambuf_iterator<char>(file), {}};
  const auto name_ends = stat.rfind(") ");
  return name_ends != std::string::npos && stat[name_ends + 2] == 'S';
}

// The kernel takes it from its device a moment later, and refuses the next one until then. Here
// that moment lasts until somebody waits for it.
TEST_P(ShortWay, ProgramThatIsUnpinnedIsWaitedForUntilItHasGone) {
  const std::uint32_t underlay = ifindex("underlay");
  const UniqueFd program(bpf_prog_get_fd_by_id(links().at(underlay)));
  const auto pin = directory() / ("underlay-" + std::to_string(underlay));
  UniqueFd going(bpf_obj_get(pin.c_str()));
  ASSERT_TRUE(going);
  std::filesystem::remove(pin);
  std::atomic<pid_t> thread = 0;
  std::atomic<bool> done = false;
  std::thread gone([&] {
    while (!done && (thread == 0 || !waits(thread))) std::this_thread::yield();
    going.reset();
  });
  host_.inside.run([&] {
    thread = ::gettid();
    const auto attached = underlay_hook::attach(directory(), underlay, program.get());
    EXPECT_TRUE(attached) << attached.error().message;
    done = true;
  });
  gone.join();
  EXPECT_TRUE(untouched());
}

TEST_P(ShortWay, FollowsTheAddressToOtherDevices) {
  host_.inside.run([&] {
    create_veth("other", "otherp", host_.inside.fd());
    add_address("other", host_.vtep, v6_ ? 128 : 32);
  });
  EXPECT_FALSE(untouched());
  host_.apply().value();
  EXPECT_THAT(links(), SizeIs(2));
  EXPECT_TRUE(untouched());
  host_.inside.run([&] { delete_device("other").value(); });
  EXPECT_FALSE(untouched());
  host_.apply().value();
  EXPECT_THAT(links(), SizeIs(1));
  EXPECT_TRUE(untouched());
}

// IPsec policies are looked at behind the hook, and must not be got round.
TEST_P(ShortWay, IsNotTakenWhereIpsecGuardsTheUnderlay) {
  const std::string any = v6_ ? "::/0" : "0.0.0.0/0";
  host_.inside.shell("ip xfrm policy add src " + any + " dst " + any + " dir in");
  EXPECT_FALSE(untouched());
  host_.apply().value();
  EXPECT_THAT(links(), IsEmpty());
  EXPECT_TRUE(untouched());
  host_.inside.shell("ip xfrm policy flush");
  host_.apply().value();
  EXPECT_THAT(links(), SizeIs(1));
}

TEST_P(ShortWay, AnotherAgentTakesTheLinkOver) {
  const auto before = links();
  host_.restart();
  host_.apply().value();
  const auto after = links();
  ASSERT_THAT(after, SizeIs(1));
  EXPECT_EQ(after.begin()->first, before.begin()->first);
  EXPECT_NE(after.begin()->second, before.begin()->second);
  EXPECT_THAT(host_.datapath->mended(), IsEmpty());
}

INSTANTIATE_TEST_SUITE_P(Underlays, ShortWay, testing::Values(Underlay::v4, Underlay::v6),
                         [](const auto& info) { return info.param == Underlay::v6 ? "v6" : "v4"; });

}  // namespace
}  // namespace homeport::overlay
