// Frames through real veth, VXLAN and tap devices: the same on every datapath and any mix of them,
// over both underlay families.
#include "tests/unit/overlay/datapath/fabric.h"
#include "tests/unit/overlay/datapath/frames.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <thread>

namespace homeport::overlay {
namespace {

const BpfFileSystem& bpf() {
  static const BpfFileSystem file_system;
  return file_system;
}

/// What waits in a tap, read as its guest would; frames after the virtio-net header.
class TapReader {
 public:
  /// Returns when the tap takes frames: the kernel drops them until a moment after it is opened.
  TapReader(const NetNamespace& inside, const std::string& device)
      : queue_(inside.run([&] { return open_tap_queue(device).value(); })) {
    if (!eventually([&] {
          inside.run([&] { put_blank_frame(device).value(); });
          return take(1).has_value();
        })) {
      throw std::runtime_error("the tap " + device + " takes no frames");
    }
    while (take(1)) {
    }
  }

  /// The next UDP payload of `length` bytes, nullopt when none came within 5 s.
  std::optional<std::string> next(std::size_t length) {
    std::array<char, 2048> buffer;
    ssize_t got = -1;
    if (!eventually([&] { return (got = ::read(queue_.get(), buffer.data(), 2048)) > 0; })) {
      return std::nullopt;
    }
    return std::string(buffer.data() + got - length, length);
  }
  /// The same of what is there now.
  std::optional<std::string> take(std::size_t length) {
    std::array<char, 2048> buffer;
    const ssize_t got = ::read(queue_.get(), buffer.data(), buffer.size());
    if (got <= 0) return std::nullopt;
    return std::string(buffer.data() + got - length, length);
  }
  bool empty() { return tap_queue_empty(queue_.get()).value(); }

 private:
  UniqueFd queue_;
};

class Forwarding : public testing::TestWithParam<Fleet> {
 protected:
  Fabric fabric_{bpf(), GetParam()};
  App& one_ = fabric_.app(1);
  App& two_ = fabric_.app(2);
  App& three_ = fabric_.app(3);

  static void expect_talk(App& from, App& to) {
    for (bool v6 : {false, true}) {
      Socket server(to.inside, v6), client(from.inside, v6);
      client.send(v6 ? to.v6 : to.v4, server.port(), "hello");
      EXPECT_EQ(server.receive(), "hello") << (v6 ? "IPv6" : "IPv4");
      server.send(v6 ? from.v6 : from.v4, client.port(), "hello yourself");
      EXPECT_EQ(client.receive(), "hello yourself") << (v6 ? "IPv6" : "IPv4");
    }
  }

  /// Whether a host's counter gets to exactly that.
  bool counts(int host, std::uint64_t TotalCounters::*counter, std::uint64_t value) {
    return eventually([&] { return fabric_.host(host).totals().*counter == value; });
  }

  /// What a host's first application has sent to single others.
  std::uint64_t unicast_from(int host) {
    const TotalCounters totals = fabric_.host(host).totals();
    return fabric_.host(host).port(fabric_.app(host)).received_packets - totals.neighbor_answers -
           totals.announcements - totals.probes - totals.drop_multicast;
  }

