// What the virtual network is to applications, through real agents: DHCP, router advertisements and
// multicast between its members, a router to its other subnets, and a normal way for all else.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "tests/lab/fleet.h"
#include "tests/lab/wait.h"

namespace homeport::lab {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

class VirtualNetwork : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    fleet_ = std::make_unique<Fleet>(FleetOptions{.name = "network", .containers = true});
  }
  static void TearDownTestSuite() { fleet_.reset(); }

  void TearDown() override {
    fleet_->wait_settled(fleet_->wait_somewhere());
    EXPECT_THAT(fleet_->lab().complaints({}), IsEmpty());
  }

  static const Namespace& client() { return fleet_->lab().client(); }
  /// The namespace of the container on the host where the application is.
  static const Namespace& container() {
    return *fleet_->containers().at(&fleet_->wait_somewhere() == &fleet_->a() ? 0 : 1);
  }
  static void move() {
    const MoveOutcome outcome = fleet_->move(fleet_->other_than(fleet_->wait_somewhere()));
    ASSERT_EQ(outcome.status, 0) << outcome.err;
  }

  static std::string write(const std::string& name, const std::string& text) {
    const auto file = fleet_->lab().directory() / name;
    std::ofstream(file) << text;
    std::filesystem::permissions(file, std::filesystem::perms::owner_all);
    return file.string();
  }

  static void change(const std::string& table, const std::string& where, const std::string& row) {
    run_checked({"ovsdb-client", "transact", fleet_->lab().database().local_remote(),
                 R"(["Homeport",{"op":"update","table":")" + table + R"(","where":[)" + where +
                     R"(],"row":)" + row + "}]"});
  }

  static bool pings(const Namespace& from, const std::string& address) {
    const std::string version = address.find(':') == std::string::npos ? "ping" : "ping6";
    return run_command({"busybox", version, "-c", "1", "-W", "1", address}, {.inside = &from})
               .status == 0;
  }
  static void wait_pings(const Namespace& from, const std::string& address) {
    wait_until([&] { return pings(from, address); }, 10s, address + " to answer");
  }

  static std::unique_ptr<Fleet> fleet_;
};

std::unique_ptr<Fleet> VirtualNetwork::fleet_;

TEST_F(VirtualNetwork, DhcpServerIsFoundWhereverItMoves) {
  const std::string script = write("lease.sh", "#!/bin/sh\n[ \"$1\" = bound ] && echo got $ip\n");
  for (int round = 0; round < 2; ++round) {
    SCOPED_TRACE(round);
    const std::string leases = write("leases", "");
    const std::string configuration = write(
        "udhcpd.conf", "interface eth0\nstart 10.1.0.2\nend 10.1.0.2\nmax_leases 1\nlease_file " +
                           leases + "\noption subnet 255.255.255.0\noption lease 60\n");
    Process server({"busybox", "udhcpd", "-f", "-I", "10.1.0.5", configuration},
                   {.inside = &container(), .log = fleet_->lab().directory() / "udhcpd.log"});
    wait_until(
        [&] {
          return run_command({"busybox", "udhcpc", "-i", "eth0", "-n", "-q", "-f", "-t", "2", "-T",
                              "1", "-s", script},
                             {.inside = &client()})
                     .out.find("got 10.1.0.2") != std::string::npos;
        },
        20s, "a lease", [&] { return server.log_tail(); });
    server.kill();
    move();
  }
}

TEST_F(VirtualNetwork, RouterAdvertisementsReachItsMembersOnly) {
  // An application of the network may be a router of it: prefix 2001:db8:5::/64, to all nodes.
  const std::string advertise = write("advertise.py", R"(
import socket, struct
s = socket.socket(socket.AF_INET6, socket.SOCK_RAW, 58)
s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
prefix = struct.pack("!BBBBIII", 3, 4, 64, 0xc0, 3600, 3600, 0) + socket.inet_pton(
    socket.AF_INET6, "2001:db8:5::")
message = struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 0, 0, 0) + prefix
s.sendto(message, ("ff02::1", 0, 0, socket.if_nametoindex("eth0")))
)");
  client().set_sysctl("net/ipv6/conf/eth0/accept_ra", "2");
  client().set_sysctl("net/ipv6/conf/eth0/autoconf", "1");
  for (int round = 0; round < 2; ++round) {
    const Namespace& router = container();
    wait_until(
        [&] {
          run_checked({"python3", advertise}, {.inside = &router});
          return client().ip("-6 addr show dev eth0").find("2001:db8:5:") != std::string::npos;
        },
        20s, "an address of the advertised prefix");
    // The underlay saw nothing of it.
    EXPECT_EQ(fleet_->c().inside().ip("-6 addr show dev eth0").find("2001:db8:5:"),
              std::string::npos);
    client().ip("-6 addr flush dev eth0 scope global dynamic");
    move();
  }
}

