#include "agent/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace homeport::agent {
namespace {

using boost::asio::ip::make_address;
using boost::asio::ip::tcp;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;
using namespace std::chrono_literals;

constexpr char kLeast[] = "host = \"node-1\"\nunderlay.vtep = \"192.0.2.1\"\n";

std::string problem(const std::string& text) {
  auto config = parse_config(text, "homeportd.toml");
  EXPECT_FALSE(config) << "accepted: " << text;
  return config ? "" : config.error().message;
}

TEST(Config, HasDefaultsForAllButTwoKeys) {
  Config config = parse_config(kLeast, "f").value();
  EXPECT_EQ(config.host, "node-1");
  EXPECT_EQ(config.log_level, "info");
  EXPECT_EQ(config.log_format, "text");
  EXPECT_EQ(config.database.remotes, "unix:/var/lib/homeport/homeport.sock");
  EXPECT_EQ(config.database.probe_interval, 5s);
  EXPECT_EQ(config.tls.private_key, "/etc/homeport/pki/host.key");
  EXPECT_EQ(config.underlay.vtep, make_address("192.0.2.1"));
  EXPECT_THAT(config.underlay.interfaces, IsEmpty());
  EXPECT_FALSE(config.underlay.relay);
  EXPECT_EQ(config.underlay.vxlan_device, "homeport0");
  EXPECT_EQ(config.underlay.vxlan_port, 4790);
  EXPECT_EQ(config.underlay.receive, "fast");
  EXPECT_THAT(config.listen.control, ElementsAre(tcp::endpoint(make_address("192.0.2.1"), 6710)));
  EXPECT_THAT(config.listen.lanes, ElementsAre(tcp::endpoint(make_address("192.0.2.1"), 6711)));
  EXPECT_THAT(config.listen.status, ElementsAre("127.0.0.1:8480"));
  EXPECT_EQ(config.directories.state, "/var/lib/homeport");
  EXPECT_EQ(config.directories.runtime, "/run/homeport/vms");
  EXPECT_EQ(config.limits.moves, 4u);
  EXPECT_EQ(config.limits.dead_peer, 5s);
}

TEST(Config, TakesEveryKey) {
  Config config = parse_config(R"(
host = "node-2.example"
log_level = "debug"
log_format = "json"

[database]
remotes = "ssl:192.0.2.9:6640,ssl:[2001:db8::9]:6640,tcp:192.0.2.10:6640,unix:/run/x.sock"
probe_interval_s = 7

[tls]
ca_certificate = "/p/ca.pem"
certificate = "/p/c.pem"
private_key = "/p/k.pem"

[underlay]
vtep = "2001:db8::1"
interfaces = ["eth1", "wan*", "ib?"]
relay = true
vxlan_device = "vx1"
vxlan_port = 4789
receive = "filtered"
send = "filtered"

[datapath]
kind = "ovs"
bridge = "br7"
database = "/r/db.sock"
management = "/r/br7.mgmt"
datapath_type = "netdev"

[listen]
control = ["192.0.2.1:1", "[2001:db8::1]:65535"]
lanes = ["10.0.0.1:7000"]
status = ["unix:/run/s.sock", "[::1]:80"]

[directories]
state = "/d/state"
runtime = "/d/run"
memory = "/d/mem"
launch_profiles = "/d/profiles"
bpf = "/d/bpf"
guest_cgroup = ""

[limits]
moves = 1
dead_peer_s = 2.5
)",
                               "f")
                      .value();
  EXPECT_EQ(config.host, "node-2.example");
  EXPECT_EQ(config.log_level, "debug");
  EXPECT_EQ(config.log_format, "json");
  EXPECT_EQ(config.database.remotes,
            "ssl:192.0.2.9:6640,ssl:[2001:db8::9]:6640,tcp:192.0.2.10:6640,unix:/run/x.sock");
  EXPECT_EQ(config.database.probe_interval, 7s);
  EXPECT_EQ(config.tls.ca_certificate, "/p/ca.pem");
  EXPECT_EQ(config.tls.certificate, "/p/c.pem");
  EXPECT_EQ(config.tls.private_key, "/p/k.pem");
  EXPECT_EQ(config.underlay.vtep, make_address("2001:db8::1"));
  EXPECT_THAT(config.underlay.interfaces, ElementsAre("eth1", "wan*", "ib?"));
  EXPECT_TRUE(config.underlay.relay);
  EXPECT_EQ(config.underlay.vxlan_device, "vx1");
  EXPECT_EQ(config.underlay.vxlan_port, 4789);
  EXPECT_EQ(config.underlay.receive, "filtered");
  EXPECT_EQ(config.underlay.send, "filtered");
  EXPECT_EQ(config.datapath.kind, "ovs");
  EXPECT_EQ(config.datapath.bridge, "br7");
  EXPECT_EQ(config.datapath.database, "/r/db.sock");
  EXPECT_EQ(config.datapath.management, "/r/br7.mgmt");
  EXPECT_EQ(config.datapath.datapath_type, "netdev");
  EXPECT_THAT(config.listen.control,
              ElementsAre(tcp::endpoint(make_address("192.0.2.1"), 1),
                          tcp::endpoint(make_address("2001:db8::1"), 65535)));
  EXPECT_THAT(config.listen.lanes, ElementsAre(tcp::endpoint(make_address("10.0.0.1"), 7000)));
  EXPECT_THAT(config.listen.status, ElementsAre("unix:/run/s.sock", "[::1]:80"));
  EXPECT_EQ(config.directories.state, "/d/state");
  EXPECT_EQ(config.directories.runtime, "/d/run");
  EXPECT_EQ(config.directories.memory, "/d/mem");
  EXPECT_EQ(config.directories.launch_profiles, "/d/profiles");
  EXPECT_EQ(config.directories.bpf, "/d/bpf");
  EXPECT_EQ(config.directories.guest_cgroup, "");
  EXPECT_EQ(config.limits.moves, 1u);
  EXPECT_EQ(config.limits.dead_peer, 2500ms);
}

