// What a trace tells is what the programs do: random packets, given to both. Packets of ports and
// of the host by BPF_PROG_TEST_RUN, those of the tunnel, which it cannot give a tunnel key, over
// UDP.
#include "overlay/datapath/ebpf/layout.h"
#include "overlay/datapath/tc_filter.h"
#include "tests/unit/overlay/datapath/fabric.h"
#include "tests/unit/overlay/datapath/frames.h"

#include <bpf/bpf.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <net/if.h>
#include <sys/socket.h>

#include <random>

namespace homeport::overlay {
namespace {

using boost::asio::ip::make_address;
using testing::HasSubstr;

const BpfFileSystem& bpf() {
  static const BpfFileSystem file_system;
  return file_system;
}

TraceCounts as_counts(const TotalCounters& totals) {
  TraceCounts counts;
  for (const auto& [name, value] : {
#define X(name) std::pair{#name, totals.name},
           HP_COUNTERS(X)
#undef X
       }) {
    counts[name] = value;
  }
  counts.erase("sent_fast");  // Of both ways out a trace tells the same.
  return counts;
}

TraceCounts difference(const TraceCounts& before, const TraceCounts& after) {
  TraceCounts difference;
  for (const auto& [name, value] : after) {
    if (value != before.at(name)) difference[name] = value - before.at(name);
  }
  return difference;
}

/// What one such packet is counted as.
TraceCounts of_total(const Trace& told) {
  TraceCounts counts;
  for (const std::string& counter : told.counters) ++counts[counter];
  return counts;
}

TraceCounts expected_counts(const Trace& told) {
  TraceCounts counts = of_total(told);
  counts["packets"] = 1;
  switch (told.end) {
    case TraceEnd::delivered:
    case TraceEnd::stack:
      counts["delivered"] = 1;
      break;
    case TraceEnd::sent:
      counts["sent"] = 1;
      break;
    case TraceEnd::copied:
      counts["copied"] = 1;
      break;
    case TraceEnd::normal:
      counts["normal"] = 1;
      break;
    case TraceEnd::answered:
    case TraceEnd::dropped:
      break;
  }
  return counts;
}

int expected_verdict(TraceEnd end) {
  switch (end) {
    case TraceEnd::dropped:
      return TC_ACT_SHOT;
    case TraceEnd::normal:
      return TC_ACT_OK;
    case TraceEnd::copied:
      return TC_ACT_STOLEN;
    default:
      return TC_ACT_REDIRECT;
  }
}

std::string frame_of(const TracedPacket& packet) {
  std::string frame =
      transport_frame(packet.destination_mac, packet.source_mac, packet.source, packet.destination,
                      packet.protocol, packet.length + 14, packet.dont_fragment);
  const bool v6 = packet.destination.is_v6();
  frame[14 + (v6 ? 7 : 8)] = static_cast<char>(packet.hops);
  if (packet.protocol == 1 || packet.protocol == 58) {
    frame[14 + (v6 ? 40 : 20)] = static_cast<char>(v6 ? 128 : 8);
    frame[15 + (v6 ? 40 : 20)] = 0;
  }
  return v6 ? frame : with_header_checksum(frame);
}

/// To have packets counted takes longer than to have them carried.
constexpr int kCountedOneIn = 15;

class TraceOfPrograms : public testing::TestWithParam<Underlay> {
 protected:
  /// Host 1 has two applications, has sent one away, and waits for one of host 3.
  TraceOfPrograms() {
    host_.inside.run([&] {
      add_address("lo", make_address("198.51.100.1"), 32);
      add_address("lo", make_address("2001:db8:1::1"), 128);
      add_address("underlay", stranger(1), GetParam() == Underlay::v6 ? 64 : 24);
    });
    fabric_.host(2).inside.run(
        [&] { add_address("underlay", stranger(2), GetParam() == Underlay::v6 ? 64 : 24); });
    host_.desired.hosts = {{make_address("198.51.100.1"), std::nullopt},
                           {make_address("2001:db8:1::1"), std::nullopt},
                           {make_address("198.51.100.2"), fabric_.host(2).vtep},
                           {make_address("2001:db8:1::2"), fabric_.host(2).vtep}};
    for (const char* prior : {"203.0.113.3", "2001:db8:77::3"}) {
      fabric_.desired_entry(1, local_).ips.push_back(make_address(prior));
    }
    fabric_.desired_entry(1, gone_).location = RemoteHost{fabric_.host(2).vtep};
    fabric_.desired_entry(1, gone_).relayed = true;
    host_.desired.ports.push_back(fabric_.held_port(fabric_.app(3), 1));
  }

