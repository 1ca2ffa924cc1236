// Hosts with two interfaces each: they agree on a path, and change it under traffic when it fails,
// on either datapath.
#include <boost/json/parse.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/lab/fleet.h"
#include "tests/lab/wait.h"

namespace homeport::lab {
namespace {

namespace json = boost::json;
using testing::IsEmpty;

/// What a path is called: its interfaces, here and there.
std::string name_of(const json::value* path) {
  if (path == nullptr || !path->is_object()) return "none";
  const auto interface = [&](const char* end) {
    const json::value& name = path->at(end).at("interface");
    return name.is_string() ? std::string(name.as_string()) : std::string("not known yet");
  };
  return interface("local") + " - " + interface("remote");
}

/// A class of the paths from one host to another, as its agent tells.
struct ClassView {
  std::string state, path, peer_path, cause;
};

ClassView view(const Host& host, const Host& peer, const std::string& traffic = "interactive") {
  const std::string reply = host.get("/v1/paths/" + peer.name());
  boost::system::error_code bad;
  const auto body = json::parse(reply.substr(std::min(reply.size(), reply.find("\r\n\r\n"))), bad);
  if (bad || !body.is_object() || !body.as_object().contains("classes")) return {reply, {}, {}, {}};
  for (const auto& each : body.at("classes").as_array()) {
    const auto& fields = each.as_object();
    if (fields.at("class") != json::value(traffic)) continue;
    return {std::string(fields.at("state").as_string()), name_of(fields.if_contains("path")),
            name_of(fields.if_contains("peer_path")), std::string(fields.at("cause").as_string())};
  }
  return {"no such class", {}, {}, {}};
}

class PathsTest : public testing::TestWithParam<std::string> {
 protected:
  Fleet fleet_{FleetOptions{
      .name = "paths", .containers = true, .second_underlay = true, .open_vswitch = GetParam()}};
  Host& source_ = fleet_.c();       // of the traffic
  Host& destination_ = fleet_.a();  // where the application is

  void TearDown() override {
    EXPECT_THAT(fleet_.lab().complaints({"paths cannot be negotiated"}), IsEmpty());
  }

  std::string told() const {
    const ClassView here = view(source_, destination_), there = view(destination_, source_);
    return source_.name() + ": " + here.state + ", " + here.path + "; " + destination_.name() +
           ": " + there.state + ", " + there.path;
  }
  /// Waits until both use the same path; returns what it is called at the source.
  std::string wait_agreed(Clock::duration timeout = 20s) const {
    std::string path;
    wait_until(
        [&] {
          const ClassView here = view(source_, destination_), there = view(destination_, source_);
          path = here.path;
          return here.state == "agreed" && there.state == "agreed" && here.path == here.peer_path;
        },
        timeout, "the two hosts to agree on a path", [&] { return told(); });
    return path;
  }
  /// What is sent to the destination comes by its second interface there: eth1 or br-phy1.
  bool by_the_second() const { return view(source_, destination_).path.ends_with('1'); }
  Link& used_link() {
    return by_the_second() ? destination_.second_underlay() : destination_.underlay();
  }
  /// Traffic goes on by the other interface of the destination.
  void expect_change(bool by_the_second_before) {
    wait_until([&] { return by_the_second() != by_the_second_before; }, 10s,
               "what is sent to take the other interface", [&] { return told(); });
  }
};

TEST_P(PathsTest, HostsAgreeOnAPath) {
  wait_agreed();
}

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
  EXPECT_NE(view(source_, destination_).cause, "first");
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
  EXPECT_EQ(view(destination_, source_, "bulk").path, interface + " - " + interface);
}

TEST_P(PathsTest, OnlyWaysByWhichAnAnswerComesBackAreTaken) {
  // Each switch has a subnet of its own, and no route leads from one to the other.
  const std::string path = wait_agreed();
  const auto end = path.find(" - ");
  EXPECT_EQ(path.substr(0, end), path.substr(end + 3));
}

INSTANTIATE_TEST_SUITE_P(Fleets, PathsTest, testing::Values("", "ABC"), [](const auto& each) {
  return each.param.empty() ? std::string("Ebpf") : "OvsAt" + each.param;
});

}  // namespace
}  // namespace homeport::lab