TEST_F(VirtualNetwork, MulticastReachesAMemberBeforeAndAfterItMoves) {
  const std::string listen = write("listen.py", R"(
import socket, struct, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("", 7000))
s.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP,
             socket.inet_aton("239.1.1.1") + socket.inet_aton("10.1.0.5"))
t = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
t.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
t.bind(("::", 7000))
t.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, socket.inet_pton(socket.AF_INET6,
             "ff05::1:3") + struct.pack("@I", socket.if_nametoindex("eth0")))
print("ready", flush=True)
for each in (s, t):
    print("heard", each.recvfrom(100)[0].decode(), flush=True)
)");
  const std::string speak = write("speak.py", R"(
import socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("10.1.0.2"))
t = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
t.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, socket.if_nametoindex("eth0"))
t.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 2)
s.sendto(b"four", ("239.1.1.1", 7000))
t.sendto(b"six", ("ff05::1:3", 7000))
)");
  for (int round = 0; round < 2; ++round) {
    Process listener({"python3", listen},
                     {.inside = &container(),
                      .log = fleet_->lab().directory() / ("listen" + std::to_string(round))});
    listener.wait_for_log("ready", 10s);
    run_checked({"python3", speak}, {.inside = &client()});
    listener.wait_for_log("heard four", 5s);
    listener.wait_for_log("heard six", 5s);
    EXPECT_EQ(listener.wait(5s), 0);
    move();
  }
}

TEST_F(VirtualNetwork, AnAddressFromAnEarlierHomeIsRoutedTo) {
  change("Network", R"(["name","==","net1"])", R"({"subnets":["set",[]]})");
  change("Binding", R"(["application","==","vm1"])",
         R"({"prior_addresses":["set",["10.1.0.5","fd01::5","10.7.0.5","fd07::5"]]})");
  for (const Namespace* each : fleet_->containers()) {
    each->ip("addr replace 10.7.0.5/32 dev eth0");
    each->ip("addr replace fd07::5/128 dev eth0 nodad");
    each->ip("route replace default via 10.1.0.254");
    each->ip("-6 route replace default via fd01::fe");
  }
  client().ip("route replace default via 10.1.0.254");
  client().ip("-6 route replace default via fd01::fe");
  for (int round = 0; round < 2; ++round) {
    wait_pings(client(), "10.7.0.5");
    wait_pings(client(), "fd07::5");
    wait_pings(client(), "10.1.0.254");
    wait_pings(container(), "10.1.0.2");
    move();
  }
  // And an address that nobody has is nowhere.
  EXPECT_FALSE(pings(client(), "10.9.9.9"));
}

TEST_F(VirtualNetwork, WhatIsForNoApplicationGoesItsNormalWay) {
  // A bridge of the host with the client's port and a machine that is no application.
  Host& host = fleet_->c();
  const Namespace outside(client().name() + "-out");
  const Link link(outside, "eth0", host.inside(), "out0", LinkOptions{.rate_mbit = 0, .mtu = 1430});
  outside.ip("addr add 10.1.0.200/24 dev eth0");
  host.inside().ip("link add br0 type bridge");
  host.inside().ip("link set br0 up");
  host.inside().ip("link set out0 master br0");
  host.inside().ip("link set cli0 master br0");
  EXPECT_FALSE(pings(client(), "10.1.0.200"));
  change("Network", R"(["name","==","net1"])", R"({"unknown":"normal"})");
  wait_pings(client(), "10.1.0.200");
  wait_pings(client(), "10.1.0.5");  // an application still is one
  change("Network", R"(["name","==","net1"])", R"({"unknown":"drop"})");
  wait_until([&] { return !pings(client(), "10.1.0.200"); }, 10s, "it to be dropped again");
  wait_pings(client(), "10.1.0.5");
  host.inside().ip("link set cli0 nomaster");
  host.inside().ip("link del br0");
}

}  // namespace
}  // namespace homeport::lab
