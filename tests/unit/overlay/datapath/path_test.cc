// Ways to another host by class of traffic: the same on every datapath and any mix of them. Each
// host has a second address beside its VTEP.
#include "tests/unit/overlay/datapath/fabric.h"
#include "tests/unit/overlay/datapath/frames.h"
#include "tests/unit/overlay/datapath/outer.h"

#include <gmock/gmock.h>
#include <netinet/in.h>
#include <sys/socket.h>

namespace homeport::overlay {
namespace {

using enum policy::TrafficClass;

const BpfFileSystem& bpf() {
  static const BpfFileSystem file_system;
  return file_system;
}

class Paths : public testing::TestWithParam<Fleet> {
 protected:
  Paths() {
    // Everybody knows everybody's second address.
    for (int number = 1; number <= 3; ++number) {
      for (int other = 1; other <= 3; ++other) {
        if (other == number) continue;
        host(number).desired.aliases.push_back({host(other).second, host(other).vtep});
      }
      apply(number);
    }
  }

  Host& host(int number) { return fabric_.host(number); }
  void apply(int number) {
    host(number).apply().value();
    host(number).settle();
  }
  void set_path(int number, const PathEntry& path) {
    host(number).set_path(path).value();
    host(number).settle();
  }
  PathEntry second_path(int from, int to, policy::TrafficClass traffic_class) {
    return {host(to).vtep, traffic_class, host(from).second, host(to).second};
  }
  void set_class(int number, policy::TrafficClass traffic_class) {
    for (Port& port : host(number).desired.ports) port.traffic_class = traffic_class;
  }

  /// Sends a datagram from one application to another, where it arrives; returns what is outside.
  Outer send(int from, int to, unsigned dscp = 0, bool v6 = false) {
    Sniffer wire = fabric_.sniffer(from);
    App &sender = fabric_.app(from), &receiver = fabric_.app(to);
    Socket server(receiver.inside, v6), client(sender.inside, v6);
    const int value = static_cast<int>(dscp << 2);
    EXPECT_EQ(::setsockopt(client.fd(), v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_TCLASS : IP_TOS,
                           &value, sizeof(value)),
              0);
    const std::string payload = "datagram " + std::to_string(++sent_) + " of the test of paths";
    client.send(v6 ? receiver.v6 : receiver.v4, server.port(), payload);
    EXPECT_EQ(server.receive(), payload);
    std::optional<Outer> outer;
    wire.next([&](const std::string& frame) {
      outer = outer_of(frame, payload);
      return outer.has_value();
    });
    EXPECT_TRUE(outer) << "it was not seen on the wire";
    return outer.value_or(Outer{});
  }
  void expect_first(const Outer& outer, int from, int to) {
    EXPECT_EQ(outer.from, host(from).vtep);
    EXPECT_EQ(outer.to, host(to).vtep);
  }
  void expect_second(const Outer& outer, int from, int to) {
    EXPECT_EQ(outer.from, host(from).second);
    EXPECT_EQ(outer.to, host(to).second);
  }

  void expect_code_point(const Outer& outer, unsigned dscp) { EXPECT_EQ(outer.dscp, dscp); }

