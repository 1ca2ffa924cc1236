// homeport path and homeport interface, against a real ovsdb-server.
#include "agent/control/path_policy.h"
#include "policy/path/end_text.h"
#include "tests/unit/agent/cli/with_database.h"

namespace homeport::agent {
namespace {

namespace asio = boost::asio;
namespace json = boost::json;
using policy::TrafficClass;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class PathCommands : public test::WithDatabase {
 protected:
  void SetUp() override {
    WithDatabase::SetUp();
    report("hostA", {{"eth0", "192.0.2.1"}, {"eth0", "2001:db8::1"}, {"eth1", "198.51.100.1"}});
    report("hostB", {{"eth0", "192.0.2.2"}, {"eth1", "198.51.100.2"}});
    checked("interface set hostA/eth1 --label fiber");
  }

  void report(const std::string& host,
              const std::vector<std::pair<const char*, const char*>>& addresses) {
    std::vector<Interface> rows;
    for (const auto& [name, address] : addresses) {
      Interface row;
      row.host = host;
      row.name = name;
      row.address = asio::ip::make_address(address);
      row.speed_mbps = 1000;
      row.mtu = 1500;
      row.state = LinkState::up;
      rows.push_back(row);
    }
    on_database([&](DatabaseClient& client) -> asio::awaitable<policy::Result<int>> {
      auto done = co_await client.database().publish_interfaces(host, rows);
      if (!done) co_return done.error();
      co_return 0;
    });
  }

  std::string table() { return checked("path policy").out; }
  /// What is asked of a class, as JSON.
  json::value asked(const char* traffic_class) {
    const json::value all = checked("path policy --json").json();
    for (const json::value& one : all.as_array()) {
      if (one.at("class") == traffic_class) return one;
    }
    return nullptr;
  }
};

TEST_F(PathCommands, ShowNothingWhereNothingIsAsked) {
  EXPECT_EQ(table(), "CLASS  ASKED  VALUE\n");
  const json::value bulk = asked("bulk");
  EXPECT_EQ(bulk.at("pinned").as_array().size(), 0u);
  EXPECT_TRUE(bulk.at("relays").is_null());
  EXPECT_TRUE(bulk.at("detection").is_null());
}

TEST_F(PathCommands, PinAndUnpin) {
  EXPECT_EQ(checked("path pin bulk hostA/eth1 hostB/eth1").out,
            "bulk traffic is pinned to hostA/eth1 hostB/eth1.\n");
  EXPECT_EQ(checked("path pin bulk hostB/eth1 hostA/eth1").out,
            "bulk traffic is pinned to hostB/eth1 hostA/eth1. It was so already.\n");
  checked("path pin all */label:fiber hostB/*");
  EXPECT_EQ(table(),
            "CLASS        ASKED  VALUE\n"
            "interactive  pin    */label:fiber hostB/*\n"
            "default      pin    */label:fiber hostB/*\n"
            "bulk         pin    */label:fiber hostB/*\n"
            "bulk         pin    hostA/eth1 hostB/eth1\n");
  EXPECT_EQ(asked("bulk").at("pinned").at(1), "hostA/eth1 hostB/eth1");
  on_database([&](DatabaseClient& client) -> asio::awaitable<policy::Result<int>> {
    EXPECT_EQ(path_policy(client.contents(), "hostA", "hostB")[TrafficClass::bulk].pinned.size(),
              2u);
    EXPECT_EQ(path_policy(client.contents(), "hostA", "hostC")[TrafficClass::bulk].pinned.size(),
              0u);
    co_return 0;
  });
  checked("path unpin all hostB/* */label:fiber");
  checked("path unpin bulk hostA/eth1 hostB/eth1");
  EXPECT_THAT(checked("path unpin bulk hostA/eth1 hostB/eth1").out, HasSubstr("It was so already"));
  EXPECT_EQ(table(), "CLASS  ASKED  VALUE\n");
}

TEST_F(PathCommands, RefuseWhatNoHostHasReported) {
  refused("path pin bulk hostX/eth0 hostB/eth0", "did you mean hostA or hostB or hostC?");
  refused("path pin bulk hostA/eth0 hostB/eth2", "did you mean hostB/eth0");
  refused("path pin bulk hostA/eth0 hostA/eth1", "Both ends are at host hostA");
  refused("path pin bulk hostA/eth0 hostA/eth1 --force", "Both ends are at host hostA");
  refused("path forbid bulk */eth7", "There is no interface \"*/eth7\"");
  refused("path forbid bulk hostB/label:fiber",
          "`homeport interface set HOST/INTERFACE --label fiber`");
  refused("path forbid bulk */*", "every interface of every host");
  refused("path prefer bulk fibre", "did you mean */label:fiber?");
  refused("path prefer bulk fibre", "With --force");
  EXPECT_EQ(table(), "CLASS  ASKED  VALUE\n") << "nothing half-written";
  checked("path prefer bulk fibre --force");
  checked("path forbid bulk hostX/eth0 --force");
  checked("path pin bulk hostX/* hostY/* --force");
  checked("path permit bulk hostX/eth0");
  checked("path unprefer bulk fibre");
  EXPECT_EQ(table(),
            "CLASS  ASKED  VALUE\n"
            "bulk   pin    hostX/* hostY/*\n");
}

TEST_F(PathCommands, PreferForbidAndTakeBack) {
  checked("path prefer interactive fiber");
  checked("path prefer interactive fiber 7");
  checked("path forbid default hostA/eth0");
  checked("path forbid default hostA/eth0");
  checked("path forbid default */label:fiber");
  EXPECT_EQ(table(),
            "CLASS        ASKED   VALUE\n"
            "interactive  prefer  fiber 7\n"
            "default      forbid  */label:fiber\n"
            "default      forbid  hostA/eth0\n");
  EXPECT_EQ(asked("interactive").at("preferred").at("fiber"), 7);
  EXPECT_THAT(checked("path permit default hostA/eth0 --json").out, Not(HasSubstr("hostA/eth0")));
  checked("path unprefer interactive fiber");
  EXPECT_EQ(table(),
            "CLASS    ASKED   VALUE\n"
            "default  forbid  */label:fiber\n");
}

TEST_F(PathCommands, AssignPortsToOneClassAndTakeThemBack) {
  EXPECT_EQ(checked("path assign interactive tcp:22").out,
            "What has a port of tcp:22 is interactive traffic.\n");
  EXPECT_THAT(checked("path assign interactive tcp:22").out, HasSubstr("It was so already"));
  checked("path assign bulk udp:5000-5999");
  checked("path assign bulk sctp:7");
  EXPECT_EQ(table(),
            "CLASS        ASKED  VALUE\n"
            "interactive  ports  tcp:22\n"
            "bulk         ports  udp:5000-5999\n"
            "bulk         ports  sctp:7\n");
  EXPECT_EQ(asked("bulk").at("ports").at(1), "sctp:7");
  EXPECT_EQ(asked("default").at("ports").as_array().size(), 0u);
  // Another class has them now, and the first does not.
  checked("path assign default tcp:22");
  checked("path unassign bulk sctp:7");
  EXPECT_THAT(checked("path unassign bulk sctp:7").out, HasSubstr("It was so already"));
  EXPECT_EQ(table(),
            "CLASS    ASKED  VALUE\n"
            "default  ports  tcp:22\n"
            "bulk     ports  udp:5000-5999\n");
  for (int port = 1; port <= 31; ++port) {
    checked("path assign bulk tcp:" + std::to_string(port * 100));
  }
  refused("path assign bulk tcp:7",
          "32 ranges of ports are bulk traffic already, which is the most");
  checked("path assign bulk tcp:3100");
  EXPECT_EQ(asked("bulk").at("ports").as_array().size(), 32u);
}

TEST_F(PathCommands, LimitPieceByPiece) {
  checked("path limit interactive --rtt 0.5 --loss 0.25 --bandwidth 100 --mtu 1400");
  checked("path limit interactive --cost 20 --no-relays --detection fast --rtt 50");
  EXPECT_EQ(table(),
            "CLASS        ASKED      VALUE\n"
            "interactive  rtt        at most 50 ms\n"
            "interactive  loss       at most 0.25%\n"
            "interactive  bandwidth  at least 100 Mbit/s\n"
            "interactive  mtu        at least 1400 bytes\n"
            "interactive  cost       at most 20 for both ends\n"
            "interactive  relays     not allowed\n"
            "interactive  detection  fast\n");
  const json::value row = asked("interactive");
  EXPECT_EQ(row.at("most_rtt_us"), 50'000);
  EXPECT_EQ(row.at("most_loss_ppm"), 2'500);
  EXPECT_EQ(row.at("least_bandwidth_mbps"), 100);
  EXPECT_EQ(row.at("relays"), false);
  checked("path limit interactive --clear rtt --clear relays --loss 0 --detection default");
  checked("path limit interactive --clear cost --clear mtu --clear bandwidth");
  EXPECT_EQ(table(),
            "CLASS        ASKED      VALUE\n"
            "interactive  loss       at most 0%\n"
            "interactive  detection  default\n");
  checked("path limit all --clear all --relays");
  EXPECT_THAT(checked("path limit all --relays").out, HasSubstr("It was so already"));
  EXPECT_EQ(table(),
            "CLASS        ASKED   VALUE\n"
            "interactive  relays  allowed\n"
            "default      relays  allowed\n"
            "bulk         relays  allowed\n");
}

TEST_F(PathCommands, NameWhatIsWrongInTheDatabase) {
  on_database([&](DatabaseClient& client) -> asio::awaitable<policy::Result<int>> {
    const std::vector<TrafficClass> classes(1, TrafficClass::bulk);
    std::function<void(PathPolicyRow&)> change = [](PathPolicyRow& row) {
      row.forbidden = {{.host = "a b"}};
    };
    auto done = co_await client.database().change_path_policies(classes, change);
    if (!done) co_return done.error();
    co_return 0;
  });
  const test::Ran ran = checked("path policy");
  EXPECT_EQ(ran.out, "CLASS  ASKED  VALUE\n");
  EXPECT_THAT(ran.err, AllOf(HasSubstr("homeport: table Path_Policy"), HasSubstr("\"a b/*\"")));
}

TEST_F(PathCommands, InterfacesAreLabelledPricedAndDenied) {
  EXPECT_EQ(
      checked("interface list").out,
      "HOST   INTERFACE  ADDRESS             SPEED   MTU  STATE  LABEL  COST  BULK LIMIT  USE\n"
      "hostA  eth0       192.0.2.1     1000 Mbit/s  1500  up     -         0           -  as "
      "configured\n"
      "hostA  eth0       2001:db8::1   1000 Mbit/s  1500  up     -         0           -  as "
      "configured\n"
      "hostA  eth1       198.51.100.1  1000 Mbit/s  1500  up     fiber     0           -  as "
      "configured\n"
      "hostB  eth0       192.0.2.2     1000 Mbit/s  1500  up     -         0           -  as "
      "configured\n"
      "hostB  eth1       198.51.100.2  1000 Mbit/s  1500  up     -         0           -  as "
      "configured\n");
  const test::Ran set = checked("interface set hostA/eth0 --cost 10 --label wan --deny");
  EXPECT_THAT(set.out, AllOf(HasSubstr("2001:db8::1"), Not(HasSubstr("hostB"))));
  json::value listed = checked("interface list --json").json();
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(listed.at(static_cast<std::size_t>(i)).at("cost"), 10);
    EXPECT_EQ(listed.at(static_cast<std::size_t>(i)).at("label"), "wan");
    EXPECT_EQ(listed.at(static_cast<std::size_t>(i)).at("allowed"), false);
  }
  EXPECT_EQ(listed.at(3).at("cost"), 0);
  checked("interface set hostA/eth0 --no-label --allow");
  listed = checked("interface list --json").json();
  EXPECT_EQ(listed.at(0).at("cost"), 10) << "not given: as it was";
  EXPECT_EQ(listed.at(0).at("label"), "");
  EXPECT_EQ(listed.at(0).at("allowed"), true);
  EXPECT_TRUE(listed.at(0).at("bulk_limit_mbps").is_null());
  EXPECT_THAT(checked("interface set hostA/eth0 --bulk-limit 500").out,
              HasSubstr(" 500 Mbit/s  allowed\n"));
  listed = checked("interface list --json").json();
  EXPECT_EQ(listed.at(0).at("bulk_limit_mbps"), 500);
  EXPECT_EQ(listed.at(1).at("bulk_limit_mbps"), 500);
  EXPECT_TRUE(listed.at(2).at("bulk_limit_mbps").is_null());
  checked("interface set hostA/eth0 --no-bulk-limit");
  EXPECT_TRUE(checked("interface list --json").json().at(0).at("bulk_limit_mbps").is_null());
  checked("interface set hostA/eth0 --as-configured");
  listed = checked("interface list --json").json();
  EXPECT_TRUE(listed.at(0).at("allowed").is_null());
  refused("interface set hostA/eth2 --cost 1", "did you mean hostA/eth0 or hostA/eth1?");
  refused("interface set hostX/eth2 --cost 1", "There is no host \"hostX\"");
}

TEST_F(PathCommands, ApplicationsHaveAClass) {
  checked("network add net1 --vni 100");
  checked(
      "app add vm1 --driver netdev --device cli0 --network net1 --mac 02:00:00:00:00:01 "
      "--ip 10.1.0.10 --host hostA --class interactive");
  EXPECT_THAT(checked("app show vm1").out,
              HasSubstr("BINDING  NETWORK  CLASS        MAC                PRIOR ADDRESSES"));
  auto traffic_class = [&] {
    return checked("app show vm1 --json").json().at("bindings").at(0).at("traffic_class");
  };
  EXPECT_EQ(traffic_class(), "interactive");
  EXPECT_EQ(checked("app set vm1 --class bulk").out, "The traffic of vm1 is of class bulk.\n");
  EXPECT_EQ(traffic_class(), "bulk");
  checked("app set vm1 --traffic-class default");
  EXPECT_EQ(traffic_class(), "");
  EXPECT_THAT(checked("app show vm1").out, HasSubstr("vm1      net1     default  02:"));
  refused("app set vm2 --class bulk", "did you mean vm1?");
}

}  // namespace
}  // namespace homeport::agent
