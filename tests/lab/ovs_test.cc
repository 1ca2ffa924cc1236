// A fleet whose hosts differ: one has Open vSwitch for a datapath, the others eBPF. Applications
// move between them, its agent is killed, somebody meddles with its bridge.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <boost/json/parse.hpp>

#include <regex>
#include <set>
#include <sstream>

#include "tests/lab/fleet.h"
#include "tests/lab/programs.h"
#include "tests/lab/wait.h"

namespace homeport::lab {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr const char* kOurs = "cookie=0x4850000000000000/0xffff000000000000";
constexpr const char* kMended = "the datapath was changed from outside and is mended";

class OpenVSwitchHost : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    fleet_ = std::make_unique<Fleet>(
        FleetOptions{.name = "ovs", .containers = true, .open_vswitch = "A"});
  }
  static void TearDownTestSuite() { fleet_.reset(); }

  void TearDown() override {
    fleet_->lab().start_agents();
    fleet_->wait_settled(fleet_->wait_somewhere());
    EXPECT_THAT(fleet_->lab().complaints({kMended, "control database"}), IsEmpty());
  }

  /// At a move the packets that meet a changed flow wait for ovs-vswitchd to read it, and those
  /// behind them need not: docs/ovs-datapath.md.
  static void expect_whole(Flow& flow, std::uint64_t switches) {
    flow.wait_progress(500, 20s);
    const FlowReport report = flow.finish();
    EXPECT_EQ(report.lost, 0u) << report.to_string();
    EXPECT_EQ(report.duplicated, 0u) << report.to_string();
    EXPECT_LE(report.reordered, switches * 100) << report.to_string();
    EXPECT_EQ(report.unreachable, 0u) << report.to_string();
    EXPECT_EQ(report.switches, switches) << report.to_string();
  }

  /// Until the container is on host A, whose datapath that is.
  static Host& bring_home() {
    if (&fleet_->wait_somewhere() != &fleet_->a()) {
      EXPECT_EQ(fleet_->move(fleet_->a()).status, 0);
      fleet_->wait_settled(fleet_->a());
    }
    return fleet_->a();
  }

  /// Flows of the bridge without their counts and ages.
  static std::set<std::string> flows(const std::string& match) {
    static const std::regex changing("(duration|n_packets|n_bytes|idle_age|hard_age)=[^,]*, ");
    std::istringstream dump(fleet_->a().open_vswitch().ofctl("dump-flows", "br-int", match));
    std::set<std::string> all;
    for (std::string line; std::getline(dump, line);) {
      if (line.find("cookie=") != line.npos) all.insert(std::regex_replace(line, changing, ""));
    }
    return all;
  }

  static std::unique_ptr<Fleet> fleet_;
};

std::unique_ptr<Fleet> OpenVSwitchHost::fleet_;

TEST_F(OpenVSwitchHost, SaysWhatItsDatapathIs) {
  EXPECT_THAT(fleet_->a().get("/v1/datapath"), HasSubstr(R"("kind":"ovs")"));
  EXPECT_THAT(fleet_->b().get("/v1/datapath"), HasSubstr(R"("kind":"ebpf")"));
}

TEST_F(OpenVSwitchHost, AContainerMovesFromAndToItUnderAFlow) {
  for (const char* address : {"10.1.0.5", "fd01::5"}) {
    auto flow = fleet_->start_flow(2000, address);
    for (int i = 0; i < 2; ++i) {
      Host& there = fleet_->other_than(fleet_->wait_somewhere());
      const MoveOutcome outcome = fleet_->move(there);
      ASSERT_EQ(outcome.status, 0) << outcome.err;
      fleet_->wait_settled(there);
      flow->wait_progress(200, 20s);
    }
    expect_whole(*flow, 2);
  }
}

