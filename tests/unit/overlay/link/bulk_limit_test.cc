#include "overlay/link/bulk_limit.h"

#include "tests/unit/overlay/link/devices.h"
#include "tests/unit/overlay/link/net_namespace.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <boost/asio/ip/udp.hpp>

#include <sys/socket.h>

#include <chrono>
#include <string>
#include <tuple>
#include <utility>

namespace homeport::overlay {
namespace {

using boost::asio::ip::make_address;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr std::uint64_t kMegabit = 1'000'000;

/// A host with a link to another one.
class BulkLimits : public testing::Test {
 protected:
  void SetUp() override {
    host_.run([&] {
      create_veth("nic1", "nic", other_.fd());
      add_address("nic1", make_address("192.0.2.1"), 24);
      add_address("nic1", make_address("2001:db8::1"), 64);
      set_link_up("nic1", true).value();
    });
    other_.run([] {
      add_address("nic", make_address("192.0.2.2"), 24);
      add_address("nic", make_address("2001:db8::2"), 64);
      set_link_up("nic", true).value();
    });
  }

  KeptLimits keep(const std::map<std::string, std::uint64_t>& limits) const {
    return host_.run([&] { return keep_bulk_limits(limits).value(); });
  }
  bool tc_shows(const std::string& what, const std::string& text) const {
    return host_.succeeds("tc " + what + " show dev nic1 | grep -q '" + text + "'");
  }

