// What becomes of the path between two hosts with two interfaces each, as its followers see it:
// every change in its order and with its cause, and what traffic has on the wire.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>

#include "policy/code_point.h"
#include "tests/lab/fleet.h"
#include "tests/lab/path_view.h"
#include "tests/lab/programs.h"
#include "tests/lab/wait.h"

namespace homeport::lab {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

/// The other of two paths that each go by the same interface at both hosts.
std::string other(const std::string& path) {
  return path == "eth0 - eth0" ? "eth1 - eth1" : "eth0 - eth0";
}

/// With one fleet for all: a path that fails three times within some seconds is damped, so that but
/// for the test of that no two fail the same path twice.
class PathChanges : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    fleet_ = std::make_unique<Fleet>(
        FleetOptions{.name = "changes", .containers = true, .second_underlay = true});
    for (const std::string interface : {"eth0", "eth1"}) {
      fleet_->lab().homeport_checked("interface set hostA/" + interface + " --label by-" +
                                     interface);
    }
  }
  static void TearDownTestSuite() { fleet_.reset(); }

  void SetUp() override {
    used_ = wait_paths_agreed(c_, a_).path;
    wait_standing(other(used_), "good");
    const std::string name = testing::UnitTest::GetInstance()->current_test_info()->name();
    // It is the one of the two that nominates paths, and has reasons of its own.
    watch_ = std::make_unique<PathWatch>(a_, c_, "interactive", lab_.directory() / name);
  }
  void TearDown() override {
    if (HasFailure() && watch_) {
      std::printf("%s was told\n%s", a_.name().c_str(), watch_->told().c_str());
    }
    watch_.reset();
    for (Link* link :
         {&a_.underlay(), &a_.second_underlay(), &c_.underlay(), &c_.second_underlay()}) {
      if (link->is_cut()) link->restore();
    }
    EXPECT_THAT(lab_.complaints({kNotKnownYet}), IsEmpty());
  }

  /// At the host where the application is.
  Link& link_of(const std::string& path) {
    return path == "eth0 - eth0" ? a_.underlay() : a_.second_underlay();
  }
  static std::string interface_of(const std::string& path) { return path.substr(0, 4); }
  void wait_standing(const std::string& path, const std::string& standing,
                     Clock::duration timeout = 20s) {
    wait_until([&] { return path_view(c_, a_).standings[path] == standing; }, timeout,
               path + " to be " + standing, [&] { return path_view(c_, a_).explanation; });
  }
  /// Whatever is measured, as long as it is good.
  void prefer(const std::string& path) {
    lab_.homeport_checked("path prefer interactive by-" + interface_of(path));
    wait_until([&] { return path_view(c_, a_).path == path; }, 20s, path + " to be used",
               [&] { return path_view(c_, a_).explanation; });
  }
  void prefer_no_more(const std::string& path) {
    lab_.homeport_checked("path unprefer interactive by-" + interface_of(path));
  }
  /// From each change to the next nothing was left out.
  void expect_whole() const {
    const auto changes = watch_->changes();
    for (std::size_t i = 1; i < changes.size(); ++i) {
      EXPECT_EQ(changes[i].from, changes[i - 1].to) << "of change " << i;
    }
  }

  static std::unique_ptr<Fleet> fleet_;
  Lab& lab_ = fleet_->lab();
  Host& a_ = fleet_->a();
  Host& c_ = fleet_->c();
  std::string used_;
  std::unique_ptr<PathWatch> watch_;
};

std::unique_ptr<Fleet> PathChanges::fleet_;

TEST_F(PathChanges, ACarrierThatIsLostAndWhatAControllerAsksAreTold) {
  prefer(used_);
  const std::string second = other(used_);
  const std::string end = interface_of(second);
  link_of(used_).cut();
  watch_->wait_change(second, "lost", 10s);
  // From here on it is what the controller asks that decides, whatever is measured.
  lab_.homeport_checked("path pin interactive hostC/" + end + " hostA/" + end);
  wait_standing(second, "pinned");
  link_of(used_).restore();
  wait_standing(used_, "good");
  lab_.homeport_checked("path forbid interactive hostA/" + end);
  EXPECT_THAT(watch_->wait_change(used_, "lost", 10s).text, HasSubstr("forbid"));
  lab_.homeport_checked("path permit interactive hostA/" + end);
  watch_->wait_change(second, "pinned", 10s);
  lab_.homeport_checked("path unpin interactive hostC/" + end + " hostA/" + end);
  prefer_no_more(used_);
  expect_whole();
}

