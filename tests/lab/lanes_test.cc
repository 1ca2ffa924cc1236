// A guest's memory on its way by two interfaces of each host, of which one fails, or both.
#include <boost/json/parse.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <map>
#include <string>

#include "tests/lab/fleet.h"
#include "tests/lab/path_view.h"
#include "tests/lab/wait.h"

namespace homeport::lab {
namespace {

namespace json = boost::json;

constexpr std::uint64_t kRateMbit = 100;  ///< of each link: a copy takes some seconds

class Lanes : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    fleet_ = std::make_unique<Fleet>(FleetOptions{
        .name = "lanes", .rate_mbit = kRateMbit, .holdable = true, .second_underlay = true});
    fleet_->guest().write_memory(64, 2, 2);
  }
  static void TearDownTestSuite() { fleet_.reset(); }

  void SetUp() override {
    here_ = &fleet_->wait_somewhere();
    there_ = &fleet_->other_than(*here_);
    wait_paths_agreed(*here_, *there_, "bulk");
    // What the last test has done to an interface is over for both hosts.
    wait_until(
        [&] {
          return path_view(*here_, *there_, "bulk").carrying == 2 &&
                 path_view(*there_, *here_, "bulk").carrying == 2;
        },
        20s, "both paths to carry",
        [&] {
          return path_view(*here_, *there_, "bulk").explanation + "\n" +
                 path_view(*there_, *here_, "bulk").explanation;
        });
    told_ = here_->agent().log_size();
  }
  void TearDown() override {
    fleet_->guest().check_memory();
    EXPECT_EQ(fleet_->guest().status().memory_mismatches, 0u);
    fleet_->wait_settled(fleet_->wait_somewhere());
    EXPECT_THAT(fleet_->lab().complaints({kNotKnownYet}), testing::IsEmpty());
  }

  /// Waits until the source says so, after what was waited for before.
  void wait_told(const std::string& text) {
    here_->agent().wait_for_log(text, 20s, told_);
    told_ = here_->agent().log_size();
  }
  void expect_moved(Process& move) {
    EXPECT_EQ(move.wait(60s), 0) << move.log_tail();
    EXPECT_EQ(fleet_->wait_ended().state, "succeeded");
    fleet_->wait_settled(*there_);
  }
  struct LaneView {
    std::string state;
    std::uint64_t bytes_sent = 0;
  };
  /// Of the last task, as `homeport task show` tells of them, by the interface here.
  std::map<std::string, LaneView> lanes() const {
    std::map<std::string, LaneView> all;
    const auto task = fleet_->lab().homeport_json("task show " + fleet_->last_task().id);
    for (const auto& lane : task.at("lanes").as_array()) {
      for (const auto& interface : here_->underlay_interfaces()) {
        if (lane.at("local") != json::value(interface.address)) continue;
        all[interface.device] = {std::string(lane.at("state").as_string()),
                                 lane.at("bytes_sent").to_number<std::uint64_t>()};
      }
    }
    return all;
  }
  void wait_lanes(const std::function<bool(std::map<std::string, LaneView>&)>& are,
                  const std::string& what) {
    std::map<std::string, LaneView> now;
    const auto told = [&] {
      std::string text;
      for (const auto& [interface, lane] : now) {
        text += interface + " " + lane.state + " " + std::to_string(lane.bytes_sent) + "; ";
      }
      return text + fleet_->last_task().state;
    };
    wait_until([&] { return are(now = lanes()); }, 20s, what, told);
  }
  /// Mbit/s from here to there that are known of each path.
  std::map<std::string, double> measured() const {
    std::map<std::string, double> all;
    const std::string reply = here_->get("/v1/paths/" + there_->name());
    const auto body = json::parse(reply.substr(reply.find("\r\n\r\n")));
    for (const auto& each : body.at("classes").as_array()) {
      if (each.at("class") != json::value("bulk")) continue;
      for (const auto& path : each.at("ranked").as_array()) {
        const auto& rate = path.at("quality").at("out").at("bits_per_second");
        const auto& name = path.at("path").at("local").at("interface").as_string();
        if (rate.is_number()) all[std::string(name)] = rate.to_number<double>() / 1e6;
      }
    }
    return all;
  }

  static std::unique_ptr<Fleet> fleet_;
  Host* here_ = nullptr;
  Host* there_ = nullptr;
  std::size_t told_ = 0;
};

std::unique_ptr<Fleet> Lanes::fleet_;

TEST_F(Lanes, BothPathsCarryAndAreMeasured) {
  auto move = fleet_->start_move(*there_);
  wait_told("is open, 2 now");
  wait_lanes(
      [](auto& now) {
        return now["eth0"].state == "open" && now["eth1"].state == "open" &&
               now["eth0"].bytes_sent > 0 && now["eth1"].bytes_sent > 0;
      },
      "both lanes to be shown");
  const std::string page = fleet_->lab().homeport_checked("task show " + fleet_->last_task().id);
  EXPECT_THAT(page, testing::HasSubstr("\n\nLANE FROM "));
  EXPECT_THAT(there_->get("/v1/tasks/" + fleet_->last_task().id),
              testing::HasSubstr(R"("relay":null,"state":"open")"));
  expect_moved(*move);
  const TaskView task = fleet_->last_task();
  auto ended = lanes();
  for (const char* interface : {"eth0", "eth1"}) {
    EXPECT_EQ(ended[interface].state, "closed");
    EXPECT_GT(ended[interface].bytes_sent, task.bytes_sent / 4) << interface;
  }
  EXPECT_EQ(ended["eth0"].bytes_sent + ended["eth1"].bytes_sent, task.bytes_sent);
  const auto rates = measured();
  for (const char* interface : {"eth0", "eth1"}) {
    ASSERT_TRUE(rates.contains(interface)) << interface;
    EXPECT_GT(rates.at(interface), 0.5 * kRateMbit) << interface;
    EXPECT_LT(rates.at(interface), 1.5 * kRateMbit) << interface;
  }
}

