#include "overlay/link/source_route.h"

#include "overlay/link/route.h"
#include "tests/unit/overlay/link/devices.h"
#include "tests/unit/overlay/link/net_namespace.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

namespace homeport::overlay {
namespace {

using boost::asio::ip::make_address;

/// Two interfaces with a router behind each, and a third in the subnet of the first.
class SourceRoutes : public testing::Test {
 protected:
  void SetUp() override {
    host_.run([] {
      for (const char* name : {"nic1", "nic2", "nic3"}) {
        create_veth(name, std::string(name) + "p");
        set_link_up(name, true).value();
        set_link_up(std::string(name) + "p", true).value();
      }
      add_address("nic1", make_address("192.0.2.1"), 24);
      add_address("nic1", make_address("2001:db8:1::1"), 64);
      add_address("nic2", make_address("198.51.100.1"), 24);
      add_address("nic2", make_address("2001:db8:2::1"), 64);
      add_address("nic3", make_address("192.0.2.2"), 24);
      add_address("nic3", make_address("2001:db8:1::2"), 64);
    });
    host_.shell(
        "ip route add default via 192.0.2.254 && ip route add default via 198.51.100.254 metric 9 "
        "&&"
        "ip -6 route add default via 2001:db8:1::ff &&"
        "ip -6 route add default via 2001:db8:2::ff metric 2000");
  }

  std::vector<LinkAddress> all() const {
    return host_.run([] {
      auto addresses = list_addresses().value();
      std::erase_if(addresses, [](const LinkAddress& each) {
        return each.address.is_loopback() ||
               (each.address.is_v6() && each.address.to_v6().is_link_local());
      });
      return addresses;
    });
  }

  /// Whether anything had to be changed.
  bool keep(const std::vector<LinkAddress>& addresses) const {
    return host_.run([&] { return keep_source_routes({}, addresses).value(); });
  }

  std::string device_for(const char* to, const char* from) const {
    return host_.run([&]() -> std::string {
      const int device = find_route(make_address(to), make_address(from)).value().device;
      for (const Link& link : list_links().value()) {
        if (link.index == device) return link.name;
      }
      return "none";
    });
  }

