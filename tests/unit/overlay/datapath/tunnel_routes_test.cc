// The routes that a userspace switch is given.
#include "overlay/datapath/ovs/tunnel_routes.h"

#include <gmock/gmock.h>

namespace homeport::overlay::ovs {
namespace {

using boost::asio::ip::make_address;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::Pair;

TEST(TunnelRoutes, AreReadFromWhatTheSwitchShows) {
  EXPECT_THAT(
      read_given_routes("Route Table:\n"
                        "Cached: 192.0.2.1/32 dev br-phy SRC 192.0.2.1 local\n"
                        "User: 192.0.2.2/32 dev br-phy SRC 192.0.2.1\n"
                        "User: fd00::2/128 dev br-phy SRC fd00::1\n"
                        "Cached: 192.0.2.3/32 dev br-phy SRC 192.0.2.1\n"),
      ElementsAre(Pair(make_address("192.0.2.2"), GivenRoute{"br-phy", make_address("192.0.2.1")}),
                  Pair(make_address("fd00::2"), GivenRoute{"br-phy", make_address("fd00::1")})));
}

TEST(TunnelRoutes, OthersThatAreGivenAreNone) {
  EXPECT_THAT(read_given_routes("User: 192.0.2.0/24 dev br-phy SRC 192.0.2.1\n"
                                "User: 192.0.2.2/32 dev br-phy GW 192.0.2.9 SRC 192.0.2.1\n"
                                "User: 192.0.2.2/32 MARK 7 dev br-phy SRC 192.0.2.1\n"
                                "User: fd00::2/32 dev br-phy SRC fd00::1\n"
                                "User: 192.0.2.2 dev br-phy SRC 192.0.2.1\n"
                                "User: 192.0.2.2/32 dev br-phy SRC nobody\n"
                                "User: nobody/32 dev br-phy SRC 192.0.2.1\n"
                                "User: 192.0.2.2/32 dev\n"
                                "\n"),
              IsEmpty());
}

TEST(TunnelRoutes, HostsOfTheSamePrefixAreOnTheLink) {
  const LinkAddress v4{1, make_address("192.0.2.1"), 25}, v6{1, make_address("fd00::1"), 64};
  EXPECT_TRUE(is_on_link(make_address("192.0.2.127"), v4));
  EXPECT_FALSE(is_on_link(make_address("192.0.2.128"), v4));
  EXPECT_FALSE(is_on_link(make_address("fd00::2"), v4));
  EXPECT_TRUE(is_on_link(make_address("fd00::ffff"), v6));
  EXPECT_FALSE(is_on_link(make_address("fd00:0:0:1::1"), v6));
  EXPECT_FALSE(is_on_link(make_address("192.0.2.1"), v6));
}

}  // namespace
}  // namespace homeport::overlay::ovs