TEST(Config, KnowsTheAddressesOfTheDatabase) {
  EXPECT_THAT(addresses_of("ssl:192.0.2.9:6640,unix:/run/x.sock,tcp:[2001:db8::9]:1"),
              ElementsAre(make_address("192.0.2.9"), make_address("2001:db8::9")));
  EXPECT_THAT(addresses_of("unix:/run/x.sock"), ElementsAre());
}

TEST(Config, NamesTheKeysThatAreMissing) {
  EXPECT_EQ(problem(""),
            "homeportd.toml: host is missing\nhomeportd.toml: underlay.vtep is missing");
  EXPECT_EQ(problem("host = \"a\""), "homeportd.toml: underlay.vtep is missing");
}

TEST(Config, NamesLineAndColumnOfWhatIsNotToml) {
  EXPECT_THAT(problem("host = \"a\"\nlog_level = \n"), StartsWith("homeportd.toml:2:13: "));
  EXPECT_THAT(problem("host = \"a\"\n[database\n"), StartsWith("homeportd.toml:2:10: "));
  EXPECT_THAT(problem("host = \"a\"\nx = \"\x1b[2J\"\n"),
              AllOf(StartsWith("homeportd.toml:2:6: "), Not(HasSubstr("\x1b"))));
}

TEST(Config, RefusesAKeyThatIsThereTwice) {
  EXPECT_THAT(problem("host = \"a\"\n\nhost = \"b\"\n"),
              AllOf(StartsWith("homeportd.toml:3:"), HasSubstr("host")));
  EXPECT_THAT(problem(std::string(kLeast) + "[limits]\nmoves = 1\nmoves = 2\n"),
              AllOf(StartsWith("homeportd.toml:5:"), HasSubstr("moves")));
  EXPECT_THAT(problem(std::string(kLeast) + "[limits]\n[limits]\n"),
              AllOf(StartsWith("homeportd.toml:4:"), HasSubstr("limits")));
}

TEST(Config, RefusesKeysItDoesNotKnow) {
  EXPECT_EQ(problem(std::string(kLeast) + "[limits]\nmove = 2\n"),
            "homeportd.toml:4: limits.move: no such key; did you mean moves? known are moves, "
            "dead_peer_s");
  EXPECT_THAT(problem("colour = 1\n" + std::string(kLeast)),
              StartsWith("homeportd.toml:1: colour: no such key; known are host, "));
  EXPECT_THAT(problem(std::string(kLeast) + "[tsl]\n"),
              StartsWith("homeportd.toml:3: tsl: no such key; did you mean tls? known are host, "));
  EXPECT_THAT(problem("log_levle = 1\n" + std::string(kLeast)), HasSubstr("mean log_level?"));
  EXPECT_THAT(problem(std::string(kLeast) + "\"\\u001b[2J\" = 1\n"),
              StartsWith("homeportd.toml:3: ?[2J: no such key; known"));
}

