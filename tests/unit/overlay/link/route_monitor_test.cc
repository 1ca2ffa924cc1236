#include "overlay/link/route_monitor.h"

#include "overlay/link/route.h"
#include "tests/unit/overlay/link/devices.h"
#include "tests/unit/overlay/link/net_namespace.h"

#include <gtest/gtest.h>
#include <boost/asio/io_context.hpp>

#include <optional>
#include <string>

namespace homeport::overlay {
namespace {

using namespace std::chrono_literals;
using boost::asio::ip::make_address;

class Routes : public testing::Test {
 protected:
  void SetUp() override {
    host_.run([] {
      create_veth("nic", "peer");
      set_link_up("nic", true).value();
      set_link_up("peer", true).value();
      add_address("nic", make_address("192.0.2.1"), 24);
      add_address("nic", make_address("2001:db8::1"), 64);
    });
  }

  RouteMonitor watch(RouteMonitor::Pace pace) {
    return host_.run([&] {
      return RouteMonitor::start(
                 io_.get_executor(), [&] { ++told_; }, pace)
          .value();
    });
  }
  /// Runs until it is told of as many changes, 5 s at most.
  bool see(int times) {
    const auto deadline = std::chrono::steady_clock::now() + 5s;
    io_.restart();
    while (told_ < times && io_.run_one_until(deadline) > 0) {
    }
    return told_ >= times;
  }
  void ip(const std::string& command) const { host_.shell("ip " + command); }

  NetNamespace host_;
  boost::asio::io_context io_;
  int told_ = 0;
};

TEST_F(Routes, AreToldOfWhateverChanges) {
  const RouteMonitor monitor = watch({.settle = 0ms, .least = 0ms, .share = 0});
  int times = 0;
  for (const char* change :
       {"route add 198.51.100.0/24 via 192.0.2.254", "route del 198.51.100.0/24",
        "-6 route add 2001:db8:1::/48 via 2001:db8::fe", "-6 route del 2001:db8:1::/48",
        "route add default via 192.0.2.254 table 77", "rule add from 192.0.2.1 lookup 77 prio 99",
        "-6 rule add from 2001:db8::1 lookup 77 prio 99", "rule del prio 99",
        "route flush table 77"}) {
    ip(change);
    EXPECT_TRUE(see(++times)) << change;
    times = told_;
  }
}

TEST_F(Routes, ThatAreTheAgentsOwnAreToldOfWhenTheyGo) {
  const RouteMonitor monitor = watch({.settle = 0ms, .least = 0ms, .share = 0});
  for (int i = 0; i < 20; ++i) {
    ip("route add 198.51." + std::to_string(i) + ".0/24 via 192.0.2.254 proto 72");
    io_.restart();
    io_.run_for(5ms);
  }
  // IPv6 of the devices is still coming up, which changes routes a few times.
  EXPECT_LT(told_, 10);
  for (int i = 0; i < 20; ++i) {
    const int before = told_;
    ip("route del 198.51." + std::to_string(i) + ".0/24 proto 72");
    EXPECT_TRUE(see(before + 1)) << i;
  }
}

TEST_F(Routes, ThousandsAreToldOfOnce) {
  // Nobody reads meanwhile: more than a socket's buffer holds.
  const RouteMonitor monitor = watch({.settle = 1ms, .least = 1h});
  host_.shell(
      "seq 0 3999 | awk '{printf \"route add 10.%d.%d.0/24 via 192.0.2.254\\n\", $1/250, $1%250}'"
      " | ip -batch -");
  EXPECT_TRUE(see(1));
  ip("route del 10.0.0.0/24");
  io_.restart();
  io_.run_for(20ms);
  EXPECT_EQ(told_, 1) << "an hour has to pass";
}

TEST_F(Routes, AreLookedAtForATenthOfTheTimeAtMost) {
  std::optional<std::chrono::steady_clock::time_point> first, second;
  const RouteMonitor monitor = host_.run([&] {
    return RouteMonitor::start(io_.get_executor(),
                               [&] {
                                 const auto begun = std::chrono::steady_clock::now();
                                 while (std::chrono::steady_clock::now() - begun < 20ms) {
                                 }
                                 (first ? second : first) = std::chrono::steady_clock::now();
                                 ++told_;
                               },
                               {.settle = 0ms, .least = 0ms, .share = 10})
        .value();
  });
  ip("route add 198.51.100.0/24 via 192.0.2.254");
  ASSERT_TRUE(see(1));
  ip("route del 198.51.100.0/24");
  ASSERT_TRUE(see(2));
  EXPECT_GE(*second - *first, 200ms);
}

TEST_F(Routes, AreNotToldOfAnyMoreWhenTheMonitorHasGone) {
  {
    const RouteMonitor monitor = watch({.settle = 0ms, .least = 0ms, .share = 0});
    ip("route add 198.51.100.0/24 via 192.0.2.254");
  }
  io_.run();  // ends: nothing is watched
  EXPECT_EQ(told_, 0);
}

}  // namespace
}  // namespace homeport::overlay
