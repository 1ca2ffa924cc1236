#include "overlay/link/link.h"

#include "overlay/link/ethtool.h"
#include "overlay/link/monitor.h"
#include "overlay/link/tap.h"
#include "tests/unit/overlay/link/devices.h"
#include "tests/unit/overlay/link/net_namespace.h"

#include <boost/asio/io_context.hpp>

#include <gmock/gmock.h>
#include <linux/filter.h>
#include <linux/rtnetlink.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <thread>
#include <vector>

namespace homeport::overlay {
namespace {

using boost::asio::ip::make_address;
using boost::system::errc::errc_t;
using testing::Contains;
using testing::HasSubstr;

TEST(Links, VethIsMadeAcrossNamespacesAndConfigured) {
  NetNamespace host, inside;
  host.run([&] {
    create_veth("port", "eth0", inside.fd());
    set_link_up("port", true).value();
    set_link_mtu("port", 1430).value();
    set_tx_queue_length("port", 500).value();
    set_link_mac("port", *policy::MacAddress::parse("02:00:00:00:00:09")).value();
    Link link = find_link("port").value();
    EXPECT_EQ(link.kind, "veth");
    EXPECT_TRUE(link.peer_elsewhere);
    EXPECT_TRUE(link.up);
    EXPECT_FALSE(link.carrier);  // The other end is still down.
    EXPECT_EQ(link.mtu, 1430u);
    EXPECT_EQ(link.tx_queue_length, 500u);
    EXPECT_EQ(link.mac.to_string(), "02:00:00:00:00:09");
  });
  inside.run([] { set_link_up("eth0", true).value(); });
  host.run([] {
    EXPECT_TRUE(find_link("port").value().carrier);
    EXPECT_THAT(list_links().value(), Contains(testing::Field(&Link::name, "port")));
    delete_device("port").value();
    EXPECT_EQ(find_link("port").error().code, boost::system::errc::no_such_device);
  });
}

TEST(LinkSpeed, IsWhatTheDriverTells) {
  NetNamespace host;
  host.run([] {
    create_veth("nic", "peer");
    EXPECT_EQ(link_speed("nic").value(), 10'000'000'000u);  // whatever the processor makes of it
    EXPECT_EQ(link_speed("lo").value(), 0u);
    const auto none = link_speed("none");
    EXPECT_EQ(none.error().code, boost::system::errc::no_such_device);
    EXPECT_THAT(none.error().message, HasSubstr("none"));
  });
}

TEST(Carrier, IsAsTheOtherEndHasIt) {
  NetNamespace host;
  host.run([] {
    create_veth("nic", "peer");
    EXPECT_FALSE(has_carrier("nic").value()) << "it is down";
    set_link_up("nic", true).value();
    EXPECT_FALSE(has_carrier("nic").value()) << "its other end is";
    set_link_up("peer", true).value();
    EXPECT_TRUE(has_carrier("nic").value());
    set_link_up("peer", false).value();
    EXPECT_FALSE(has_carrier("nic").value()) << "at once";
    EXPECT_TRUE(has_carrier("lo").value());
    const auto none = has_carrier("none");
    EXPECT_EQ(none.error().code, boost::system::errc::no_such_device);
    EXPECT_THAT(none.error().message, HasSubstr("none"));
  });
}

TEST(Links, VethInsideOneNamespaceHasItsPeerHere) {
  NetNamespace host;
  host.run([] {
    create_veth("left", "right");
    EXPECT_FALSE(find_link("left").value().peer_elsewhere);
  });
}

TEST(Links, ErrorsNameTheDeviceAndTheReason) {
  NetNamespace host;
  host.run([] {
    EXPECT_THAT(set_link_up("missing", true).error().message, HasSubstr("missing"));
    EXPECT_EQ(set_link_up("missing", true).error().code, boost::system::errc::no_such_device);
    EXPECT_EQ(find_link("a-name-that-is-too-long").error().code,
              boost::system::errc::no_such_device);
    create_veth("taken", "other");
    auto again = create_vxlan("taken", 8472);
    EXPECT_EQ(again.error().code, boost::system::errc::file_exists);
    EXPECT_THAT(again.error().message, HasSubstr("taken"));
  });
}

TEST(Links, AddressesOfBothFamiliesComeAndGo) {
  NetNamespace host;
  host.run([] {
    create_veth("left", "right");
    const int index = find_link("left").value().index;
    const LinkAddress v4{index, make_address("192.0.2.1"), 24};
    const LinkAddress v6{index, make_address("2001:db8::1"), 64};
    for (const LinkAddress& each : {v4, v6}) {
      add_address("left", each.address, each.prefix_length);
      EXPECT_THAT(list_addresses().value(), Contains(each));
    }
    for (const LinkAddress& each : {v4, v6}) {
      remove_address("left", each.address, each.prefix_length);
      EXPECT_THAT(list_addresses().value(), testing::Not(Contains(each)));
    }
  });
}

TEST(Vxlan, DeviceIsExternalSilentAndUp) {
  NetNamespace host;
  host.run([] {
    Link link = create_vxlan("vx", 8472).value();
    EXPECT_EQ(link.kind, "vxlan");
    EXPECT_TRUE(link.up);
    VxlanSettings settings = vxlan_settings("vx").value();
    EXPECT_TRUE(settings.external);
    EXPECT_TRUE(settings.udp6_zero_checksum_rx);
    EXPECT_EQ(settings.udp_port, 8472);
    for (const LinkAddress& address : list_addresses().value()) {
      EXPECT_NE(address.link_index, link.index) << address.address;
    }
    EXPECT_THAT(create_vxlan("vx2", 8472).error().message, HasSubstr("8472"));
    EXPECT_EQ(vxlan_settings("lo").error().code, boost::system::errc::invalid_argument);
  });
}

TEST(Taps, HaveNoIpv6AtAll) {
  NetNamespace host;
  host.run([] { create_tap({.name = "tap1"}).value(); });
  EXPECT_TRUE(host.succeeds("test -z \"$(ip -6 route show table all dev tap1)\""));
}

TEST(Taps, QueueIsLongAndTheHostIsSilentOnIt) {
  NetNamespace host;
  host.run([] {
    Link tap = create_tap({.name = "tap1", .mtu = 1430}).value();
    EXPECT_EQ(tap.tx_queue_length, kTapQueueLength);
    EXPECT_EQ(tap.mtu, 1430u);
    EXPECT_TRUE(tap.up);
    EXPECT_FALSE(tap.carrier);  // Nobody has it open.
    auto again = create_tap({.name = "tap1"});
    EXPECT_EQ(again.error().code, boost::system::errc::file_exists);

    UniqueFd queue = open_tap_queue("tap1").value();
    EXPECT_TRUE(find_link("tap1").value().carrier);
    EXPECT_EQ(open_tap_queue("tap1").error().code, boost::system::errc::device_or_resource_busy);
    EXPECT_TRUE(tap_queue_empty(queue.get()).value());
    EXPECT_EQ(sent_packets("tap1"), 0u);

    queue.reset();
    EXPECT_TRUE(find_link("tap1"));  // Persistent.
    delete_device("tap1").value();
    EXPECT_EQ(open_tap_queue("tap1").error().code, boost::system::errc::no_such_device);
  });
}

TEST(Taps, WhatIsQueuedIsSeenUntilItIsRead) {
  NetNamespace host;
  host.run([] {
    create_tap({.name = "tap1"}).value();
    UniqueFd queue = open_tap_queue("tap1").value();
    add_address("tap1", make_address("192.0.2.1"), 24);
    // Somebody asks for an address behind the tap: one ARP request.
    (void)!std::system("ip neigh add 192.0.2.2 lladdr 02:00:00:00:00:02 dev tap1");
    UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(9);
    to.sin_addr.s_addr = htonl(0xc0000202);
    ASSERT_EQ(::sendto(socket.get(), "x", 1, 0, reinterpret_cast<sockaddr*>(&to), sizeof(to)), 1);
    EXPECT_FALSE(tap_queue_empty(queue.get()).value());
    std::array<char, 2048> frame{};
    while (::read(queue.get(), frame.data(), frame.size()) > 0) {
    }
    EXPECT_TRUE(tap_queue_empty(queue.get()).value());
    EXPECT_EQ(sent_packets("tap1"), 1u);
    EXPECT_TRUE(tap_queue_empty(-1).has_error());
    delete_device("tap1").value();
    EXPECT_TRUE(tap_queue_empty(queue.get()).has_error());
  });
}

TEST(Taps, FramesInFlightCanBeWaitedFor) {
  EXPECT_TRUE(wait_for_frames_in_flight().has_value());
}

/// Has membarrier(2) fail with `error` in the calling thread, for good.
void fail_membarrier(std::uint32_t error) {
  sock_filter steps[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_membarrier, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  sock_fprog filter{.len = std::size(steps), .filter = steps};
  ASSERT_EQ(::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
  ASSERT_EQ(::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter), 0);
}

TEST(Taps, FramesInFlightAreWaitedForWithoutMembarrier) {
  std::jthread([] {
    fail_membarrier(EINVAL);  // as on a host booted with nohz_full=
    auto waited = wait_for_frames_in_flight();
    EXPECT_TRUE(waited.has_value()) << waited.error().message;
  });
  std::jthread([] {
    fail_membarrier(ENOSYS);
    EXPECT_THAT(wait_for_frames_in_flight().error().message, HasSubstr("(membarrier)"));
  });
}

TEST(Taps, UnusableNamesAreRefused) {
  NetNamespace host;
  host.run([] {
    EXPECT_EQ(create_tap({.name = ""}).error().code, boost::system::errc::invalid_argument);
    EXPECT_EQ(create_tap({.name = "a-name-that-is-too-long"}).error().code,
              boost::system::errc::invalid_argument);
  });
}

/// A monitor and the events it has reported.
class Monitored : public testing::Test {
 protected:
  /// Runs the events until one satisfies `wanted`, at most 5 s.
  template <class Wanted>
  bool see(Wanted wanted) {
    std::size_t looked_at = 0;
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(5);
    do {
      for (; looked_at < events_.size(); ++looked_at) {
        if (wanted(events_[looked_at])) return true;
      }
      io_.restart();
    } while (io_.run_one_until(deadline) > 0);
    return false;
  }

  LinkMonitor watch(const NetNamespace& host) {
    return host.run([&] {
      return LinkMonitor::start(io_.get_executor(),
                                [&](const LinkEvent& event) { events_.push_back(event); })
          .value();
    });
  }

  boost::asio::io_context io_;
  std::vector<LinkEvent> events_;
};

TEST_F(Monitored, LinksCarrierAndAddressesAreReported) {
  NetNamespace host, inside;
  const LinkMonitor monitor = watch(host);
  auto changed = [](auto wanted) {
    return [wanted](const LinkEvent& event) {
      const auto* change = std::get_if<LinkChanged>(&event);
      return change && change->link.name == "port" && wanted(change->link);
    };
  };
  host.run([&] {
    create_veth("port", "eth0", inside.fd());
    set_link_up("port", true).value();
  });
  EXPECT_TRUE(see(changed([](const Link& link) { return link.up && !link.carrier; })));
  inside.run([] { set_link_up("eth0", true).value(); });
  EXPECT_TRUE(see(changed([](const Link& link) { return link.carrier; })));

  const auto address = make_address("2001:db8::7");
  host.run([&] { add_address("port", address, 64); });
  EXPECT_TRUE(see([&](const LinkEvent& event) {
    const auto* added = std::get_if<AddressAdded>(&event);
    return added && added->address.address == address && added->address.prefix_length == 64;
  }));
  host.run([&] { remove_address("port", address, 64); });
  EXPECT_TRUE(see([&](const LinkEvent& event) {
    const auto* removed = std::get_if<AddressRemoved>(&event);
    return removed && removed->address.address == address;
  }));
  host.run([] { delete_device("port").value(); });
  EXPECT_TRUE(see([](const LinkEvent& event) {
    const auto* removed = std::get_if<LinkRemoved>(&event);
    return removed && removed->name == "port";
  }));
}

TEST_F(Monitored, MonitorMayBeDestroyedInItsCallback) {
  NetNamespace host;
  std::optional<LinkMonitor> monitor;
  auto started = host.run([&] {
    return LinkMonitor::start(io_.get_executor(), [&](const LinkEvent& event) {
      events_.push_back(event);
      monitor.reset();
    });
  });
  monitor.emplace(std::move(started).value());
  host.run([] {
    create_veth("one", "two");
    create_veth("three", "four");
  });
  io_.run();  // Ends: nothing is watched any more.
  EXPECT_EQ(events_.size(), 1u);
}

TEST_F(Monitored, LostEventsAreReported) {
  NetNamespace host;
  const LinkMonitor monitor = watch(host);
  // Nobody reads meanwhile: more than a socket's buffer holds.
  host.run([] {
    create_veth("one", "two");
    for (std::uint32_t i = 0; i < 2000; ++i) set_link_mtu("one", 1000 + i % 2).value();
  });
  EXPECT_TRUE(
      see([](const LinkEvent& event) { return std::holds_alternative<EventsLost>(event); }));
  host.run([] { set_link_up("one", true).value(); });
  EXPECT_TRUE(see([](const LinkEvent& event) {
    const auto* change = std::get_if<LinkChanged>(&event);
    return change && change->link.name == "one" && change->link.up;
  }));
}

/// The address of the route netlink socket that listens to events in this thread's namespace.
sockaddr_nl listener() {
  std::ifstream sockets("/proc/thread-self/net/netlink");
  std::string line, kernel_address;
  std::getline(sockets, line);  // the names of the columns
  while (std::getline(sockets, line)) {
    std::istringstream columns(line);
    int protocol = 0;
    std::uint32_t port = 0, groups = 0;
    columns >> kernel_address >> protocol >> port >> std::hex >> groups;
    if (protocol != NETLINK_ROUTE || port == 0 || groups == 0) continue;
    sockaddr_nl address{};
    address.nl_family = AF_NETLINK;
    address.nl_pid = port;
    return address;
  }
  throw std::runtime_error("nobody listens");
}

TEST_F(Monitored, EventsThatCannotBeParsedAreLost) {
  NetNamespace host;
  const LinkMonitor monitor = watch(host);
  host.run([] {
    const sockaddr_nl to = listener();
    UniqueFd socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
    nlmsghdr cut_short{};  // without its ifaddrmsg
    cut_short.nlmsg_len = sizeof cut_short;
    cut_short.nlmsg_type = RTM_NEWADDR;
    ASSERT_EQ(::sendto(socket.get(), &cut_short, sizeof cut_short, 0,
                       reinterpret_cast<const sockaddr*>(&to), sizeof to),
              static_cast<ssize_t>(sizeof cut_short));
  });
  EXPECT_TRUE(
      see([](const LinkEvent& event) { return std::holds_alternative<EventsLost>(event); }));
}

}  // namespace
}  // namespace homeport::overlay
