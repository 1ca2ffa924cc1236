// What others do to a host: somebody deletes by hand what the datapath needs, a controller writes
// what cannot be, a clock is wrong. Traffic goes on, or does so again within seconds, and the log
// or the status says what was the matter.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>

#include "tests/lab/fleet.h"
#include "tests/lab/wait.h"

namespace homeport::lab {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

class Upset : public testing::Test {
 protected:
  void make(FleetOptions options) {
    options.containers = true;
    fleet_ = std::make_unique<Fleet>(std::move(options));
  }

  void TearDown() override {
    fleet_->wait_settled(fleet_->wait_somewhere());
    EXPECT_THAT(
        fleet_->lab().complaints({"changed from outside", "gone from the control database"}),
        IsEmpty());
  }

  static void expect_whole(Flow& flow) {
    flow.wait_progress(200, 20s);
    const FlowReport report = flow.finish();
    EXPECT_EQ(report.lost, 0u) << report.to_string();
    EXPECT_EQ(report.duplicated, 0u) << report.to_string();
    EXPECT_EQ(report.unreachable, 0u) << report.to_string();
  }

  void expect_moves() {
    const MoveOutcome outcome = fleet_->move(fleet_->other_than(fleet_->wait_somewhere()));
    EXPECT_EQ(outcome.status, 0) << outcome.err;
  }

  CommandResult transact(const std::string& operations) {
    return run_command({"ovsdb-client", "transact", fleet_->lab().database().local_remote(),
                        R"(["Homeport",)" + operations + "]"});
  }

  std::unique_ptr<Fleet> fleet_;
};

TEST_F(Upset, WhatIsDeletedByHandIsThereAgainWithin5Seconds) {
  make({.name = "by-hand"});
  Host& host = fleet_->wait_somewhere();
  const std::string pinned = (host.directory() / "bpf").string() + "/layout-*/hp_addresses";
  // (VNI 100, 52:54:00:00:01:05)
  const std::string entry = "64 00 00 00 52 54 00 00 01 05 00 00";
  struct Harm {
    std::string command, says;
  };
  for (const Harm& harm :
       {Harm{"tc filter del dev app0 ingress", "the filter of app0 was missing"},
        Harm{"tc qdisc del dev app0 clsact", "the filter of app0 was missing"},
        Harm{"bpftool map delete pinned " + pinned + " key hex " + entry, "52:54:00:00:01:05"},
        Harm{"ip route flush table 18544", "route"},
        Harm{"ip rule del priority 18544", "the rule for table 18544 was missing"},
        Harm{"ip link del homeport1", "the device homeport1 was missing"},
        Harm{"ip link del homeport0", "the device homeport0 was missing"}}) {
    SCOPED_TRACE(harm.command);
    const std::size_t from = host.agent().log_size();
    run_checked({"sh", "-c", harm.command}, {.inside = &host.inside()});
    host.agent().wait_for_log(harm.says, 5s, from);
    wait_until(
        [&] { return host.get("/v1/datapath").find("\"differences\":[]") != std::string::npos; },
        5s, "the datapath to be whole");
    expect_whole(*fleet_->start_flow(1000));
  }
  expect_moves();
}

TEST_F(Upset, AHostWhoseRowIsDeletedWritesItAgainAtOnce) {
  make({.name = "host-row"});
  Host& peer = fleet_->wait_somewhere();
  auto flow = fleet_->start_flow(1000);
  const std::string of_c = R"("table":"Host","where":[["name","==","hostC"]])";
  const auto remove = [&] {
    EXPECT_THAT(transact(R"({"op":"delete",)" + of_c + "}").out, HasSubstr("\"count\":1"));
  };
  for (int i = 0; i < 4; ++i) {
    remove();
    wait_until(
        [&] {
          const auto found = transact(R"({"op":"select",)" + of_c + R"(,"columns":["name"]})");
          return found.out.find("hostC") != std::string::npos;
        },
        2s, "hostC to write its row again", [&] { return fleet_->c().agent().log_tail(); });
    flow->wait_progress(200, 20s);
  }
  // A peer may hear of both at once, and say nothing, but not while the host cannot write.
  fleet_->c().agent().send_signal(SIGSTOP);
  const std::size_t from = peer.agent().log_size();
  remove();
  peer.agent().wait_for_log("gone from the control database: hostC", 10s, from);
  fleet_->c().agent().send_signal(SIGCONT);
  peer.agent().wait_for_log("in the control database again: hostC", 10s, from);
  flow->wait_progress(200, 20s);
  EXPECT_EQ(flow->finish().duplicated, 0u);
  expect_whole(*fleet_->start_flow(1000));
  expect_moves();
}

TEST_F(Upset, RowsThatCannotBeChangeNothingAndAreNamed) {
  make({.name = "bad-rows"});
  expect_moves();  // so that the generation is not the first
  auto flow = fleet_->start_flow(1000);
  auto binding = [](const std::string& name, const std::string& mac, const std::string& address) {
    return R"({"op":"insert","table":"Binding","row":{"name":")" + name +
           R"(","application":"other","network":"net1","mac":")" + mac +
           R"(","prior_addresses":")" + address + R"(","location":"hostC","generation":1}})";
  };
  // The server itself refuses one MAC address or VNI for two.
  EXPECT_THAT(transact(binding("twin", "52:54:00:00:01:05", "10.1.0.77")).out,
              HasSubstr("constraint violation"));
  EXPECT_THAT(transact(R"({"op":"insert","table":"Network","row":{"name":"net2","vni":100}})").out,
              HasSubstr("constraint violation"));
  // An address that another one has already, and one that is none of the network's.
  transact(R"({"op":"insert","table":"Application","row":{"name":"other","driver":"netdev",)"
           R"("properties":["map",[["device","eth7"]]]}})");
  EXPECT_THAT(transact(binding("double", "52:54:00:00:01:77", "10.1.0.5")).out,
              Not(HasSubstr("error")));
  for (Host* host : {&fleet_->a(), &fleet_->b()}) {
    wait_until(
        [&] {
          return host->get("/v1/status").find("10.1.0.5 in the network") != std::string::npos;
        },
        10s, host->name() + " to name the address that two have");
  }
  expect_whole(*flow);
  expect_moves();
  transact(R"({"op":"delete","table":"Binding","where":[["name","==","double"]]})");
  transact(R"({"op":"delete","table":"Application","where":[["name","==","other"]]})");
  wait_until(
      [&] {
        return fleet_->a().get("/v1/status").find("10.1.0.5 in the network") == std::string::npos;
      },
      10s, "the problem to be gone");
}

TEST_F(Upset, AClockThatIsAnHourOffIsNoHostThatIsDead) {
  make({.name = "clock", .clocks_off_seconds = {0, -3600, 3600}});
  auto flow = fleet_->start_flow(1000);
  for (int i = 0; i < 2; ++i) {
    expect_moves();
    fleet_->wait_settled(fleet_->wait_somewhere());
  }
  expect_whole(*flow);
  // Nor does any host take another for silent.
  for (Host* host : fleet_->lab().hosts()) {
    wait_until([&] { return host->get("/v1/status").find("\"alive\":false") == std::string::npos; },
               30s, host->name() + " to hear of all others");
  }
}

}  // namespace
}  // namespace homeport::lab