TEST_F(OpenVSwitchHost, ItsAgentIsKilledAndStartsAgainUnderAFlow) {
  Host& host = bring_home();
  const auto before = flows(kOurs);
  auto flow = fleet_->start_flow(2000);
  for (int i = 0; i < 3; ++i) {
    host.kill_agent();
    flow->wait_progress(1000, 20s);
    host.start_agent();
    host.wait_ready(30s);
    flow->wait_progress(1000, 20s);
  }
  expect_whole(*flow, 0);
  // Read back, and nothing was wrong with it.
  EXPECT_EQ(flows(kOurs), before);
  EXPECT_EQ(host.agent().log_tail(1000).find(kMended), std::string::npos);
}

TEST_F(OpenVSwitchHost, WhatIsMeddledWithIsMendedAndTheRestLeftAlone) {
  Host& host = bring_home();
  OpenVSwitch& bridge = host.open_vswitch();
  host.inside().ip("link add theirs type veth peer name theirs-peer");
  bridge.vsctl("add-port br-int theirs");
  bridge.ofctl("add-flow", "br-int", "table=0,priority=5,cookie=0x77,ip,actions=drop");
  bridge.ofctl("add-flow", "br-int",
               "table=202,priority=9,cookie=0x77,dl_dst=06:00:00:00:00:01,actions=drop");
  const auto theirs = flows("cookie=0x77/-1"), ours = flows(kOurs);

  // Those of the container's address.
  std::size_t log = host.agent().log_size();
  bridge.ofctl("del-flows", "br-int", "dl_dst=" + fleet_->options().mac);
  host.agent().wait_for_log("flows of the address " + fleet_->options().mac, 5s, log);
  EXPECT_EQ(flows(kOurs), ours);

  // All of Homeport's.
  log = host.agent().log_size();
  bridge.ofctl("del-flows", "br-int", kOurs);
  host.agent().wait_for_log(kMended, 5s, log);
  EXPECT_EQ(flows(kOurs), ours);

  // Its ports.
  for (const char* port : {kContainerDevice, "homeport0"}) {
    log = host.agent().log_size();
    bridge.vsctl(std::string("del-port br-int ") + port);
    host.agent().wait_for_log(std::string("the port ") + port + " was missing", 5s, log);
    EXPECT_THAT(bridge.vsctl("list-ports br-int"), HasSubstr(port));
  }

  EXPECT_EQ(flows("cookie=0x77/-1"), theirs);
  EXPECT_THAT(bridge.vsctl("list-ports br-int"), HasSubstr("theirs"));
  auto flow = fleet_->start_flow(2000);
  expect_whole(*flow, 0);
  bridge.vsctl("del-port br-int theirs");
  bridge.ofctl("del-flows", "br-int", "cookie=0x77/-1");
  host.inside().ip("link del theirs");
}

/// For each of them ovs-vswitchd forgets its tunnels for a moment, and for each flow that changes
/// it looks again at what it does with packets.
TEST_F(OpenVSwitchHost, DevicesOfItsHostComeAndGoAndItsTunnelsLoseNothing) {
  Host& host = bring_home();
  OpenVSwitch& bridge = host.open_vswitch();
  auto in = fleet_->start_flow(1000);
  Flow out(*fleet_->containers().front(), "10.1.0.2", {&fleet_->lab().client()},
           fleet_->lab().directory() / "flow-out", 1000);
  out.wait_progress(200, 20s);
  for (int i = 0; i < 60; ++i) {
    host.inside().ip("link add theirs type veth peer name theirs-peer");
    bridge.ofctl("add-flow", "br-int", "table=99,cookie=0x77,actions=drop");
    host.inside().ip("link del theirs");
    bridge.ofctl("del-flows", "br-int", "cookie=0x77/-1");
  }
  in->wait_progress(200, 20s);
  out.wait_progress(200, 20s);
  for (const FlowReport& report : {in->finish(), out.finish()}) {
    EXPECT_EQ(report.lost, 0u) << report.to_string();
    EXPECT_EQ(report.duplicated, 0u) << report.to_string();
  }
  // By routes that its agent has given it, and gives it again.
  const std::size_t log = host.agent().log_size();
  const std::string there = fleet_->c().underlay_address();
  EXPECT_THAT(bridge.appctl("ovs/route/show"), HasSubstr("User: " + there + "/32 dev br-phy"));
  bridge.appctl("ovs/route/del " + there + "/32");
  host.agent().wait_for_log("the way of ovs-vswitchd to the host " + there + " was missing", 5s,
                            log);
  EXPECT_THAT(bridge.appctl("ovs/route/show"), HasSubstr("User: " + there + "/32 dev br-phy"));
}

