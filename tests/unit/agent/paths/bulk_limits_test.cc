// What the controller says that bulk traffic may take is what the kernel lets it.
#include "tests/unit/agent/paths/controlled_host.h"

#include <cstdlib>

namespace homeport::agent::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using namespace std::chrono_literals;

class BulkLimitsTest : public ControlledHostTest {
 protected:
  /// In Mbit/s; 0: none.
  void put(const std::string& host, const std::string& device, const std::string& address,
           int limit) {
    server->transact(fmt::format(
        R"({{"op":"insert","table":"Interface","row":{{"host":"{}","name":"{}","address":"{}",)"
        R"("speed_mbps":1000,"mtu":1500,"state":"up","bulk_limit_mbps":{}}}}})",
        host, device, address, value(limit)));
  }
  void change(const std::string& device, int limit) {
    server->transact(fmt::format(R"({{"op":"update","table":"Interface","where":[["name","==",)"
                                 R"("{}"]],"row":{{"bulk_limit_mbps":{}}}}})",
                                 device, value(limit)));
  }
  static std::string value(int limit) {
    return limit == 0 ? R"(["set",[]])" : std::to_string(limit);
  }

  static bool tc_shows(const std::string& what, const std::string& device,
                       const std::string& text) {
    return std::system(
               fmt::format("tc {} show dev {} | grep -q '{}'", what, device, text).c_str()) == 0;
  }
  static bool limited(const std::string& device, int limit) {
    return tc_shows("class", device, fmt::format("4850:2 root .*rate {}Mbit", limit));
  }
  void wait_limit(const std::string& device, int limit) {
    wait([&] { return limited(device, limit); }, "the limit");
  }
};

TEST_F(BulkLimitsTest, AreThoseOfThisHostsInterfaces) {
  in_namespace([&] {
    put("hostB", "eth0", "192.0.2.7", 3);
    put("hostA", "eth1", "198.51.100.1", 5);
    start();
    wait_limit("eth1", 5);
    EXPECT_TRUE(tc_shows("qdisc", "eth0", "noqueue"));
    change("eth1", 7);
    wait_limit("eth1", 7);
    put("hostA", "eth1", "2001:db8::1", 0);  // an address that has come since
    put("hostA", "eth7", "203.0.113.1", 9);
    wait([&] { return agent->database.contents().interfaces.size() == 4; }, "the rows");
    EXPECT_TRUE(limited("eth1", 7));
    overlay::create_veth("eth7", "peer7");  // a device that has
    wait_limit("eth7", 9);
    change("eth1", 0);
    wait([&] { return tc_shows("qdisc", "eth1", "noqueue"); }, "no limit");
    EXPECT_TRUE(limited("eth7", 9));
    EXPECT_THAT(agent->limits.problems(), IsEmpty());
  });
}

TEST_F(BulkLimitsTest, StayWithoutAnAgentAndAreFoundByTheNext) {
  in_namespace([&] {
    put("hostA", "eth0", "192.0.2.1", 4);
    put("hostA", "eth1", "198.51.100.1", 5);
    start();
    wait_limit("eth1", 5);
    agent.reset();
    EXPECT_TRUE(limited("eth0", 4));
    EXPECT_TRUE(limited("eth1", 5));
    change("eth1", 0);
    start();
    wait([&] { return tc_shows("qdisc", "eth1", "noqueue"); }, "no limit");
    EXPECT_TRUE(limited("eth0", 4));
  });
}

TEST_F(BulkLimitsTest, AreMended) {
  in_namespace([&] {
    put("hostA", "eth1", "198.51.100.1", 5);
    ControlledAgent::Settings settings;
    settings.limits_interval = 20ms;
    start(settings);
    wait_limit("eth1", 5);
    ASSERT_EQ(std::system("tc qdisc del dev eth1 root"), 0);
    wait_limit("eth1", 5);
  });
}

TEST_F(BulkLimitsTest, GiveWayToAQdiscThatSomebodyHasSet) {
  in_namespace([&] {
    ASSERT_EQ(std::system("tc qdisc add dev eth0 root handle 7: pfifo limit 500"), 0);
    put("hostA", "eth0", "192.0.2.1", 4);
    start();
    wait([&] { return !agent->limits.problems().empty(); }, "a problem");
    EXPECT_THAT(agent->limits.problems(), ElementsAre(HasSubstr("a qdisc pfifo 7:")));
    EXPECT_TRUE(tc_shows("qdisc", "eth0", "pfifo 7: root"));
    change("eth0", 0);
    wait([&] { return agent->limits.problems().empty(); }, "no problem");
    EXPECT_TRUE(tc_shows("qdisc", "eth0", "pfifo 7: root"));
  });
}

}  // namespace
}  // namespace homeport::agent::test
