#include "agent/network/underlay.h"

#include "overlay/link/link.h"
#include "overlay/link/tap.h"
#include "tests/unit/overlay/link/devices.h"
#include "tests/unit/overlay/link/net_namespace.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace homeport::agent {
namespace {

using testing::HasSubstr;
using testing::UnorderedElementsAre;

policy::IpAddress ip(const char* text) {
  return boost::asio::ip::make_address(text);
}

TEST(InterfacesOf, AreAllButTheTunnelsLoopbacksAndLinkLocalOnes) {
  overlay::NetNamespace inside;
  const std::vector<Interface> interfaces = inside.run([] {
    overlay::create_veth("nic", "peer");
    overlay::set_link_mtu("nic", 9000).value();
    overlay::set_link_up("nic", true).value();
    overlay::add_address("nic", ip("192.0.2.1"), 24);
    overlay::add_address("nic", ip("2001:db8::1"), 64);
    overlay::add_address("nic", ip("fe80::1"), 64);
    // What a userspace switch makes of a bridge, with the host's VTEP.
    overlay::create_tap({.name = "br-phy"}).value();
    overlay::add_address("br-phy", ip("198.51.100.1"), 24);
    overlay::create_vxlan("tunnel", 8472).value();
    overlay::add_address("tunnel", ip("203.0.113.1"), 24);
    overlay::add_address("lo", ip("203.0.113.9"), 32);
    return interfaces_of("hostA").value();
  });
  std::vector<std::string> told;
  for (const Interface& each : interfaces) {
    EXPECT_EQ(each.host, "hostA");
    told.push_back(each.name + " " + each.address.to_string() + " " + std::to_string(each.mtu));
  }
  EXPECT_THAT(told, UnorderedElementsAre("nic 192.0.2.1 9000", "nic 2001:db8::1 9000",
                                         "br-phy 198.51.100.1 1500", "lo 203.0.113.9 65535"));
}

overlay::LinkEvent changed(const char* name, std::uint32_t mtu, bool carrier) {
  overlay::Link link;
  link.name = name;
  link.mtu = mtu;
  link.carrier = carrier;
  return overlay::LinkChanged{link};
}

TEST(InterfacesOf, MayChangeWithTheirDevicesAndWithAddressesOfTheUnderlay) {
  Interface nic;
  nic.name = "nic";
  nic.mtu = 1500;
  nic.state = LinkState::up;
  const std::vector<Interface> told = {nic};
  EXPECT_FALSE(may_change(told, changed("nic", 1500, true)));
  EXPECT_TRUE(may_change(told, changed("nic", 1500, false)));
  EXPECT_TRUE(may_change(told, changed("nic", 9000, true)));
  EXPECT_FALSE(may_change(told, changed("tap", 9000, false)));
  EXPECT_TRUE(may_change(told, overlay::LinkRemoved{7, "nic"}));
  EXPECT_FALSE(may_change(told, overlay::LinkRemoved{8, "tap"}));
  EXPECT_TRUE(may_change(told, overlay::AddressAdded{{7, ip("192.0.2.2"), 24}}));
  EXPECT_TRUE(may_change(told, overlay::AddressRemoved{{7, ip("2001:db8::1"), 64}}));
  EXPECT_FALSE(may_change(told, overlay::AddressAdded{{7, ip("fe80::1"), 64}}));
  EXPECT_TRUE(may_change(told, overlay::EventsLost{}));
}

TEST(TunnelMtuOf, IsOfTheInterfaceThatHasTheVtep) {
  overlay::NetNamespace inside;
  inside.run([] {
    overlay::create_tap({.name = "br-phy"}).value();
    overlay::add_address("br-phy", ip("198.51.100.1"), 24);
    EXPECT_EQ(tunnel_mtu_of(ip("198.51.100.1")).value(), 1430u);
    EXPECT_THAT(tunnel_mtu_of(ip("198.51.100.2")).error().message,
                HasSubstr("no interface of this host has the VTEP address 198.51.100.2"));
  });
}

}  // namespace
}  // namespace homeport::agent