  /// No application answers: what is counted is the test's own.
  void silence() {
    for (int number = 1; number <= 5; ++number) {
      fabric_.app(number).inside.shell(
          "tc filter add dev eth0 ingress bpf da bytecode '1,6 0 0 2'");
    }
  }

  policy::IpAddress stranger(int number) const {
    return make_address((GetParam() == Underlay::v6 ? "2001:db8::" : "192.0.2.") +
                        std::to_string(90 + number));
  }

  /// Host 3 relays what host 1 sends to host 2, and host 1 what those two send each other.
  void relay() {
    const auto &two = fabric_.host(2).vtep, &three = fabric_.host(3).vtep;
    host_.desired.paths = {
        {two, policy::TrafficClass::best_effort, host_.vtep, three, true, {{kVni, kFirstLabel}}},
        {three, policy::TrafficClass::best_effort, host_.vtep, two, true, {}}};
    host_.desired.relays = {{kFirstLabel, two, three, kVni}, {kLastLabel, three, two, kVni}};
  }

  template <class List>
  const auto& any(const List& list) {
    return list[std::uniform_int_distribution<std::size_t>(0, list.size() - 1)(random_)];
  }

  void set_network(std::uint32_t mtu, bool normal, bool access) {
    NetworkEntry& network = host_.desired.networks[0];
    network.gateways = {make_address("10.0.0.254"), make_address("fd00::fe")};
    network.mtu = mtu;
    network.normal = normal;
    network.host_access = access;
    host_.apply().value();
  }

  TracedPacket any_packet() {
    static const std::vector<policy::IpAddress> ipv4 = [] {
      std::vector<policy::IpAddress> all;
      for (const char* text :
           {"10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "203.0.113.3", "10.0.0.254",
            "198.51.100.1", "198.51.100.2", "192.0.2.200", "224.0.0.251"}) {
        all.push_back(make_address(text));
      }
      return all;
    }();
    static const std::vector<policy::IpAddress> ipv6 = [] {
      std::vector<policy::IpAddress> all;
      for (const char* text :
           {"fd00::1", "fd00::2", "fd00::3", "fd00::4", "fd00::5", "2001:db8:77::3", "fd00::fe",
            "2001:db8:1::1", "2001:db8:1::2", "2001:db8:1::99", "ff02::fb"}) {
        all.push_back(make_address(text));
      }
      return all;
    }();
    const auto& addresses = any(std::vector<int>{4, 6}) == 4 ? ipv4 : ipv6;
    const auto mac = [](std::uint8_t last) { return policy::MacAddress{{2, 0, 0, 0, 0, last}}; };
    TracedPacket packet;
    packet.source_mac =
        any(std::vector{mac(1), mac(1), mac(1), mac(2), mac(3), kRouterMac, mac(99)});
    packet.destination_mac =
        any(std::vector{mac(1), mac(2), mac(3), mac(4), mac(5), mac(99), kRouterMac, kRouterMac,
                        kRouterMac, policy::MacAddress{{1, 0, 0x5e, 0, 0, 0xfb}}, kBroadcast});
    packet.source = any(std::vector<int>{0, 0, 1}) == 0 ? addresses[0] : any(addresses);
    packet.destination = any(addresses);
    const bool v6 = packet.destination.is_v6();
    packet.protocol = any(std::vector<std::uint8_t>{6, 17, static_cast<std::uint8_t>(v6 ? 58 : 1)});
    packet.length = any(std::vector<std::uint32_t>{100, 1200, 1201, 1280, 1281, 1430, 1431, 1500});
    packet.hops = any(std::vector<std::uint32_t>{64, 64, 2, 1});
    packet.dont_fragment = any(std::vector<int>{0, 1}) == 1;
    return packet;
  }

  int run(std::uint32_t program_id, unsigned ifindex, const std::string& frame) {
    UniqueFd program(bpf_prog_get_fd_by_id(program_id));
    __sk_buff context{};
    context.ifindex = ifindex;
    std::vector<char> out(4096);
    bpf_test_run_opts options{};
    options.sz = sizeof(options);
    options.data_in = frame.data();
    options.data_size_in = static_cast<std::uint32_t>(frame.size());
    options.data_out = out.data();
    options.data_size_out = static_cast<std::uint32_t>(out.size());
    options.ctx_in = &context;
    options.ctx_size_in = sizeof(context);
    EXPECT_EQ(bpf_prog_test_run_opts(program.get(), &options), 0);
    return static_cast<int>(options.retval);
  }