TEST_F(OpenVSwitchHost, ItsSwitchHangsAndTheAgentAnswersMeanwhile) {
  Host& host = bring_home();
  const auto ours = flows(kOurs);
  std::size_t log = host.agent().log_size();
  host.open_vswitch().freeze();
  // From the first moment, while the agent looks after its flows too: every 3 s.
  for (const auto until = Clock::now() + 5s; Clock::now() < until;) {
    const auto began = Clock::now();
    EXPECT_THAT(host.get("/v1/status"), HasSubstr(" 200 "));
    // What it is asked as it freezes is waited for, for 3 s.
    EXPECT_LT(Clock::now() - began, 4s);
  }
  host.agent().wait_for_log("ovs-vswitchd has not answered for a while", 20s, log);
  for (int i = 0; i < 20; ++i) {
    const auto began = Clock::now();
    EXPECT_THAT(host.get("/v1/datapath"), HasSubstr("has not answered for a while"));
    EXPECT_LT(Clock::now() - began, 1500ms);
  }
  host.open_vswitch().go_on();
  wait_until([&] { return host.get("/v1/datapath").find("has not answered") == std::string::npos; },
             20s, "the datapath to be well again");
  EXPECT_EQ(flows(kOurs), ours);
  auto flow = fleet_->start_flow(2000);
  expect_whole(*flow, 0);
}

/// `homeport trace --json` by the agent of that host.
boost::json::value trace(const Host& host, const std::string& arguments) {
  Command command{homeport_program(), "trace"};
  for (auto& word : words(arguments + " --json")) command.push_back(std::move(word));
  const CommandResult result = run_command(command, {.inside = &host.inside()});
  EXPECT_EQ(result.status, 0) << result.out << result.err;
  return boost::json::parse(result.out);
}
std::vector<std::string> path(const boost::json::value& trace) {
  std::vector<std::string> path;
  for (const boost::json::value& host : trace.at("hosts").as_array()) {
    path.push_back(std::string(host.at("host").as_string()) + " " +
                   std::string(host.at("end").as_string()));
  }
  return path;
}

TEST_F(OpenVSwitchHost, ATraceNamesTheFlowsThatDecide) {
  Host& here = bring_home();
  for (const char* address : {"10.1.0.5", "fd01::5"}) {
    EXPECT_THAT(path(trace(fleet_->c(), std::string("client ") + address)),
                ElementsAre("hostC sent", "hostA delivered"));
    const auto told = trace(here, std::string("vm1 ") + (*address == 'f' ? "fd01::2" : "10.1.0.2"));
    ASSERT_THAT(path(told), ElementsAre("hostA sent", "hostC delivered"));
    // Every flow that is named is there, by its table, priority, match and cookie.
    std::vector<std::string> steps;
    for (const auto& step : told.at("hosts").at(0).at("steps").as_array()) {
      steps.emplace_back(step.at("step").as_string());
      std::smatch named;
      const std::string entry(step.at("entry").as_string());
      ASSERT_TRUE(std::regex_match(
          entry, named,
          std::regex("table=([0-9]+) cookie=(0x[0-9a-f]+) (priority=[0-9]+)(,(.*))?")))
          << entry;
      const std::string dump = here.open_vswitch().ofctl(
          "dump-flows", "br-int", "table=" + named[1].str() + ",cookie=" + named[2].str() + "/-1");
      EXPECT_THAT(dump, HasSubstr(named[3].str() + named[4].str())) << entry;
    }
    EXPECT_THAT(steps, ElementsAre("port", "neighbor", "source", "destination", "delivery"));
  }
  EXPECT_THAT(path(trace(here, "vm1 10.1.0.2 --length 9000")), ElementsAre("hostA answered"));
  EXPECT_THAT(path(trace(here, "vm1 10.1.0.2 --length 9000 --may-fragment")),
              ElementsAre("hostA sent", "hostC delivered"));
  const auto nobody = trace(here, "vm1 10.1.0.99");
  ASSERT_THAT(path(nobody), ElementsAre("hostA dropped"));
  EXPECT_EQ(nobody.at("hosts").at(0).at("counters"), (boost::json::array{"drop_unknown_neighbor"}));
}