  /// Application 2, of host 2, gets a held tap on host 3.
  std::string hold_on_host_3() {
    const Port held = fabric_.held_port(two_, 3);
    fabric_.host(3).desired.ports.push_back(held);
    fabric_.host(3).apply().value();
    return held.device;
  }
};

TEST_P(Forwarding, RemoteApplicationsTalkInBothFamilies) {
  expect_talk(one_, two_);
  expect_talk(three_, two_);
  // The kernels of the applications asked for each other; nobody but the program answered.
  EXPECT_TRUE(eventually([&] { return fabric_.host(1).totals().neighbor_answers >= 2; }));
  EXPECT_TRUE(counts(2, &TotalCounters::forwarded, 0));
  EXPECT_TRUE(eventually([&] {
    return fabric_.host(2).port(two_).delivered_packets == unicast_from(1) + unicast_from(3);
  }));
}

TEST_P(Forwarding, LocalApplicationsTalkWithoutTheTunnel) {
  App& four = fabric_.add_app(1);
  Host& host = fabric_.host(1);
  host.desired.ports.push_back({four.device, kVni, four.mac, false});
  host.desired.addresses.push_back(fabric_.entry(four, 1, 1));
  host.apply().value();
  expect_talk(one_, four);
  EXPECT_EQ(fabric_.tunnelled(1), 0u);
  EXPECT_TRUE(eventually([&] {
    return host.port(four).delivered_packets + host.port(one_).delivered_packets ==
           unicast_from(1) + host.port(four).received_packets;
  }));
}

TEST_P(Forwarding, RedirectedApplicationIsReachedThroughItsFormerHost) {
  TapReader tap(fabric_.host(3).inside, hold_on_host_3());
  fabric_.host(2).set_address(fabric_.left(two_, 2, 3)).value();

  // From a third host, from the destination itself, and from the former host: all get there.
  App& local = fabric_.add_app(2);
  fabric_.host(2).desired.ports.push_back({local.device, kVni, local.mac, false});
  fabric_.host(2).desired.addresses.push_back(fabric_.entry(local, 2, 2));
  fabric_.desired_entry(2, two_) = fabric_.left(two_, 2, 3);
  fabric_.host(2).apply().value();
  fabric_.host(3).desired.addresses.push_back(fabric_.entry(local, 3, 2));
  fabric_.host(3).apply().value();
  int number = 0;
  for (App* sender : {&one_, &three_, &local}) {
    Socket client(sender->inside, false);
    for (int i = 0; i < 10; ++i) {
      const std::string data = "datagram " + std::to_string(1000 + number++);
      client.send(two_.v4, 9, data);
      EXPECT_EQ(tap.next(data.size()), data);
    }
  }
  EXPECT_TRUE(tap.empty());
  EXPECT_TRUE(counts(2, &TotalCounters::forwarded, 20));  // The local sender's are not forwarded.
  EXPECT_TRUE(counts(3, &TotalCounters::delivered_held, 30));
  App held;
  held.device = two_.device + "b";
  EXPECT_TRUE(eventually([&] { return fabric_.host(3).port(held).delivered_packets == 30; }));
}

TEST_P(Forwarding, RedirectUnderTrafficLosesNothingAndIsInForceAtOnce) {
  TapReader tap(fabric_.host(3).inside, hold_on_host_3());
  Socket server(two_.inside, false), client(one_.inside, false);
  std::atomic<bool> redirected = false;
  std::atomic<int> sent = 0;
  std::thread traffic([&] {
    for (int after = 0; after < 100; ++sent) {
      const bool at_new_home = redirected;
      const std::string data = std::to_string(100'000 + sent);
      client.send(two_.v4, server.port(), data);
      std::optional<std::string> old_home, new_home;
      ASSERT_TRUE(eventually([&] {
        if (server.pending()) old_home = server.receive();
        new_home = tap.take(data.size());
        return old_home || new_home;
      })) << "lost: "
          << data;
      EXPECT_EQ(old_home ? *old_home : *new_home, data);
      if (at_new_home) {
        EXPECT_FALSE(old_home) << "followed into the port that was left: " << data;
        ++after;
      }
    }
  });
  EXPECT_TRUE(eventually([&] { return sent >= 100; }));
  fabric_.host(2).set_address(fabric_.left(two_, 2, 3)).value();
  redirected = true;
  traffic.join();
}

TEST_P(Forwarding, HeldPortGetsOnlyWhatItsOwnerRedirects) {
  TapReader tap(fabric_.host(3).inside, hold_on_host_3());
  // Host 1 believes too early that the application is on host 3, where it was once: it is still
  // served by host 2.
  fabric_.host(3).set_address(fabric_.left(two_, 3, 2)).value();
  fabric_.host(1).set_address(fabric_.entry(two_, 1, 3)).value();
  expect_talk(one_, two_);
  EXPECT_TRUE(tap.empty());
  EXPECT_TRUE(counts(3, &TotalCounters::delivered_held, 0));
  EXPECT_TRUE(eventually([&] { return fabric_.host(3).totals().forwarded >= 2; }));
}

TEST_P(Forwarding, HostThatHasNothingToDoWithAnApplicationForwardsNothing) {
  fabric_.host(1).set_address(fabric_.entry(two_, 1, 3)).value();
  fabric_.host(1).settle();
  Socket client(one_.inside, false);
  client.send(two_.v4, 9, "who told you");
  EXPECT_TRUE(eventually([&] { return fabric_.host(3).totals().drop_elsewhere == 1; }));
  // Nor when everybody knows that it has left.
  fabric_.desired_entry(3, two_) = fabric_.left(two_, 3, 2);
  fabric_.host(3).apply().value();
  fabric_.host(3).settle();
  expect_talk(one_, two_);
  fabric_.desired_entry(3, two_) = fabric_.entry(two_, 3, 2);
  fabric_.host(3).apply().value();
  fabric_.host(3).settle();
  client.send(two_.v4, 9, "you should know");
  EXPECT_TRUE(eventually([&] { return fabric_.host(3).totals().drop_elsewhere == 2; }));
  EXPECT_EQ(fabric_.host(3).totals().drop_forwarded_twice, 0u);
}

TEST_P(Forwarding, NothingIsForwardedTwice) {
  // Each of hosts 2 and 3 says the other has it.
  fabric_.host(2).set_address(fabric_.left(two_, 2, 3)).value();
  Socket client(one_.inside, false);
  client.send(two_.v4, 9, "lost");
  EXPECT_TRUE(counts(3, &TotalCounters::drop_forwarded_twice, 1));
  EXPECT_TRUE(counts(2, &TotalCounters::forwarded, 1));
  EXPECT_TRUE(counts(3, &TotalCounters::forwarded, 0));
  // Also around a circle of three: 1 -> 2 -> 3, which says 1.
  fabric_.host(3).set_address(fabric_.left(two_, 3, 1)).value();
  client.send(two_.v4, 9, "lost");
  EXPECT_TRUE(counts(3, &TotalCounters::drop_forwarded_twice, 2));
  EXPECT_TRUE(counts(1, &TotalCounters::forwarded, 0));
}

TEST_P(Forwarding, UnknownHostIsNotListenedTo) {
  Host& host = fabric_.host(2);
  std::erase(host.desired.vteps, fabric_.host(1).vtep);
  host.apply().value();
  Socket client(one_.inside, false);
  client.send(two_.v4, 9, "from a stranger");
  EXPECT_TRUE(eventually([&] { return host.totals().drop_unknown_vtep == 1; }));
  EXPECT_EQ(host.port(two_).delivered_packets, 0u);
  expect_talk(three_, two_);
}

TEST_P(Forwarding, UnknownSendersAreNotDelivered) {
  // Host 1 lets its application speak by an address that no other host has heard of.
  const policy::MacAddress forged = {{2, 0, 0, 0, 0, 77}};
  Host& host = fabric_.host(1);
  host.desired.ports.at(0).mac = forged;
  host.apply().value();
  send_frame(one_, ethernet(two_.mac, forged, 0x88b5, std::string(64, 'f')));
  EXPECT_TRUE(counts(2, &TotalCounters::drop_forged_source, 1));
  EXPECT_EQ(fabric_.host(2).port(two_).delivered_packets, 0u);
  expect_talk(three_, two_);
}

TEST_P(Forwarding, UnknownNetworksAndAddressesAreToldApart) {
  Host& host = fabric_.host(2);
  Socket client(one_.inside, false);
  std::erase_if(host.desired.addresses, [&](const auto& entry) { return entry.mac == two_.mac; });
  host.apply().value();
  client.send(two_.v4, 9, "nobody home");
  EXPECT_TRUE(eventually([&] { return host.totals().drop_unknown_address == 1; }));
  host.desired = {
      .networks = {{kVni + 1, 0}}, .ports = {}, .addresses = {}, .vteps = host.desired.vteps};
  host.apply().value();
  // More than once: a userspace switch does not know its tunnels for a moment after a port has left
  // it, and takes what comes by them for the host's.
  EXPECT_TRUE(eventually([&] {
    client.send(two_.v4, 9, "no such street");
    return host.totals().drop_unknown_network > 0;
  }));
  EXPECT_EQ(host.totals().drop_unknown_address, 1u);
}

TEST_P(Forwarding, NetworksAreApart) {
  // The same MAC address in another network is another application.
  Host& host = fabric_.host(2);
  host.desired.networks.push_back({kVni + 1, 0});
  AddressEntry other = fabric_.entry(two_, 2, 2);
  other.vni = kVni + 1;
  host.desired.addresses = {other};
  host.apply().value();
  Socket client(one_.inside, false);
  client.send(two_.v4, 9, "wrong network");
  EXPECT_TRUE(eventually([&] { return host.totals().drop_unknown_address == 1; }));
  EXPECT_EQ(host.port(two_).delivered_packets, 0u);
}

TEST_P(Forwarding, RelayedBulkArrivesWhole) {
  fabric_.host(1).set_address(fabric_.entry(two_, 1, 3)).value();
  fabric_.host(3).set_address(fabric_.left(two_, 3, 2)).value();
  Socket server(two_.inside, false), client(one_.inside, false);
  for (int i = 0; i < 100; ++i) {
    const std::string data(1402, static_cast<char>('a' + i % 26));  // Full size: 1430 with headers.
    client.send(two_.v4, server.port(), data);
    EXPECT_EQ(server.receive(), data);
  }
  EXPECT_TRUE(counts(3, &TotalCounters::forwarded, 100));
}

INSTANTIATE_TEST_SUITE_P(Fleets, Forwarding, testing::ValuesIn(fleets()), fleet_name);

}  // namespace
}  // namespace homeport::overlay
