// Hosts with two interfaces each: they agree on a path, and change it under traffic when it fails,
// on either datapath.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/lab/fleet.h"
#include "tests/lab/path_view.h"
#include "tests/lab/wait.h"

namespace homeport::lab {
namespace {

using testing::IsEmpty;

class PathsTest : public testing::TestWithParam<std::string> {
 protected:
  Fleet fleet_{FleetOptions{
      .name = "paths", .containers = true, .second_underlay = true, .open_vswitch = GetParam()}};
  Host& source_ = fleet_.c();       // of the traffic
  Host& destination_ = fleet_.a();  // where the application is

  void TearDown() override { EXPECT_THAT(fleet_.lab().complaints({kNotKnownYet}), IsEmpty()); }

  std::string told() const {
    const ClassView here = path_view(source_, destination_),
                    there = path_view(destination_, source_);
    return source_.name() + ": " + here.state + ", " + here.path + "; " + destination_.name() +
           ": " + there.state + ", " + there.path;
  }
  /// Waits until both use the same path; returns what it is called at the source.
  std::string wait_agreed() const { return wait_paths_agreed(source_, destination_).path; }
  /// What is sent to the destination comes by its second interface there: eth1 or br-phy1.
  bool by_the_second() const { return path_view(source_, destination_).path.ends_with('1'); }
  Link& used_link() {
    return by_the_second() ? destination_.second_underlay() : destination_.underlay();
  }
  /// Traffic goes on by the other interface of the destination.
  void expect_change(bool by_the_second_before) {
    wait_until([&] { return by_the_second() != by_the_second_before; }, 10s,
               "what is sent to take the other interface", [&] { return told(); });
  }
};

TEST_P(PathsTest, LossOfCarrierIsLeftAtOnce) {
  wait_agreed();
  auto flow = fleet_.start_flow(1000);
  const bool before = by_the_second();
  used_link().cut();
  expect_change(before);
  flow->wait_progress(1000, 20s);
  const FlowReport report = flow->finish();
  RecordProperty("longest_gap_ms", std::to_string(report.longest_gap_ms));
  EXPECT_LT(report.longest_gap_ms, 1000) << report.to_string();
  EXPECT_EQ(report.unreachable, 0u);
}

TEST_P(PathsTest, BlackholeIsFoundAndLeft) {
  wait_agreed();
  auto flow = fleet_.start_flow(1000);
  const bool before = by_the_second();
  Link& link = used_link();
  link.lose({.from_member = 100, .to_member = 100});
  expect_change(before);
  flow->wait_progress(1000, 20s);
  link.lose({});
  flow->wait_progress(1000, 20s);
  const FlowReport report = flow->finish();
  RecordProperty("longest_gap_ms", std::to_string(report.longest_gap_ms));
  EXPECT_LT(report.longest_gap_ms, 2000) << report.to_string();
}

TEST_P(PathsTest, AgentThatStartsAgainKeepsThePath) {
  wait_agreed();
  auto flow = fleet_.start_flow(1000);
  source_.kill_agent();
  flow->wait_progress(1000, 20s);
  source_.start_agent();
  source_.wait_ready();
  wait_agreed();
  // A busy machine may be a reason to change over; that the agent knows of no path is none.
  EXPECT_NE(path_view(source_, destination_).cause, "first");
  const FlowReport report = flow->finish();
  EXPECT_EQ(report.lost, 0u) << report.to_string();
}

TEST_P(PathsTest, ControllersPinIsHeeded) {
  wait_agreed();
  const bool before = by_the_second();
  const std::string interface = GetParam().empty() ? before ? "eth0" : "eth1"
                                : before           ? "br-phy"
                                                   : "br-phy1";
  const std::string ends =
      source_.name() + "/" + interface + " " + destination_.name() + "/" + interface;
  fleet_.lab().homeport_checked("path pin all " + ends);
  expect_change(before);
  EXPECT_EQ(wait_agreed(), interface + " - " + interface);
  EXPECT_EQ(path_view(destination_, source_, "bulk").path, interface + " - " + interface);
}

TEST_P(PathsTest, HostsAgreeOnAPathByWhichAnAnswerComesBack) {
  // Each switch has a subnet of its own, and no route leads from one to the other.
  const std::string path = wait_agreed();
  const auto end = path.find(" - ");
  EXPECT_EQ(path.substr(0, end), path.substr(end + 3));
}

/// A guest's TCP connection while interfaces fail one after the other, at either host, sometimes
/// with a carrier and sometimes without, and the guest moves in between.
TEST(PathsOfAGuest, StreamGoesOnWhileInterfacesComeAndGo) {
  Fleet fleet(FleetOptions{.name = "paths", .second_underlay = true});
  StreamClient stream(fleet.lab().client(), fleet.options().ipv4,
                      fleet.lab().directory() / "stream");
  const auto goes_on = [&] { stream.wait_progress(64 << 10, 20s); };
  goes_on();
  for (Host* home : {&fleet.a(), &fleet.b()}) {
    for (Link* link : {&home->underlay(), &fleet.c().second_underlay(), &home->second_underlay(),
                       &fleet.c().underlay()}) {
      link->cut();
      goes_on();
      link->restore();
      goes_on();
      link->lose({.from_member = 100, .to_member = 100});
      goes_on();
      link->lose({});
      goes_on();
    }
    Host& next = fleet.other_than(*home);
    const MoveOutcome move = fleet.move(next);
    EXPECT_EQ(move.task.state, "succeeded") << move.err;
    goes_on();
  }
  const StreamReport report = stream.finish();
  EXPECT_TRUE(report.survived) << report.error;
  EXPECT_EQ(report.mismatches, 0u);
}

INSTANTIATE_TEST_SUITE_P(Fleets, PathsTest, testing::Values("", "ABC"), [](const auto& each) {
  return each.param.empty() ? std::string("Ebpf") : "OvsAt" + each.param;
});

}  // namespace
}  // namespace homeport::lab
