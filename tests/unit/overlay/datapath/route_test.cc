// What is routed: between subnets of a network, and from and to the hosts' own processes.
#include "overlay/datapath/tc_filter.h"
#include "tests/unit/overlay/datapath/fabric.h"
#include "tests/unit/overlay/datapath/frames.h"

#include <gmock/gmock.h>
#include <netinet/in.h>
#include <sys/socket.h>

namespace homeport::overlay {
namespace {

using boost::asio::ip::make_address;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

const BpfFileSystem& bpf() {
  static const BpfFileSystem file_system;
  return file_system;
}

class Routing : public testing::TestWithParam<Fleet> {
 protected:
  /// Every host is a router for its applications, and has an address of each family besides its
  /// VTEP.
  Routing() {
    for (int number = 1; number <= 3; ++number) {
      Host& host = fabric_.host(number);
      host.desired.networks[0].gateways = {gateway4_, gateway6_};
      host.inside.run([&] {
        add_address("lo", host_v4(number), 32);
        add_address("lo", host_v6(number), 128);
      });
      for (int other = 1; other <= 3; ++other) {
        const auto vtep = other == number
                              ? std::nullopt
                              : std::optional<policy::IpAddress>(fabric_.host(other).vtep);
        for (const auto& address : {host_v4(other), host_v6(other), fabric_.host(other).vtep}) {
          host.desired.hosts.push_back({address, vtep});
        }
      }
      App& app = fabric_.app(number);
      app.inside.shell(
          "ip route add default via 10.0.0.254 && ip -6 route add default via fd00::fe");
    }
    fabric_.apply_all();
  }

  void give_access(bool access = true) {
    for (int number = 1; number <= 3; ++number) {
      fabric_.host(number).desired.networks[0].host_access = access;
    }
    fabric_.apply_all();
  }

  static policy::IpAddress host_v4(int number) {
    return make_address("198.51.100." + std::to_string(number));
  }
  static policy::IpAddress host_v6(int number) {
    return make_address("2001:db8:1::" + std::to_string(number));
  }

  /// The app gets another address of each family, which all hosts know: `prior` of another home.
  std::pair<policy::IpAddress, policy::IpAddress> add_prior(App& app) {
    const auto v4 = make_address("203.0.113." + std::to_string(app.number));
    const auto v6 = make_address("2001:db8:77::" + std::to_string(app.number));
    app.inside.run([&] {
      add_address("eth0", v4, 32);
      add_address("eth0", v6, 128);
    });
    for (int number = 1; number <= 3; ++number) {
      auto& ips = fabric_.desired_entry(number, app).ips;
      ips.push_back(v4);
      ips.push_back(v6);
    }
    fabric_.apply_all();
    return {v4, v6};
  }

  /// A datagram there and the answer back, which must come from the address that was asked.
  static void expect_answer(const NetNamespace& from, const NetNamespace& at,
                            const policy::IpAddress& to) {
    Socket server(at, to.is_v6()), client(from, to.is_v6());
    client.connect(to, server.port());
    client.send("to " + to.to_string());
    const auto got = server.receive_from();
    ASSERT_TRUE(got) << to;
    EXPECT_EQ(got->data, "to " + to.to_string());
    // Bound to no address: the answer comes from the one asked only if the socket says so.
    server.send(got->from.address(), got->from.port(), "back", to);
    EXPECT_EQ(client.receive(), "back") << to;
  }