  NetNamespace host_;
};

TEST_F(SourceRoutes, WhatComesFromAnAddressLeavesByItsDevice) {
  EXPECT_EQ(device_for("203.0.113.9", "198.51.100.1"), "nic1") << "there is nothing to do";
  EXPECT_EQ(device_for("192.0.2.9", "192.0.2.2"), "nic1") << "there is nothing to do";
  EXPECT_TRUE(keep(all()));
  EXPECT_EQ(device_for("203.0.113.9", "192.0.2.1"), "nic1");
  EXPECT_EQ(device_for("203.0.113.9", "198.51.100.1"), "nic2");
  EXPECT_EQ(device_for("192.0.2.9", "198.51.100.1"), "nic2");
  EXPECT_EQ(device_for("192.0.2.9", "192.0.2.2"), "nic3");
  EXPECT_EQ(device_for("2001:db8:9::9", "2001:db8:1::1"), "nic1");
  EXPECT_EQ(device_for("2001:db8:9::9", "2001:db8:2::1"), "nic2");
  EXPECT_EQ(device_for("2001:db8:1::9", "2001:db8:2::1"), "nic2");
  EXPECT_EQ(device_for("2001:db8:1::9", "2001:db8:1::2"), "nic3");
  EXPECT_FALSE(keep(all())) << "nothing has changed";
}

TEST_F(SourceRoutes, WhereADeviceDoesNotLeadTheMainTableDecides) {
  keep(all());
  EXPECT_EQ(device_for("203.0.113.9", "192.0.2.2"), "nic1");
  EXPECT_EQ(device_for("2001:db8:9::9", "2001:db8:1::2"), "nic1");
}

TEST_F(SourceRoutes, FollowTheMainTable) {
  keep(all());
  host_.shell("ip route add 203.0.113.0/24 via 192.0.2.254 dev nic3 mtu 1400");
  EXPECT_TRUE(keep(all()));
  EXPECT_EQ(device_for("203.0.113.9", "192.0.2.2"), "nic3");
  host_.run([&] {
    EXPECT_EQ(find_route(make_address("203.0.113.9"), make_address("192.0.2.2")).value().mtu,
              1400u);
  });
  host_.shell("ip route change default via 198.51.100.253 dev nic2 metric 9");
  EXPECT_TRUE(keep(all()));
  host_.shell("ip route get 203.0.113.77 from 198.51.100.1 | grep -q 'via 198.51.100.253'");
  host_.shell("ip route del default via 198.51.100.253 && ip route del 203.0.113.0/24");
  EXPECT_TRUE(keep(all()));
  EXPECT_EQ(device_for("203.0.113.9", "192.0.2.2"), "nic1");
  EXPECT_EQ(device_for("203.0.113.9", "198.51.100.1"), "nic1");
  EXPECT_FALSE(keep(all()));
}

TEST_F(SourceRoutes, GoWithTheirAddressesAndLeaveOthersAlone) {
  host_.shell(
      "ip rule add from 198.51.100.1 table 77 priority 100 &&"
      "ip route add 203.0.113.7/32 via 192.0.2.254 table 77");
  keep(all());
  EXPECT_EQ(device_for("203.0.113.7", "198.51.100.1"), "nic1") << "somebody's own rule comes first";
  auto only_first = all();
  std::erase_if(only_first,
                [](const LinkAddress& each) { return each.address != make_address("192.0.2.1"); });
  EXPECT_TRUE(keep(only_first));
  EXPECT_EQ(device_for("203.0.113.9", "198.51.100.1"), "nic1");
  EXPECT_TRUE(keep({}));
  host_.shell("! ip rule | grep 18545 && ! ip -6 rule | grep 18545");
  host_.shell(
      "! ip route show table all | grep 'table 18545' &&"
      "! ip -6 route show table all | grep 'table 18545'");
  host_.shell("ip rule | grep -q '^100:' && ip route show table 77 | grep -q 203.0.113.7");
  EXPECT_FALSE(keep({}));
}

TEST_F(SourceRoutes, OfADeviceThatIsGoneAreForgotten) {
  keep(all());
  host_.run([] { delete_device("nic2").value(); });
  EXPECT_TRUE(keep(all()));
  host_.shell("! ip rule | grep 198.51.100.1 && ! ip -6 rule | grep 2001:db8:2::1");
  EXPECT_FALSE(keep(all()));
}

TEST_F(SourceRoutes, DefaultRoutesLeaveByTheDevicesThatTheMainTableNames) {
  using Devices = std::set<std::string>;
  auto devices = [this] { return host_.run([] { return default_route_devices().value(); }); };
  EXPECT_EQ(devices(), (Devices{"nic1", "nic2"}));
  host_.shell("ip route add 0.0.0.0/1 dev nic3 && ip route add default dev nic3 table 77");
  EXPECT_EQ(devices(), (Devices{"nic1", "nic2"})) << "neither of these is one";
  host_.shell("ip route del default via 198.51.100.254");
  EXPECT_EQ(devices(), (Devices{"nic1", "nic2"})) << "of IPv6 there is still one";
  host_.shell("ip -6 route del default via 2001:db8:2::ff");
  EXPECT_EQ(devices(), (Devices{"nic1"}));
  host_.shell(
      "ip -6 route flush default && ip route flush default &&"
      "ip route add default nexthop via 198.51.100.254 dev nic2 nexthop via 192.0.2.254 dev nic3");
  EXPECT_EQ(devices(), (Devices{"nic2", "nic3"})) << "one route by two";
  host_.shell("ip route del default && ip route add unreachable default");
  EXPECT_EQ(devices(), Devices{});
}

}  // namespace
}  // namespace homeport::overlay