TEST(Config, SaysAllThatIsWrongInTheOrderOfTheLines) {
  EXPECT_EQ(
      problem("[limits]\n"
              "moves = 0\n"
              "speed = 1\n"
              "[listen]\n"
              "status = [\"192.0.2.1:80\",\n"
              "  \"x\"]\n"
              "[database]\n"
              "probe_interval_s = true\n"),
      "homeportd.toml: host is missing\n"
      "homeportd.toml: underlay.vtep is missing\n"
      "homeportd.toml:2: limits.moves: must be a whole number from 1 to 64\n"
      "homeportd.toml:3: limits.speed: no such key; known are moves, dead_peer_s\n" +
          problem(std::string(kLeast) + "\n\nlisten.status = [\"192.0.2.1:80\"]\n") + "\n" +
          problem(std::string(kLeast) + "\n\n\nlisten.status = [\"x\"]\n") +
          "\n"
          "homeportd.toml:8: database.probe_interval_s: must be a number of seconds from 1 to "
          "600");
}

TEST(Config, IsWrittenAsItIsRead) {
  for (const std::string& text :
       {std::string(kLeast), std::string(kLeast) +
                                 "listen.control = [\"[2001:db8::1]:1\", \"10.0.0.1:2\"]\n"
                                 "underlay.interfaces = [\"eth1\", \"wan*\"]\n"
                                 "underlay.relay = true\n"
                                 "directories.guest_cgroup = \"\"\n"
                                 "directories.state = '/a\"b\\c'\n"
                                 "limits.dead_peer_s = 2.5\n"}) {
    const std::string written = to_toml(parse_config(text, "f").value());
    auto again = parse_config(written, "written");
    ASSERT_TRUE(again) << again.error().message << written;
    EXPECT_EQ(to_toml(*again), written);
  }
}

struct Wrong {
  std::string line;
  std::string key;
  std::string says;
};

class WrongValue : public ::testing::TestWithParam<Wrong> {};

TEST_P(WrongValue, IsNamedWithFileLineAndKey) {
  // Below everything else that is needed, so the line is known.
  std::string text = std::string(kLeast) + GetParam().line + "\n";
  if (GetParam().key == "host") text = "underlay.vtep = \"::1\"\n\n" + GetParam().line;
  if (GetParam().key == "underlay.vtep") text = "host = \"a\"\n\n" + GetParam().line + "\n";
  std::string message = problem(text);
  EXPECT_THAT(message, StartsWith("homeportd.toml:3: " + GetParam().key + ": "));
  EXPECT_THAT(message, HasSubstr(GetParam().says));
}