  const policy::IpAddress gateway4_ = make_address("10.0.0.254"),
                          gateway6_ = make_address("fd00::fe");
  Fabric fabric_{bpf(), GetParam()};
  App& one_ = fabric_.app(1);
  App& two_ = fabric_.app(2);
  App& three_ = fabric_.app(3);
};

TEST_P(Routing, RouterAnswersAndIsTheSameEverywhere) {
  // It is nobody's host: what is sent to itself, but for an echo request, is dropped without a
  // word.
  for (int number : {1, 2}) {
    App& app = fabric_.app(number);
    for (const auto& gateway : {gateway4_, gateway6_}) {
      Socket client(app.inside, gateway.is_v6());
      client.send(gateway, 9, "anybody?");
    }
    EXPECT_TRUE(
        eventually([&] { return fabric_.host(number).totals().drop_unknown_address == 2; }));
    app.inside.shell("ip neigh show 10.0.0.254 | grep -q 02:48:50:00:00:01");
    app.inside.shell("ip neigh show fd00::fe | grep -q 02:48:50:00:00:01");
  }
}

TEST_P(Routing, PriorAddressesOfOtherSubnetsAreReached) {
  App& four = fabric_.join(1);
  four.inside.shell("ip route add default via 10.0.0.254 && ip -6 route add default via fd00::fe");
  const auto [v4, v6] = add_prior(two_);
  for (App* sender : {&one_, &three_, &four}) {
    for (const auto& to : {v4, v6}) expect_answer(sender->inside, two_.inside, to);
  }
  EXPECT_GT(fabric_.host(1).totals().routed, 0u);
}

TEST_P(Routing, TakesAHopAndEndsLoops) {
  const auto [v4, v6] = add_prior(two_);
  Sniffer sniffer(two_.inside);
  Socket client(one_.inside, false), client6(one_.inside, true);
  client.send(v4, 9, "four");
  auto got = sniffer.next([](const std::string& frame) { return frame.ends_with("four"); });
  ASSERT_TRUE(got);
  EXPECT_EQ(static_cast<unsigned char>(got->at(22)), 63);
  EXPECT_EQ(internet_checksum(got->substr(14, 20)), 0u);
  client6.send(v6, 9, "six");
  got = sniffer.next([](const std::string& frame) { return frame.ends_with("six"); });
  ASSERT_TRUE(got);
  EXPECT_EQ(static_cast<unsigned char>(got->at(21)), 63);
  const int one = 1;
  ::setsockopt(client.fd(), IPPROTO_IP, IP_TTL, &one, sizeof(one));
  ::setsockopt(client6.fd(), IPPROTO_IPV6, IPV6_UNICAST_HOPS, &one, sizeof(one));
  client.send(v4, 9, "no further");
  client6.send(v6, 9, "no further");
  EXPECT_TRUE(eventually([&] { return fabric_.host(1).totals().drop_expired == 2; }));
}

TEST_P(Routing, SpeaksOnlyForTheSendersOwnAddresses) {
  const auto [v4, v6] = add_prior(two_);
  const auto forged = make_address("203.0.113.99"), forged6 = make_address("2001:db8:77::99");
  one_.inside.run([&] {
    add_address("eth0", forged, 32);
    add_address("eth0", forged6, 128);
  });
  Socket client(one_.inside, false), client6(one_.inside, true);
  client.send(v4, 9, "forged", forged);
  client6.send(v6, 9, "forged", forged6);
  EXPECT_TRUE(eventually([&] { return fabric_.host(1).totals().drop_forged_source == 2; }));
}

TEST_P(Routing, SendersOfTooMuchAreTold) {
  const auto [v4, v6] = add_prior(two_);
  fabric_.set_mtu(one_, 1, kUnderlayMtu);
  for (const auto& to : {v4, v6}) {
    Socket server(two_.inside, to.is_v6()), client(one_.inside, to.is_v6());
    const int always = IP_PMTUDISC_DO;
    static_assert(IP_PMTUDISC_DO == IPV6_PMTUDISC_DO);
    ::setsockopt(client.fd(), to.is_v6() ? IPPROTO_IPV6 : IPPROTO_IP,
                 to.is_v6() ? IPV6_MTU_DISCOVER : IP_MTU_DISCOVER, &always, sizeof(always));
    client.send(to, server.port(), std::string(1440, 'x'));
    EXPECT_TRUE(eventually([&] {
      return one_.inside.succeeds("ip route get " + to.to_string() + " | grep -q 'mtu 1430'");
    })) << to;
    const std::string fits(1430 - (to.is_v6() ? 48 : 28), 'y');
    client.send(to, server.port(), fits);
    EXPECT_EQ(server.receive(), fits) << to;
  }
  EXPECT_EQ(fabric_.host(1).totals().too_big_answers, 2u);
}

TEST_P(Routing, HostsOwnProcessesReachPriorAddressesWhereverTheyAre) {
  const auto [v4, v6] = add_prior(two_);
  give_access();
  // Host 3 has no port of the network at all.
  Host& third = fabric_.host(3);
  third.desired.ports.clear();
  std::erase_if(third.desired.addresses,
                [&](const auto& entry) { return entry.mac == three_.mac; });
  third.apply().value();
  for (int number : {1, 2, 3}) {
    for (const auto& to : {two_.v4, two_.v6, v4, v6}) {
      SCOPED_TRACE("from host " + std::to_string(number));
      expect_answer(fabric_.host(number).inside, two_.inside, to);
    }
  }
}

TEST_P(Routing, ApplicationsReachHosts) {
  give_access();
  for (int number : {1, 2, 3}) {
    for (const auto& to : {host_v4(number), host_v6(number)}) {
      SCOPED_TRACE("to host " + std::to_string(number));
      expect_answer(two_.inside, fabric_.host(number).inside, to);
    }
  }
  give_access(false);
  const std::uint64_t before = fabric_.host(2).totals().drop_unknown_address;
  Socket client(two_.inside, false);
  client.send(host_v4(1), 9, "anybody?");
  EXPECT_TRUE(
      eventually([&] { return fabric_.host(2).totals().drop_unknown_address == before + 1; }));
}

TEST_P(Routing, WhatIsNoApplicationsGoesItsNormalWay) {
  give_access();
  fabric_.host(1).inside.shell(
      "ip route add 192.0.2.0/24 dev underlay 2>/dev/null; ip route add "
      "203.0.113.0/24 dev underlay");
  // An address of the same prefix that is no application's: by the host's own routes.
  fabric_.host(1).inside.shell("ip route get 203.0.113.77 | grep -q 'dev underlay'");
  const auto [v4, v6] = add_prior(two_);
  fabric_.host(1).inside.shell("ip route get " + v4.to_string() + " | grep -q 'dev homeport1'");
  // Without the network's word for it, there is nothing of it on the host.
  give_access(false);
  fabric_.host(1).inside.shell("! ip link show homeport1 2>/dev/null && ! ip rule | grep -q 18544");
  fabric_.host(1).inside.shell("ip route get " + v4.to_string() + " | grep -q 'dev underlay'");
}

TEST_P(Routing, RoutesSurviveTheAgentAndAreMended) {
  const auto [v4, v6] = add_prior(two_);
  give_access();
  Host& host = fabric_.host(1);
  host.datapath.reset();
  expect_answer(host.inside, two_.inside, v4);
  host.restart();
  host.apply().value();
  EXPECT_THAT(host.datapath->mended(), IsEmpty());
  EXPECT_EQ(host.read_back().value(), [&] {
    DesiredState desired = host.desired;
    normalize(desired);
    return desired;
  }());

  host.inside.shell("ip route del 203.0.113.2 table 18544 && ip -6 rule del pref 18544");
  host.apply().value();
  EXPECT_THAT(host.datapath->mended(),
              UnorderedElementsAre("the route to 203.0.113.2 was missing",
                                   "the rule for table 18544 was missing"));
  host.inside.shell("ip link del homeport1");
  host.apply().value();
  EXPECT_THAT(host.datapath->mended(), Contains("the device homeport1 was missing"));
  if (host.kind == Kind::ebpf) {
    host.inside.shell("tc qdisc del dev homeport1 clsact");
  } else {
    host.open_vswitch->vsctl({"del-port", "br-int", "homeport1p"});
  }
  host.apply().value();
  EXPECT_THAT(host.datapath->mended(),
              UnorderedElementsAre(host.kind == Kind::ebpf ? "the filter of homeport1 was missing"
                                                           : "the port homeport1p was missing"));
  host.settle();
  for (const auto& to : {v4, v6}) expect_answer(host.inside, two_.inside, to);
  host.inside.shell("ip link set homeport1 down");  // which takes its routes along
  host.apply().value();
  EXPECT_THAT(host.datapath->mended(), Contains("the device homeport1 was down"));
  host.inside.shell("ip link set homeport1p down");
  host.apply().value();
  EXPECT_THAT(host.datapath->mended(), ElementsAre("the device homeport1p was down"));
  host.inside.shell("ip link set homeport1 address 02:00:00:00:00:aa");
  host.apply().value();
  EXPECT_THAT(host.datapath->mended(), ElementsAre("the MAC address of homeport1 was another"));
  host.inside.shell(
      "ip route add blackhole 203.0.113.0/24 table 18544 && "
      "ip route add 198.51.100.0/24 dev homeport1 table 18544 && "
      "ip -6 route add unreachable default table 18544");
  host.apply().value();
  EXPECT_THAT(host.datapath->mended(),
              UnorderedElementsAre("a route to 203.0.113.0/24 was in table 18544",
                                   "a route to 198.51.100.0/24 was in table 18544",
                                   "a route to default was in table 18544"));
  host.apply().value();
  EXPECT_THAT(host.datapath->mended(), IsEmpty());
  host.settle();
  for (const auto& to : {v4, v6}) expect_answer(host.inside, two_.inside, to);
}

/// update() leaves in the kernel what apply() of the new state would, routes included.
TEST_P(Routing, ApplicationThatComesElsewhereIsReachedAtOnce) {
  give_access();
  Host& host = fabric_.host(1);
  auto update = [&](const StateChange& change) {
    return host.inside.run([&] { return host.datapath->update(change).value(); });
  };
  EXPECT_TRUE(host.untouched());
  const auto [v4, v6] = add_prior(two_);  // by apply()
  const AddressEntry with = fabric_.desired_entry(1, two_);
  AddressEntry without = with;
  std::erase_if(without.ips,
                [&, v4 = v4, v6 = v6](const auto& ip) { return ip == v4 || ip == v6; });
  for (const auto& [before, now] : {std::pair{with, without}, std::pair{without, with}}) {
    fabric_.desired_entry(1, two_) = now;
    ASSERT_TRUE(update({{before}, {now}, {}}));
    EXPECT_TRUE(host.untouched());
    DesiredState wanted = host.desired;
    normalize(wanted);
    EXPECT_EQ(host.read_back().value(), wanted);
    for (const auto& ip : {v4, v6}) {
      EXPECT_EQ(host.inside.succeeds("ip route get " + ip.to_string() + " | grep -q homeport1"),
                now == with)
          << ip;
    }
    host.apply().value();
    EXPECT_THAT(host.datapath->mended(), IsEmpty());
  }
  for (const auto& to : {v4, v6}) expect_answer(host.inside, two_.inside, to);

  std::vector<std::string> deeds = {"ip route del 203.0.113.2 table 18544",
                                    "ip route add blackhole 198.51.100.0/24 table 18544",
                                    "ip -6 rule del pref 18544",
                                    "ip link set homeport1p down",
                                    "ip link set homeport1 address 02:00:00:00:00:aa",
                                    "ip link del homeport1"};
  if (host.kind == Kind::ebpf) deeds.emplace_back("tc qdisc del dev homeport1 clsact");
  for (const std::string& deed : deeds) {
    host.inside.shell(deed);
    EXPECT_FALSE(host.untouched()) << deed;
    host.apply().value();
    EXPECT_TRUE(host.untouched()) << deed;
  }
}

TEST_P(Routing, AMovedApplicationIsStillReachedByHosts) {
  give_access();
  App& destination = fabric_.app(3);
  // Application 2 goes to host 3, where its device is another's inner end: told by host 2 alone.
  const Port held = fabric_.held_port(two_, 3);
  fabric_.host(3).desired.ports.push_back(held);
  fabric_.host(3).apply().value();
  UniqueFd guest = fabric_.host(3).inside.run([&] { return open_tap_queue(held.device).value(); });
  fabric_.host(2).set_address(fabric_.left(two_, 2, 3)).value();
  for (int number : {1, 2, 3}) {
    Socket client(fabric_.host(number).inside, false);
    client.send(two_.v4, 9, "late");
  }
  EXPECT_TRUE(eventually([&] { return fabric_.host(3).totals().delivered_held == 3; }));
  EXPECT_EQ(fabric_.host(3).port(destination).delivered_packets, 0u);
}

TEST_P(Routing, AHostsOwnAddressStaysItsOwn) {
  for (int number = 1; number <= 3; ++number) {
    fabric_.desired_entry(number, two_).ips.push_back(host_v4(1));
    fabric_.host(number).desired.networks[0].host_access = true;
  }
  const auto applied = fabric_.host(2).apply();
  ASSERT_FALSE(applied);
  EXPECT_THAT(applied.error().message, HasSubstr("198.51.100.1 in the network 42 is a host's own"));
  fabric_.host(2).inside.shell("! ip route show table 18544 | grep -q 198.51.100.1");
}

// What a trace says is what the kernel does.
TEST_P(Routing, ATraceOfAHostsOwnProcessesKnowsItsAddressesAndTheMtuOfItsRoute) {
  give_access();
  Host& host = fabric_.host(1);
  TracedPacket packet{
      .source_mac = {}, .destination_mac = {}, .source = host_v4(1), .destination = two_.v4};
  packet.length = tunnel_mtu(kUnderlayMtu);
  auto traced = [&] {
    return host.inside.run([&] { return host.datapath->trace(FromHost{}, packet); });
  };
  EXPECT_EQ(traced().value().found.end, TraceEnd::sent);

  packet.length += 1;
  const Trace told = traced().value().found;
  EXPECT_EQ(told.end, TraceEnd::answered);
  EXPECT_THAT(told.steps, Contains(testing::Field(&TraceStep::step, "size")));
  Socket from(host.inside, false), at(two_.inside, false);
  const int refuse = IP_PMTUDISC_DO, cut = IP_PMTUDISC_DONT;
  ::setsockopt(from.fd(), IPPROTO_IP, IP_MTU_DISCOVER, &refuse, sizeof(refuse));
  const std::string data(packet.length - 28, 'x');
  EXPECT_THROW(from.send(two_.v4, at.port(), data, host_v4(1)), std::system_error);
  from.send(two_.v4, at.port(), data.substr(1), host_v4(1));
  EXPECT_EQ(at.receive(), data.substr(1));

  packet.dont_fragment = false;
  EXPECT_EQ(traced().value().found.end, TraceEnd::sent);
  EXPECT_THAT(traced().value().found.steps, Contains(testing::Field(&TraceStep::step, "size")));
  ::setsockopt(from.fd(), IPPROTO_IP, IP_MTU_DISCOVER, &cut, sizeof(cut));
  from.send(two_.v4, at.port(), data, host_v4(1));
  EXPECT_EQ(at.receive(), data);

  packet.source = host_v4(2);
  EXPECT_THAT(traced().error().message,
              HasSubstr(host_v4(2).to_string() + " is no address of this host"));
}

INSTANTIATE_TEST_SUITE_P(Fleets, Routing, testing::ValuesIn(fleets()), fleet_name);

}  // namespace
}  // namespace homeport::overlay