  /// By the filter, or by what counts in front of it, which says "dropped" for "done with".
  void run_at(const std::string& device, tc_filter::Hook hook, const std::string& frame,
              const Trace& told, bool counted) {
    const unsigned ifindex = ::if_nametoindex(device.c_str());
    std::uint32_t program = tc_filter::program_id(ifindex, hook).value();
    int verdict = expected_verdict(told.end);
    if (counted) {
      std::uint32_t count = 1;
      const auto tcx = static_cast<bpf_attach_type>(hook == tc_filter::Hook::ingress ? 46 : 47);
      ASSERT_EQ(bpf_prog_query(static_cast<int>(ifindex), tcx, 0, nullptr, &program, &count), 0);
      if (told.end == TraceEnd::copied) verdict = TC_ACT_SHOT;
    }
    EXPECT_EQ(run(program, ifindex, frame), verdict);
  }

  static std::string text(const TracedPacket& packet, const Trace& told) {
    std::string text =
        fmt::format("{} > {}, {} > {}, protocol {}, {} bytes, {} hops, df {}",
                    packet.source_mac.to_string(), packet.destination_mac.to_string(),
                    packet.source.to_string(), packet.destination.to_string(), packet.protocol,
                    packet.length, packet.hops, packet.dont_fragment);
    for (const TraceStep& step : told.steps) {
      text += fmt::format("\n  {}: {}: {}", step.step, step.entry, step.found);
    }
    return text;
  }

  std::map<std::string, std::uint64_t> delivered() {
    std::map<std::string, std::uint64_t> delivered;
    for (const Port& port : host_.desired.ports) {
      delivered[port.device] = host_.datapath->counters(port.device).value().delivered_packets;
    }
    return delivered;
  }

  /// Gives the packet to both. `send` has the program see it once: the filter, or what counts in
  /// front of it.
  void compare(const TraceOrigin& origin, const TracedPacket& packet, bool counted,
               const std::function<void(const Trace&)>& send) {
    const TraceAnswer answer = host_.datapath->trace(origin, packet).value();
    const Trace& told = answer.found;
    EXPECT_FALSE(answer.left);
    SCOPED_TRACE(text(packet, told));
    std::unique_ptr<TraceCounter> counter;
    if (counted) counter = host_.datapath->count(origin, packet).value();
    const TraceCounts before = as_counts(host_.totals());
    TraceCounts total = of_total(told);
    auto ports = delivered();
    for (const TraceCopy& copy : told.copies) {
      if (!copy.device.empty()) ++ports[copy.device];
    }
    send(told);
    EXPECT_TRUE(eventually([&] {
      return difference(before, as_counts(host_.totals())) == total && delivered() == ports;
    })) << testing::PrintToString(difference(before, as_counts(host_.totals())))
        << testing::PrintToString(delivered()) << testing::PrintToString(ports);
    if (counter) {
      EXPECT_EQ(counter->counts(), expected_counts(told));
    }
    ++ends_[told.end];
    for (const std::string& name : told.counters) ++counted_[name];
  }

