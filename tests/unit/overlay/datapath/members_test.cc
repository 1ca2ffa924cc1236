// Homeport's ports in a real bridge, and what somebody else does to them between two looks.
#include "overlay/datapath/ovs/members.h"

#include "tests/unit/overlay/link/devices.h"
#include "tests/unit/overlay/link/net_namespace.h"
#include "tests/unit/overlay/vswitch/test_switch.h"

#include <gmock/gmock.h>

namespace homeport::overlay::ovs {
namespace {

using testing::ElementsAre;
using testing::Gt;
using testing::IsEmpty;
using testing::Pair;
using vswitch::BridgePort;

class Members : public testing::Test {
 protected:
  Members() {
    inside_.run([] { create_veth("app1", "peer1"); });
    look();
  }

  /// One look of the datapath; `between` is what somebody does in the middle of it. What was
  /// mended.
  std::vector<std::string> look(const std::function<void()>& between = {}) {
    return inside_.run([&] {
      std::vector<std::string> problems, mended;
      members_.ensure_tunnel(mended).value();
      if (between) between();
      const auto ports = members_.add(desired_, problems, mended).value();
      members_.keep_apart(ports, desired_, problems, mended);
      members_.remove_others(ports, desired_, problems);
      EXPECT_THAT(problems, IsEmpty());
      return mended;
    });
  }
  void delete_port(const std::string& name) { switch_.vsctl({"del-port", "br-int", name}); }

  NetNamespace inside_;
  test::TestSwitch switch_{inside_.fd()};
  const OvsOptions options_{.bridge = switch_.bridge("br-int"), .local_vtep = {}};
  vswitch::Bridge bridge_{options_.bridge};
  BridgeMembers members_{bridge_, options_, "homeport1p"};
  DesiredState desired_{.networks = {{.vni = 42}},
                        .ports = {{"app1", 42, {{2, 0, 0, 0, 0, 1}}, false}},
                        .addresses = {},
                        .vteps = {}};
};

TEST_F(Members, APortThatWasTakenOutIsToldWhenItIsPutBack) {
  EXPECT_THAT(look(), IsEmpty());
  for (const std::string name : {"app1", "homeport0", "homeport0-i", "homeport0-b"}) {
    delete_port(name);
    EXPECT_THAT(look(), ElementsAre("the port " + name + " was missing"));
    EXPECT_THAT(look(), IsEmpty());
  }
}

/// Whoever finds it mends it, whichever part of a look that is.
TEST_F(Members, SoIsOneThatGoesInTheMiddleOfALook) {
  EXPECT_THAT(look([&] { delete_port("app1"); }), ElementsAre("the port app1 was missing"));
  EXPECT_THAT(look([&] { delete_port("homeport0"); }), IsEmpty());
  EXPECT_THAT(look(), ElementsAre("the port homeport0 was missing"));
  EXPECT_THAT(look(), IsEmpty());
}

/// The code points of the outer header, which is what the ports of classes are for.
TEST_F(Members, ATunnelOfAClassIsPutRightAndHasANumber) {
  for (const std::string name : {"homeport0-i", "homeport0-b"}) {
    switch_.vsctl({"set", "Interface", name, "options:tos=8"});
    EXPECT_THAT(look(), ElementsAre("the options of the port " + name + " were others"));
    EXPECT_THAT(look(), IsEmpty());
  }
  const BridgePorts ports = inside_.run([&] { return members_.usable(bridge_.ports().value()); });
  EXPECT_GT(ports.tunnel, 0);
  EXPECT_THAT(ports.class_tunnels, ElementsAre(Pair(policy::TrafficClass::interactive, Gt(0)),
                                               Pair(policy::TrafficClass::bulk, Gt(0))));
  EXPECT_THAT(ports.numbers, ElementsAre(Pair("app1", Gt(0)), Pair("br-int", Gt(0))));
}

/// Of the device as it may be configured at most.
TEST_F(Members, ANameOfFifteenBytesHasRoomForItsClasses) {
  const OvsOptions options{.bridge = options_.bridge,
                           .tunnel_port = "homeport0123456",
                           .udp_port = 4788,
                           .local_vtep = {}};
  vswitch::Bridge bridge{options.bridge};
  BridgeMembers members{bridge, options, "homeport1p"};
  std::vector<std::string> mended;
  inside_.run([&] { members.ensure_tunnel(mended).value(); });
  EXPECT_TRUE(find_port(bridge.ports().value(), "homeport01234-i"));
}

TEST_F(Members, APortThatComesAgainIsAsItIsMadeAndWasNotChangedByAnybody) {
  const auto port = std::exchange(desired_.ports, {});
  EXPECT_THAT(look(), IsEmpty());  // its port was there until the end of it
  desired_.ports = port;
  EXPECT_THAT(look(), IsEmpty());
  switch_.ofctl10({"mod-port", "br-int", "app1", "flood"});
  EXPECT_THAT(look(), ElementsAre("the flooding of the port app1 was changed"));
}

}  // namespace
}  // namespace homeport::overlay::ovs