INSTANTIATE_TEST_SUITE_P(
    Config, WrongValue,
    ::testing::Values(
        Wrong{"host = 7", "host", "must be a string in quotes"},
        Wrong{"host = \"a b\"", "host", "\"a b\" is not a host name"},
        Wrong{"log_level = \"loud\"", "log_level",
              "must be one of trace, debug, info, warn, error"},
        Wrong{"database = 1", "database", "must be a section, [database]"},
        Wrong{"database.remotes = \"\"", "database.remotes", "is not ssl:ADDRESS:PORT"},
        Wrong{"database.remotes = \"ssl:192.0.2.9\"", "database.remotes", "ssl:192.0.2.9"},
        Wrong{"database.remotes = \"unix:db.sock\"", "database.remotes", "unix:/PATH"},
        Wrong{"database.remotes = \"tcp:192.0.2.9:1,udp:x:1\"", "database.remotes", "\"udp:x:1\""},
        Wrong{"database.remotes = \"ssl:db.example:6640\"", "database.remotes",
              "\"ssl:db.example:6640\" is not ssl:ADDRESS:PORT"},
        Wrong{"database.remotes = \"tcp:2001:db8::9:1\"", "database.remotes", "is not"},
        Wrong{"database.probe_interval_s = 0", "database.probe_interval_s",
              "must be a number of seconds from 1 to 600"},
        Wrong{"tls.certificate = \"c.pem\"", "tls.certificate", "must be an absolute path"},
        Wrong{"tls.private_key = true", "tls.private_key", "must be a string in quotes"},
        Wrong{"underlay.vtep = \"192.0.2.256\"", "underlay.vtep", "is not an address of a host"},
        Wrong{"underlay.vtep = \"0.0.0.0\"", "underlay.vtep", "is not an address of a host"},
        Wrong{"underlay.vtep = \"ff02::1\"", "underlay.vtep", "is not an address of a host"},
        Wrong{"underlay.vxlan_port = 65536", "underlay.vxlan_port",
              "must be a whole number from 1 to 65535"},
        Wrong{"underlay.vxlan_port = \"4790\"", "underlay.vxlan_port", "must be a whole number"},
        Wrong{"underlay.vxlan_device = \"sixteen-letters-\"", "underlay.vxlan_device",
              "no name for a device"},
        Wrong{"underlay.vxlan_device = \"a/b\"", "underlay.vxlan_device", "no name"},
        Wrong{"underlay.interfaces = [\"eth1\", \"a/b\"]", "underlay.interfaces",
              "\"a/b\" is no name"},
        Wrong{"underlay.interfaces = [\"\"]", "underlay.interfaces", "is no name"},
        Wrong{"underlay.interfaces = [\"sixteen-letters-\"]", "underlay.interfaces",
              "1 to 15 characters"},
        Wrong{"underlay.interfaces = \"eth1\"", "underlay.interfaces", "must be a list"},
        Wrong{"underlay.relay = \"yes\"", "underlay.relay", "must be true or false"},
        Wrong{"underlay.relay = 1", "underlay.relay", "must be true or false"},
        Wrong{"datapath.kind = \"xdp\"", "datapath.kind", "ebpf"},
        Wrong{"datapath.bridge = \"a/b\"", "datapath.bridge", "no name"},
        Wrong{"datapath.database = \"db.sock\"", "datapath.database", "absolute path"},
        Wrong{"datapath.datapath_type = \"dpdk\"", "datapath.datapath_type", "netdev"},
        Wrong{"listen.control = \"192.0.2.1:1\"", "listen.control", "must be a list of strings"},
        Wrong{"listen.control = []", "listen.control", "must be a list of strings"},
        Wrong{"listen.control = [1]", "listen.control", "must be a list of strings"},
        Wrong{"listen.control = [\"192.0.2.1\"]", "listen.control",
              "is not an address of this host and a port"},
        Wrong{"listen.control = [\"node-1:6710\"]", "listen.control",
              "is not an address of this host and a port"},
        Wrong{"listen.lanes = [\"192.0.2.1:0\"]", "listen.lanes",
              "is not an address of this host and a port"},
        Wrong{"listen.lanes = [\"192.0.2.1:1\", \"[::]:1\"]", "listen.lanes", "[::]:1"},
        Wrong{"listen.lanes = [\"2001:db8::1:70\"]", "listen.lanes",
              "is not an address of this host and a port"},
        Wrong{"listen.status = [\"192.0.2.1:80\"]", "listen.status", "loopback"},
        Wrong{"directories.state = \"state\"", "directories.state", "must be an absolute path"},
        Wrong{"directories.guest_cgroup = \"x\"", "directories.guest_cgroup", "absolute path"},
        Wrong{"limits.moves = 0", "limits.moves", "must be a whole number from 1 to 64"},
        Wrong{"limits.moves = -1", "limits.moves", "must be a whole number from 1 to 64"},
        Wrong{"log_format = \"xml\"", "log_format", "must be one of text, json"},
        Wrong{"log_format = 1", "log_format", "must be a string in quotes"},
        Wrong{"limits.moves = 1.0", "limits.moves", "must be a whole number from 1 to 64"},
        Wrong{"limits.dead_peer_s = nan", "limits.dead_peer_s", "must be a number of seconds"},
        Wrong{"limits.dead_peer_s = true", "limits.dead_peer_s", "must be a number of seconds"},
        Wrong{"limits = [1]", "limits", "must be a section, [limits]"},
        Wrong{"limits.dead_peer_s = \"5\"", "limits.dead_peer_s",
              "must be a number of seconds from 1 to 600"}));

TEST(Config, NamesTheFileItCannotRead) {
  auto config = load_config("/nowhere/homeportd.toml");
  ASSERT_FALSE(config);
  EXPECT_THAT(config.error().message, HasSubstr("/nowhere/homeportd.toml: No such file"));
  // A directory opens, but does not read.
  config = load_config(std::filesystem::temp_directory_path());
  ASSERT_FALSE(config);
  EXPECT_THAT(config.error().message, HasSubstr("Is a directory"));
}

}  // namespace
}  // namespace homeport::agent