TEST_F(Lanes, InterfacesWithoutCarrierAreLeftAndTakenAgain) {
  auto move = fleet_->start_move(*there_);
  wait_told("is open, 2 now");
  there_->second_underlay().cut();
  wait_told("is given up, 1 left");
  here_->underlay().cut();
  wait_told("is given up, 0 left");
  for (Link* link : {&there_->second_underlay(), &here_->underlay()}) link->restore();
  wait_told("is open, 2 now");
  expect_moved(*move);
}

TEST_F(Lanes, APathThatFailsSilentlyIsLeftAndTakenAgain) {
  auto move = fleet_->start_move(*there_);
  wait_told("is open, 2 now");
  here_->second_underlay().lose({.from_member = 100, .to_member = 100});
  const auto lost = Clock::now();
  wait_told("is given up, 1 left");
  EXPECT_LT(Clock::now() - lost, 2s) << "long before TCP gives up";
  wait_lanes(
      [](auto& now) { return now["eth1"].state == "given-up" && now["eth0"].state == "open"; },
      "the lane that is given up to be shown");
  here_->second_underlay().lose({});
  wait_told("is open, 2 now");
  expect_moved(*move);
}

/// To a tenth, of the path that bulk uses.
TEST_F(Lanes, APathWhoseBandwidthFallsIsLeftByBulk) {
  StreamClient stream(fleet_->lab().client(), fleet_->options().ipv4,
                      fleet_->lab().directory() / "stream");
  stream.wait_progress(64 << 10, 20s);
  const std::string narrow = path_view(*here_, *there_, "bulk").path.substr(0, 4);
  const std::string wide = narrow == "eth0" ? "eth1" : "eth0";
  // One that other tests have had fail may be damped, and bulk would not go there.
  wait_until(
      [&] { return path_view(*here_, *there_, "bulk").standings[wide + " - " + wide] == "good"; },
      130s, "the other path to be good",
      [&] { return path_view(*here_, *there_, "bulk").explanation; });
  Link& link = narrow == "eth0" ? here_->underlay() : here_->second_underlay();
  auto move = fleet_->start_move(*there_);
  wait_told("is open, 2 now");
  link.set_rate(kRateMbit / 10);
  std::map<std::string, LaneView> before;
  wait_lanes([&](auto& now) { return (before = now).size() == 2; }, "both lanes to be shown");
  wait_until([&] { return path_view(*here_, *there_, "bulk").path == wide + " - " + wide; }, 20s,
             "bulk to leave the narrow path",
             [&] { return path_view(*here_, *there_, "bulk").explanation; });
  wait_until([&] { return measured().contains(narrow) && measured()[narrow] < kRateMbit / 2.; },
             20s, "the bandwidth to be known to have fallen",
             [&] { return path_view(*here_, *there_, "bulk").explanation; });
  EXPECT_FALSE(fleet_->last_task().ended()) << "that was too late";
  expect_moved(*move);
  link.set_rate(kRateMbit);
  auto after = lanes();
  const auto sent = [&](const std::string& interface) {
    return after[interface].bytes_sent - before[interface].bytes_sent;
  };
  EXPECT_LT(3 * sent(narrow), sent(wide));
  stream.wait_progress(64 << 10, 20s);
  const StreamReport report = stream.finish();
  EXPECT_TRUE(report.survived) << report.error;
  EXPECT_EQ(report.mismatches, 0u);
}

TEST_F(Lanes, OneThatIsLostWhileTheGuestIsStoppedIsMadeGood) {
  here_->hold_at("stopped");
  auto move = fleet_->start_move(*there_);
  here_->wait_held();
  there_->second_underlay().cut();
  wait_told("is given up, 1 left");
  here_->release();
  expect_moved(*move);
  there_->second_underlay().restore();
}

TEST_F(Lanes, WhatIsPinnedIsUsedAlone) {
  Lab& lab = fleet_->lab();
  lab.homeport_checked("path pin bulk " + here_->name() + "/eth1 " + there_->name() + "/eth1");
  // It may have been there before.
  wait_until(
      [&] {
        const ClassView view = path_view(*here_, *there_, "bulk");
        return view.path == "eth1 - eth1" &&
               view.explanation.find(R"("pinned":1,)") != std::string::npos;
      },
      20s, "bulk to take what is pinned");
  auto move = fleet_->start_move(*there_);
  const std::size_t before = told_;
  wait_told("the lane from 172.31.1.");
  wait_until([&] { return fleet_->last_task().bytes_sent > 8 << 20; }, 20s,
             "some of it to be sent");
  const std::string log = read_text(here_->agent().log()).substr(before);
  EXPECT_EQ(log.find("the lane from 172.31.0."), std::string::npos) << log;
  lab.homeport_checked("task cancel " + fleet_->last_task().id);
  EXPECT_EQ(fleet_->wait_ended().state, "cancelled");
  lab.homeport_checked("path unpin bulk " + here_->name() + "/eth1 " + there_->name() + "/eth1");
}

}  // namespace
}  // namespace homeport::lab