  NetNamespace host_, other_;
};

TEST_F(BulkLimits, AreSetChangedAndTakenAway) {
  EXPECT_THAT(keep({{"nic1", 5 * kMegabit}}).changes,
              ElementsAre("Bulk traffic by nic1 is limited to 5 Mbit/s."));
  EXPECT_TRUE(tc_shows("qdisc", "htb 4850: root"));
  EXPECT_TRUE(tc_shows("class", "4850:2 root .*prio 1 rate 5Mbit ceil 5Mbit"));
  EXPECT_TRUE(tc_shows("class", "4850:1 root .*prio 0 rate 1Tbit"));
  EXPECT_THAT(keep({{"nic1", 5 * kMegabit}}).changes, IsEmpty());
  EXPECT_THAT(keep({{"nic1", 900 * kMegabit}}).changes,
              ElementsAre("Bulk traffic by nic1 is limited to 900 Mbit/s."));
  EXPECT_TRUE(tc_shows("class", "4850:2 root .*rate 900Mbit ceil 900Mbit"));
  EXPECT_THAT(keep({{"nic1", 50'000 * kMegabit}}).changes, testing::SizeIs(1)) << "over 32 bits";
  EXPECT_TRUE(tc_shows("class", "4850:2 root .*rate 50Gbit ceil 50Gbit"));
  EXPECT_THAT(keep({{"nic1", 50'000 * kMegabit}}).changes, IsEmpty());
  EXPECT_THAT(keep({}).changes, ElementsAre("Bulk traffic by nic1 is no longer limited."));
  EXPECT_TRUE(tc_shows("qdisc", "noqueue 0: root"));
  EXPECT_THAT(keep({}).changes, IsEmpty());
}

TEST_F(BulkLimits, AreMendedWhateverIsMissing) {
  for (const std::string harm :
       {"qdisc del dev nic1 root", "class change dev nic1 classid 4850:2 htb rate 7mbit",
        "filter del dev nic1 parent 4850: prio 18512",
        "filter del dev nic1 parent 4850: prio 18513"}) {
    keep({{"nic1", 5 * kMegabit}});
    host_.shell("tc " + harm);
    EXPECT_THAT(keep({{"nic1", 5 * kMegabit}}).changes, testing::SizeIs(1)) << harm;
    EXPECT_THAT(keep({{"nic1", 5 * kMegabit}}).changes, IsEmpty()) << harm;
    EXPECT_TRUE(tc_shows("class", "4850:2 root .*rate 5Mbit ceil 5Mbit")) << harm;
  }
}

TEST_F(BulkLimits, LeaveAloneWhatSomebodyHasSet) {
  host_.shell("tc qdisc add dev nic1 root handle 7: pfifo limit 500");
  const KeptLimits kept = keep({{"nic1", 5 * kMegabit}});
  EXPECT_THAT(kept.changes, IsEmpty());
  EXPECT_THAT(kept.problems,
              ElementsAre(AllOf(HasSubstr("by nic1 is not limited"), HasSubstr("a qdisc pfifo 7:"),
                                HasSubstr("tc qdisc del dev nic1 root"))));
  EXPECT_THAT(keep({}).changes, IsEmpty());
  EXPECT_TRUE(tc_shows("qdisc", "pfifo 7: root"));
  host_.shell("tc qdisc del dev nic1 root && tc qdisc add dev nic1 root handle 7: htb");
  EXPECT_THAT(keep({{"nic1", 5 * kMegabit}}).problems, testing::SizeIs(1));
  EXPECT_THAT(keep({}).changes, IsEmpty());
  EXPECT_TRUE(tc_shows("qdisc", "htb 7: root"));
}

TEST_F(BulkLimits, PassOverADeviceThatIsNotThere) {
  const KeptLimits kept = keep({{"nic9", kMegabit}, {"nic1", kMegabit}});
  EXPECT_THAT(kept.problems, IsEmpty());
  EXPECT_THAT(kept.changes, testing::SizeIs(1));
}

/// Of a family, datagrams with a code point.
class BulkTraffic : public BulkLimits, public testing::WithParamInterface<std::tuple<bool, int>> {
 protected:
  static constexpr std::uint16_t kPort = 9000;  // of a namespace of its own
  static constexpr std::size_t kBytes = 1400;

  bool v6() const { return std::get<0>(GetParam()); }

  UniqueFd open(const NetNamespace& where, const char* v4_address, const char* v6_address,
                bool binds) const {
    return where.run([&] {
      UniqueFd socket(::socket(v6() ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
      const boost::asio::ip::udp::endpoint end(make_address(v6() ? v6_address : v4_address), kPort);
      const auto call = binds ? ::bind : ::connect;
      EXPECT_EQ(call(socket.get(), end.data(), static_cast<socklen_t>(end.size())), 0);
      const int size = 8 << 20;
      EXPECT_EQ(::setsockopt(socket.get(), SOL_SOCKET, binds ? SO_RCVBUFFORCE : SO_SNDBUFFORCE,
                             &size, sizeof(size)),
                0);
      const timeval patience{.tv_sec = 20, .tv_usec = 0};
      EXPECT_EQ(::setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)),
                0);
      return socket;
    });
  }

  void mark(const UniqueFd& socket, int code_point) const {
    const int value = code_point << 2;
    EXPECT_EQ(::setsockopt(socket.get(), v6() ? IPPROTO_IPV6 : IPPROTO_IP,
                           v6() ? IPV6_TCLASS : IP_TOS, &value, sizeof(value)),
              0);
  }

  static void send(const UniqueFd& socket, char what, std::size_t count) {
    const std::string datagram(kBytes, what);
    for (std::size_t i = 0; i < count; ++i) {
      EXPECT_EQ(::send(socket.get(), datagram.data(), datagram.size(), 0),
                static_cast<ssize_t>(kBytes));
    }
  }
  static char receive(const UniqueFd& socket) {
    std::string datagram(kBytes, 0);
    return ::recv(socket.get(), datagram.data(), datagram.size(), 0) > 0 ? datagram[0] : '!';
  }
};

TEST_P(BulkTraffic, IsLimitedAndAllElseGoesFirst) {
  keep({{"nic1", kMegabit}});
  const UniqueFd receiver = open(other_, "192.0.2.2", "2001:db8::2", true);
  const UniqueFd bulk = open(host_, "192.0.2.2", "2001:db8::2", false);
  const UniqueFd other = open(host_, "192.0.2.2", "2001:db8::2", false);
  mark(bulk, std::get<1>(GetParam()));
  send(other, 'o', 1);  // the neighbor is known from here on
  ASSERT_EQ(receive(receiver), 'o');

  const auto begun = std::chrono::steady_clock::now();
  send(bulk, 'b', 400);  // more than four seconds' worth
  mark(other, 10);
  send(other, 'o', 1);
  std::size_t before = 0;
  while (receive(receiver) == 'b') ++before;
  EXPECT_LT(before, 300u) << "it waited behind bulk traffic";
  for (std::size_t i = before; i < 40; ++i) ASSERT_EQ(receive(receiver), 'b');
  // But for what a class may send at once, 10 ms and a packet.
  const std::chrono::duration<double> least((40.0 * kBytes - 1'250 - 1'600) * 8 / kMegabit);
  EXPECT_GE(std::chrono::steady_clock::now() - begun, least);

  // What is not bulk knows no limit: 400 more take less than they would as bulk.
  const auto free = std::chrono::steady_clock::now();
  send(other, 'o', 400);
  for (std::size_t seen = 0; seen < 400;) {
    const char what = receive(receiver);
    ASSERT_NE(what, '!');
    if (what == 'o') ++seen;
  }
  EXPECT_LT(std::chrono::steady_clock::now() - free, std::chrono::seconds(4));
}

INSTANTIATE_TEST_SUITE_P(All, BulkTraffic,
                         testing::Combine(testing::Bool(), testing::Values(1, 8)));

}  // namespace
}  // namespace homeport::overlay