TEST_F(OpenVSwitchHost, ALiveTraceCountsPacketsOfTheFlows) {
  Host& here = bring_home();
  auto flow = fleet_->start_flow(2000);
  Command command{homeport_program(), "trace", "client", "10.1.0.5",
                  "--live",           "--for", "4",      "--json"};
  const CommandResult result = run_command(command, {.inside = &here.inside()});
  ASSERT_EQ(result.status, 0) << result.out << result.err;
  expect_whole(*flow, 0);
  // The last of what is told every second.
  const std::string all = result.out.substr(0, result.out.size() - 1);
  const auto told = boost::json::parse(all.substr(all.rfind('\n') + 1));
  ASSERT_THAT(path(told), ElementsAre("hostC sent", "hostA delivered"));
  const auto& counts = told.at("hosts").at(1).at("counts").as_object();
  ASSERT_TRUE(counts.contains("delivered")) << result.out;
  EXPECT_GT(counts.at("delivered").to_number<std::uint64_t>(), 500u) << result.out;
}

TEST(OpenVSwitchGuest, AGuestMovesFromAndToItUnderTraffic) {
  FleetOptions options{.name = "ovs-guest", .open_vswitch = "A"};
  options.guest.offloads = false;
  Fleet fleet(options);
  Lab& lab = fleet.lab();
  const GuestStatus before = fleet.guest().status();
  StreamClient stream(lab.client(), fleet.options().ipv4, lab.directory() / "stream.log");
  DatagramClient datagrams(lab.client(), fleet.options().ipv4, lab.directory() / "datagrams.log");
  stream.wait_progress(64 * 1024, 30s);
  datagrams.wait_progress(500, 30s);
  for (Host* there : {&fleet.b(), &fleet.a()}) {
    const MoveOutcome outcome = fleet.move(*there);
    ASSERT_EQ(outcome.status, 0) << outcome.err;
    fleet.wait_settled(*there);
    stream.wait_progress(64 * 1024, 30s);
    datagrams.wait_progress(500, 30s);
  }
  const DatagramReport numbered = datagrams.finish();
  const StreamReport checked = stream.finish();
  EXPECT_TRUE(checked.survived) << checked.error;
  EXPECT_EQ(checked.mismatches, 0u);
  const GuestStatus after = fleet.guest().status();
  // An emulated guest on a busy machine cannot keep up, and drops at its own sockets.
  const LossPlaces lost = losses_per_move(numbered, lab.taps(), {Clock::time_point::min()},
                                          after.datagram_drops - before.datagram_drops)
                              .front();
  EXPECT_EQ(lost.all(), 0u) << lost.to_string();
  EXPECT_EQ(numbered.duplicated, 0u);
  EXPECT_EQ(numbered.unreachable, 0u);
  EXPECT_EQ(after.boot_id, before.boot_id);
  EXPECT_THAT(lab.complaints(), IsEmpty());
}

}  // namespace
}  // namespace homeport::lab