  Fabric fabric_{bpf(), 3, GetParam()};
  Host& host_ = fabric_.host(1);
  App& one_ = fabric_.app(1);
  App& local_ = fabric_.join(1);
  App& gone_ = fabric_.join(1);
  std::mt19937 random_{4};
  std::map<TraceEnd, int> ends_;
  std::map<std::string, int> counted_;
};

TEST_P(TraceOfPrograms, OfAPort) {
  silence();
  relay();
  for (const auto& [mtu, normal, access] : {std::tuple(1430u, false, false),
                                            {1430u, false, true},
                                            {1200u, true, false},
                                            {1430u, true, true},
                                            {1200u, false, true}}) {
    set_network(mtu, normal, access);
    host_.inside.run([&] {
      for (int i = 0; i < 300 && !HasFailure(); ++i) {
        const TracedPacket packet = any_packet();
        const bool counted = i % kCountedOneIn == 0;
        compare(FromPort{one_.device}, packet, counted, [&](const Trace& told) {
          run_at(one_.device, tc_filter::Hook::ingress, frame_of(packet), told, counted);
        });
      }
    });
  }
  EXPECT_EQ(ends_.size(), 7u);
  for (const char* reason : {"drop_forged_source", "drop_unknown_address", "drop_expired",
                             "too_big_answers", "neighbor_answers", "routed", "multicast"}) {
    EXPECT_GT(counted_[reason], 0) << reason;
  }
  EXPECT_GT(counted_[GetParam() == Underlay::v6 ? "drop_too_big" : "fragmented"], 0);
}

TEST_P(TraceOfPrograms, OfTheHostsOwnProcesses) {
  set_network(1430, false, true);
  host_.inside.run([&] {
    for (int i = 0; i < 200 && !HasFailure(); ++i) {
      TracedPacket packet = any_packet();
      packet.source = make_address(packet.destination.is_v6() ? "2001:db8:1::1" : "198.51.100.1");
      const Trace told = host_.datapath->trace(FromHost{}, packet).value().found;
      if (told.end == TraceEnd::normal || packet.length > 1430) {
        ++ends_[told.end];
        continue;  // The program never sees it, or sees its fragments.
      }
      const bool counted = i % kCountedOneIn == 0;
      compare(FromHost{}, packet, counted, [&](const Trace& trace) {
        run_at(host_.options.host_device, tc_filter::Hook::egress, frame_of(packet), trace,
               counted);
      });
    }
  });
  EXPECT_EQ(ends_.size(), 4u);
}

/// VXLAN (RFC 7348) over UDP.
void send_through_tunnel(const Host& from, const policy::IpAddress& source,
                         const policy::IpAddress& to, std::uint32_t vni, const std::string& frame) {
  from.inside.run([&] {
    UniqueFd fd(::socket(to.is_v6() ? AF_INET6 : AF_INET, SOCK_DGRAM, 0));
    const boost::asio::ip::udp::endpoint own(source, 0), peer(to, kUdpPort);
    ASSERT_EQ(::bind(fd.get(), own.data(), static_cast<socklen_t>(own.size())), 0);
    const std::string packet = std::string("\x08\0\0\0", 4) + static_cast<char>(vni >> 16) +
                               be16(vni & 0xffff) + std::string(1, '\0') + frame;
    ASSERT_EQ(::sendto(fd.get(), packet.data(), packet.size(), 0, peer.data(),
                       static_cast<socklen_t>(peer.size())),
              static_cast<ssize_t>(packet.size()));
  });
}

TEST_P(TraceOfPrograms, OfTheTunnel) {
  silence();
  relay();
  for (const bool access : {false, true}) {
    set_network(1430, false, access);
    for (int i = 0; i < 300 && !HasFailure(); ++i) {
      TracedPacket packet = any_packet();
      packet.length = 100;
      const int number = any(std::vector<int>{2, 3});
      FromTunnel origin;
      origin.vtep = any(std::vector<int>{1, 1, 1, 1, 0}) ? fabric_.host(number).vtep : stranger(2);
      origin.vni =
          any(std::vector<policy::Vni>{kVni, kVni, kVni, kVni + 1, kFirstLabel, kLastLabel});
      origin.marked = any(std::vector<int>{0, 1}) == 1;
      const Host& sender = fabric_.host(origin.vtep == stranger(2) ? 2 : number);
      host_.inside.run([&] {
        compare(origin, packet, i % kCountedOneIn == 0, [&](const Trace&) {
          send_through_tunnel(sender, origin.vtep, host_.vtep,
                              origin.vni | (origin.marked ? policy::kVniForwardedBit : 0),
                              frame_of(packet));
        });
      });
    }
  }
  for (const char* reason :
       {"drop_forged_source", "drop_unknown_address", "drop_unknown_vtep", "drop_unknown_network",
        "drop_forwarded_twice", "drop_elsewhere", "delivered_held", "forwarded", "routed",
        "multicast", "relayed", "drop_unknown_label"}) {
    EXPECT_GT(counted_[reason], 0) << reason;
  }
}

// What an operator's hand has taken away is seen, and what should be there.
TEST_P(TraceOfPrograms, SeesWhatSomebodyHasDeleted) {
  set_network(1430, false, false);
  TracedPacket packet;
  packet.source_mac = one_.mac;
  packet.source = one_.v4;
  packet.destination = fabric_.app(2).v4;
  packet.length = 100;
  const FromPort origin{one_.device, packet.destination};
  auto trace = [&] {
    return host_.inside.run([&] { return host_.datapath->trace(origin, packet).value(); });
  };
  EXPECT_EQ(trace().found.end, TraceEnd::sent);
  EXPECT_FALSE(trace().left);
  const std::string pinned = fmt::format("{}/layout-{}/hp_addresses",
                                         host_.options.pin_directory.string(), HP_LAYOUT_VERSION);
  UniqueFd addresses(bpf_obj_get(pinned.c_str()));
  hp_address_key key{kVni, {2, 0, 0, 0, 0, 2}, {}};
  ASSERT_EQ(bpf_map_delete_elem(addresses.get(), &key), 0);
  const TraceAnswer deleted = trace();
  EXPECT_EQ(deleted.found.counters, std::vector<std::string>{"drop_unknown_address"});
  ASSERT_TRUE(deleted.left);
  EXPECT_EQ(deleted.left->end, TraceEnd::sent);
  host_.apply().value();
  EXPECT_EQ(trace().found.end, TraceEnd::sent);
  host_.inside.run([&] { tc_filter::detach(::if_nametoindex(one_.device.c_str())).value(); });
  EXPECT_EQ(trace().found.end, TraceEnd::normal);
  ASSERT_TRUE(trace().left);
  EXPECT_EQ(trace().left->end, TraceEnd::sent);
}

// Real traffic, of which only that of the trace is counted, and no more once nobody asks.
TEST_P(TraceOfPrograms, CountsWhatPasses) {
  App& two = fabric_.app(2);
  Socket from(one_.inside, false), to(two.inside, false);
  TracedPacket packet;
  packet.source = one_.v4;
  packet.destination = two.v4;
  auto counter_at = [&](int number, const TraceOrigin& origin) {
    Host& host = fabric_.host(number);
    return host.inside.run([&] { return host.datapath->count(origin, packet).value(); });
  };
  const auto out = counter_at(1, FromPort{one_.device});
  const auto in = counter_at(2, FromTunnel{host_.vtep, kVni});
  const auto other_port = counter_at(1, FromPort{local_.device});
  for (int i = 0; i < 3; ++i) {
    from.send(two.v4, to.port(), "x");
    EXPECT_TRUE(to.receive());
    to.send(one_.v4, from.port(), "y");
    EXPECT_TRUE(from.receive());
  }
  EXPECT_EQ(out->counts(), (TraceCounts{{"packets", 3}, {"sent", 3}}));
  EXPECT_EQ(in->counts(), (TraceCounts{{"packets", 3}, {"delivered", 3}}));
  EXPECT_EQ(other_port->counts(), TraceCounts{});
}

// Who begins later counts from then on, and nothing is left at the device in the end.
TEST_P(TraceOfPrograms, IsCountedForSeveralAtATime) {
  set_network(1430, false, false);
  const unsigned ifindex = host_.inside.run([&] { return ::if_nametoindex(one_.device.c_str()); });
  auto attached = [&] {
    return host_.inside.run([&] {
      std::uint32_t programs[4] = {}, count = 4;
      EXPECT_EQ(bpf_prog_query(static_cast<int>(ifindex), static_cast<bpf_attach_type>(46), 0,
                               nullptr, programs, &count),
                0);
      return count;
    });
  };
  TracedPacket packet;
  packet.source_mac = one_.mac;
  packet.destination_mac = fabric_.app(2).mac;
  packet.source = one_.v6;
  packet.destination = fabric_.app(2).v6;
  packet.length = 100;
  auto begin = [&] {
    return host_.inside.run(
        [&] { return host_.datapath->count(FromPort{one_.device}, packet).value(); });
  };
  auto first = begin();
  send_frame(one_, frame_of(packet));
  auto second = begin();
  EXPECT_EQ(attached(), 1u);
  send_frame(one_, frame_of(packet));
  EXPECT_EQ(first->counts(), (TraceCounts{{"packets", 2}, {"sent", 2}}));
  EXPECT_EQ(second->counts(), (TraceCounts{{"packets", 1}, {"sent", 1}}));
  first.reset();
  send_frame(one_, frame_of(packet));
  EXPECT_EQ(second->counts(), (TraceCounts{{"packets", 2}, {"sent", 2}}));
  second.reset();
  EXPECT_EQ(attached(), 0u);
}

TEST_P(TraceOfPrograms, CannotBeCountedAtADeviceThatIsNotThere) {
  TracedPacket packet;
  packet.source = one_.v4;
  packet.destination = one_.v4;
  auto counter = host_.inside.run([&] { return host_.datapath->count(FromPort{"tap9"}, packet); });
  ASSERT_FALSE(counter);
  EXPECT_THAT(counter.error().message, HasSubstr("tap9"));
}

INSTANTIATE_TEST_SUITE_P(Underlays, TraceOfPrograms, testing::Values(Underlay::v4, Underlay::v6),
                         [](const auto& info) { return info.param == Underlay::v4 ? "v4" : "v6"; });

}  // namespace
}  // namespace homeport::overlay
