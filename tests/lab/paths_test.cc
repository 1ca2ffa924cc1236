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
    return std::string(path->at(end).at("interface").as_string());
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
  Link& link_of(Host& host, const std::string& interface) {
    return interface == "eth1" ? host.second_underlay() : host.underlay();
  }
  /// The interface at the destination that is used for what is sent to it.
  std::string destinations_end() const {
    const std::string path = view(source_, destination_).path;
    return path.substr(path.size() - 4);
  }
  std::string other(const std::string& interface) { return interface == "eth0" ? "eth1" : "eth0"; }

  /// Traffic goes on by the other interface of the destination.
  void expect_moved_from(const std::string& interface) {
    wait_until([&] { return destinations_end() == other(interface); }, 10s,
               "what is sent to take the other interface", [&] { return told(); });
  }
};

TEST_P(PathsTest, HostsAgreeOnAPath) {
  wait_agreed();
}

TEST_P(PathsTest, LossOfCarrierIsLeftAtOnce) {
  wait_agreed();
  auto flow = fleet_.start_flow(1000);
  const std::string interface = destinations_end();
  link_of(destination_, interface).cut();
  flow->wait_progress(1000, 20s);
  expect_moved_from(interface);
  flow->wait_progress(1000, 20s);
  const FlowReport report = flow->finish();
  RecordProperty("longest_gap_ms", std::to_string(report.longest_gap_ms));
  EXPECT_LT(report.longest_gap_ms, 1000) << report.to_string();
  EXPECT_EQ(report.unreachable, 0u);
}

TEST_P(PathsTest, BlackholeIsFoundAndLeft) {
  wait_agreed();
  auto flow = fleet_.start_flow(1000);
  const std::string interface = destinations_end();
  link_of(destination_, interface).lose({.from_member = 100, .to_member = 100});
  flow->wait_progress(1000, 20s);
  expect_moved_from(interface);
  link_of(destination_, interface).lose({});
  flow->wait_progress(1000, 20s);
  const FlowReport report = flow->finish();
  RecordProperty("longest_gap_ms", std::to_string(report.longest_gap_ms));
  EXPECT_LT(report.longest_gap_ms, 2000) << report.to_string();
}

TEST_P(PathsTest, AgentThatStartsAgainKeepsThePath) {
  const std::string path = wait_agreed();
  auto flow = fleet_.start_flow(1000);
  source_.kill_agent();
  flow->wait_progress(1000, 20s);
  source_.start_agent();
  source_.wait_ready();
  EXPECT_EQ(wait_agreed(), path);
  const FlowReport report = flow->finish();
  EXPECT_EQ(report.lost, 0u) << report.to_string();
}

INSTANTIATE_TEST_SUITE_P(Fleets, PathsTest, testing::Values("", "ABC"), [](const auto& each) {
  return each.param.empty() ? std::string("Ebpf") : "OvsAt" + each.param;
});

}  // namespace
}  // namespace homeport::lab