/// Where an interface has lost its carrier its neighbors are forgotten, and what was sent meanwhile
/// keeps the kernel from asking for them again for a second.
TEST_F(PathChanges, APinnedPathThatComesBackIsUsedOnceItCarriesBothWays) {
  const std::string second = other(used_), end = interface_of(used_);
  Link& link = end == "eth0" ? c_.underlay() : c_.second_underlay();
  lab_.homeport_checked("path pin interactive hostC/" + end + " hostA/" + end);
  wait_standing(used_, "pinned");
  auto flow = fleet_->start_flow(1000);
  link.cut();
  watch_->wait_change(second, "lost", 10s);
  link.restore();
  watch_->wait_change(used_, "pinned", 10s);
  flow->wait_progress(2000, 20s);
  const FlowReport report = flow->finish();
  EXPECT_LT(report.longest_gap_ms, 300) << report.to_string();
  EXPECT_LT(report.lost, 300) << report.to_string();
  lab_.homeport_checked("path unpin interactive hostC/" + end + " hostA/" + end);
  expect_whole();
}

TEST_F(PathChanges, ARouteThatGoesWithoutItsInterfaceIsLeft) {
  prefer("eth1 - eth1");
  auto flow = fleet_->start_flow(1000);
  const std::string subnet = "172.31.1.0/24", at_eth1 = " proto kernel scope link dev eth1 src " +
                                                        c_.underlay_interfaces()[1].address;
  // What is sent arrives by the other one: it is left for all that, since it may not elsewhere.
  c_.inside().ip("route replace " + subnet + " dev eth0");
  watch_->wait_change("eth0 - eth0", "lost", 10s);
  c_.inside().ip("route replace " + subnet + at_eth1);
  watch_->wait_change("eth1 - eth1", "better", 20s);
  flow->wait_progress(1000, 20s);
  const FlowReport report = flow->finish();
  EXPECT_LT(report.longest_gap_ms, 1000) << report.to_string();
  EXPECT_EQ(report.unreachable, 0u);
  prefer_no_more("eth1 - eth1");
  expect_whole();
}

TEST_F(PathChanges, ThePacketsOfEachClassAreMarked) {
  std::unique_ptr<WireWatch> wires[] = {a_.underlay().watch(), a_.second_underlay().watch()};
  std::map<unsigned, std::uint64_t> before;
  const auto marks = [&] {
    std::map<unsigned, std::uint64_t> all;
    for (const auto& wire : wires) {
      for (const auto& [code_point, count] : wire->code_points()) all[code_point] += count;
    }
    return all;
  };
  for (const auto traffic : policy::kTrafficClasses) {
    const std::string name(policy::to_string(traffic));
    lab_.homeport_checked("app set client --class " + name);
    const unsigned code_point = policy::outer_code_point(traffic);
    auto flow = fleet_->start_flow(1000);
    // The change may not be programmed yet: counted from the last that had another mark.
    wait_until(
        [&] {
          const auto now = marks();
          std::uint64_t of_class = 0, rest = 0;
          for (const auto& [each, count] : now) {
            (each == code_point ? of_class : rest) += count - before[each];
          }
          if (rest > 0) before = now;
          return rest == 0 && of_class > 200;
        },
        20s, "datagrams of class " + name + " with the code point " + std::to_string(code_point),
        [&] { return testing::PrintToString(marks()); });
    flow->finish();
    before = marks();
  }
  lab_.homeport_checked("app set client --class default");
}

TEST_F(PathChanges, APathThatFlapsIsDampedForSomeTime) {
  prefer(used_);
  std::string standing;
  for (int failures = 0; standing != "damped"; ++failures) {
    ASSERT_LT(failures, 6) << "is it not damped at all?";
    if (failures > 0) watch_->wait_change(used_, "better", 20s);
    link_of(used_).cut();
    watch_->wait_change(other(used_), "lost", 10s);
    link_of(used_).restore();
    wait_until(
        [&] {
          standing = path_view(c_, a_).standings[used_];
          return standing == "good" || standing == "damped";
        },
        20s, used_ + " to carry again", [&] { return path_view(c_, a_).explanation; });
  }
  const auto shown = [&](const std::string& view) {
    return run_checked(words(homeport_program() + " path " + view), {.inside = &c_.inside()});
  };
  EXPECT_THAT(shown("list"), HasSubstr("1 good, 1 damped"));
  EXPECT_THAT(shown("show hostA"), HasSubstr("damped until 20"));
  EXPECT_THAT(shown("explain hostA --class interactive"), HasSubstr("It is damped"));
  EXPECT_EQ(path_view(c_, a_).path, other(used_)) << "though the other is up";
  watch_->wait_change(used_, "better", 130s);
  prefer_no_more(used_);
  expect_whole();
}

}  // namespace
}  // namespace homeport::lab