  Fabric fabric_{bpf(), GetParam()};
  int sent_ = 0;
};

TEST_P(Paths, LeadThereAndNotBack) {
  expect_first(send(1, 2), 1, 2);
  host(1).desired.paths = {second_path(1, 2, best_effort)};
  apply(1);
  for (const bool v6 : {false, true}) expect_second(send(1, 2, 0, v6), 1, 2);
  expect_first(send(2, 1), 2, 1);
  expect_first(send(1, 3), 1, 3);
  host(1).desired.paths.clear();
  apply(1);
  expect_first(send(1, 2), 1, 2);
}

TEST_P(Paths, AreChosenByTheClassOfThePort) {
  host(1).desired.paths = {second_path(1, 2, interactive)};
  apply(1);
  expect_first(send(1, 2), 1, 2);
  set_class(1, interactive);
  apply(1);
  const Outer outer = send(1, 2);
  expect_second(outer, 1, 2);
  expect_code_point(outer, 18);
  set_class(1, bulk);
  apply(1);
  const Outer bulky = send(1, 2);
  expect_first(bulky, 1, 2);
  expect_code_point(bulky, 1);
}

TEST_P(Paths, AreThoseOfAPortThatHasBeenGivenAnotherClass) {
  host(1).desired.paths = {second_path(1, 2, interactive)};
  apply(1);
  StateChange change;
  change.before = change.now = {fabric_.desired_entry(1, fabric_.app(1))};
  change.ports_before = change.ports = {host(1).desired.ports.front()};
  change.ports.front().traffic_class = interactive;
  EXPECT_TRUE(host(1).inside.run([&] { return host(1).datapath->update(change).value(); }));
  host(1).settle();
  expect_second(send(1, 2), 1, 2);
}

TEST_P(Paths, BetweenFamiliesAreRefused) {
  PathEntry path = second_path(1, 2, best_effort);
  path.remote = path.local.is_v6() ? policy::IpAddress(boost::asio::ip::address_v4(0xc6336402))
                                   : policy::IpAddress(boost::asio::ip::address_v6::loopback());
  const auto refused = host(1).set_path(path);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, testing::HasSubstr("different families"));
  expect_first(send(1, 2), 1, 2);
}

TEST_P(Paths, AreChosenByThePacketsOwnCodePoint) {
  host(1).desired.paths = {second_path(1, 2, interactive), second_path(1, 3, bulk)};
  apply(1);
  for (const bool v6 : {false, true}) {
    const Outer plain = send(1, 2, 0, v6);
    expect_first(plain, 1, 2);
    expect_code_point(plain, 0);
    for (const unsigned dscp : {18u, 32u, 40u, 44u, 46u}) {
      const Outer outer = send(1, 2, dscp, v6);
      expect_second(outer, 1, 2);
      expect_code_point(outer, 18);
    }
    for (const unsigned dscp : {1u, 8u}) {
      expect_first(send(1, 2, dscp, v6), 1, 2);
      const Outer outer = send(1, 3, dscp, v6);
      expect_second(outer, 1, 3);
      expect_code_point(outer, 1);
    }
  }
}

TEST_P(Paths, ChangeOverAtOnce) {
  set_path(1, second_path(1, 2, best_effort));
  expect_second(send(1, 2), 1, 2);
  set_path(1, {host(2).vtep, best_effort, host(1).vtep, host(2).vtep});
  expect_first(send(1, 2), 1, 2);
}

TEST_P(Paths, FromAnAddressThatIsNoHostsNothingIsTaken) {
  host(2).desired.aliases.clear();
  apply(2);
  set_path(1, second_path(1, 2, best_effort));
  Socket server(fabric_.app(2).inside, false), client(fabric_.app(1).inside, false);
  const auto before = host(2).totals().drop_unknown_vtep;
  // A switch may know its tunnels a moment later.
  EXPECT_TRUE(eventually([&] {
    client.send(fabric_.app(2).v4, server.port(), "forged");
    return host(2).totals().drop_unknown_vtep > before;
  }));
  EXPECT_FALSE(server.pending());
}

// What an application's former home sends on waits for it, by whichever way it comes.
TEST_P(Paths, AreOfTheHostThatRedirects) {
  App &moving = fabric_.app(2), &neighbor = fabric_.join(2);
  host(3).desired.ports.push_back(fabric_.held_port(moving, 3));
  host(2).desired.paths = {second_path(2, 3, best_effort)};
  for (int number : {1, 2, 3}) apply(number);
  host(2).set_address(fabric_.entry(moving, 2, 3)).value();
  host(2).settle();
  Socket client(neighbor.inside, false);
  const auto before = host(3).totals().delivered_held;
  EXPECT_TRUE(eventually([&] {
    client.send(moving.v4, 7, "wait");
    return host(3).totals().delivered_held > before;
  }));
}

TEST_P(Paths, AreReadBackAndAdopted) {
  host(1).desired.paths = {second_path(1, 2, bulk), second_path(1, 2, best_effort),
                           second_path(1, 3, interactive)};
  set_class(1, interactive);
  apply(1);
  DesiredState desired = host(1).desired;
  normalize(desired);
  EXPECT_EQ(host(1).read_back().value(), desired);
  host(1).restart();
  expect_second(send(1, 3), 1, 3);
  apply(1);
  EXPECT_EQ(host(1).read_back().value(), desired);
  expect_second(send(1, 3), 1, 3);
  expect_first(send(1, 2), 1, 2);  // an interactive port has no path of its own there
}

INSTANTIATE_TEST_SUITE_P(, Paths, testing::ValuesIn(fleets()), fleet_name);

}  // namespace
}  // namespace homeport::overlay
