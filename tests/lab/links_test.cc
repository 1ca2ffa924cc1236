// Hosts with two and three interfaces, whose links differ in speed, delay, loss and family: each
// conversation takes the pair that is really the best, and another when that changes. No connection
// ends while any pair works.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "tests/lab/fleet.h"
#include "tests/lab/path_view.h"
#include "tests/lab/wait.h"

namespace homeport::lab {
namespace {

using std::chrono::microseconds;
using testing::IsEmpty;

struct Matrix {
  std::string name;
  std::vector<LinkOptions> underlays;
  /// What each link takes in one direction: of the interfaces of C, and of A and B.
  std::vector<microseconds> of_c, of_others;
};

LinkOptions link(std::uint64_t rate_mbit, bool ipv6) {
  return {.rate_mbit = rate_mbit, .ipv6 = ipv6, .conditions = WireConditions{}};
}

/// A pair takes what both of its links do: `slowest` of one host on the link that is the fastest of
/// the other, so that the best pair joins two underlays where they are of one family.
std::vector<Matrix> matrices() {
  return {{.name = "TwoByTwoOfIpv4",
           .underlays = {link(400, false), link(200, false)},
           .of_c = {2ms, 12ms},
           .of_others = {14ms, 3ms}},
          {.name = "ThreeByTwoOfIpv6",
           .underlays = {link(400, true), link(200, true), link(300, true)},
           .of_c = {12ms, 9ms, 2ms},
           .of_others = {3ms, 14ms}},
          {.name = "ThreeByTwoMixed",
           .underlays = {link(400, false), link(200, true), link(300, true)},
           .of_c = {9ms, 12ms, 2ms},
           .of_others = {9ms, 3ms}}};
}

class LinksTest : public testing::TestWithParam<Matrix> {
 protected:
  LinksTest() {
    for (Host* host : fleet_.lab().hosts()) {
      for (const auto& each : host->underlay_interfaces()) relax(*host, each.underlay);
    }
  }
  void TearDown() override { EXPECT_THAT(fleet_.lab().complaints({kNotKnownYet}), IsEmpty()); }

  microseconds delay_of(const Host& host, unsigned underlay) const {
    return (&host == &c_ ? GetParam().of_c : GetParam().of_others).at(underlay);
  }
  void relax(Host& host, unsigned underlay) {
    host.underlay_link(underlay).set({.delay = delay_of(host, underlay)});
  }

  /// The quickest pair from C, as path_view() calls it, without those for which `out` is true.
  std::string best(const std::function<bool(unsigned here, unsigned there)>& out = {}) const {
    std::string name;
    microseconds least = microseconds::max();
    for (const auto& here : c_.underlay_interfaces()) {
      for (const auto& there : home_->underlay_interfaces()) {
        const auto& underlays = GetParam().underlays;
        if (underlays[here.underlay].ipv6 != underlays[there.underlay].ipv6) continue;
        if (out && out(here.underlay, there.underlay)) continue;
        const microseconds takes = delay_of(c_, here.underlay) + delay_of(*home_, there.underlay);
        if (takes >= least) continue;
        least = takes;
        name = here.device + " - " + there.device;
      }
    }
    return name;
  }

  void wait_path(const std::string& path, Clock::duration timeout = 30s) {
    ClassView here, there;
    wait_until(
        [&] {
          here = path_view(c_, *home_);
          there = path_view(*home_, c_);
          return here.path == path && here.peer_path == path && here.state == "agreed" &&
                 there.state == "agreed";
        },
        timeout, "interactive traffic to take " + path,
        [&] { return here.path + " " + here.state + "\n" + here.explanation; });
  }
  /// The number of the interface that C uses now.
  unsigned used_here() const {
    const std::string path = path_view(c_, *home_).path;
    return static_cast<unsigned>(path.at(path.find(" - ") - 1) - '0');
  }

  static FleetOptions options() {
    FleetOptions options{.name = "links"};
    options.guest.offloads = false;
    options.underlays = GetParam().underlays;
    return options;
  }

  Fleet fleet_{options()};
  Host& c_ = fleet_.c();
  Host* home_ = &fleet_.a();  ///< of the guest
};

TEST_P(LinksTest, TheBestPairIsUsedWhateverChanges) {
  wait_path(best());
  StreamClient stream(fleet_.lab().client(), fleet_.options().ipv4,
                      fleet_.lab().directory() / "stream");
  const auto goes_on = [&] { stream.wait_progress(64 << 10, 20s); };
  goes_on();

  const unsigned here = used_here();
  const std::string without = best([&](unsigned from, unsigned) { return from == here; });
  Link& link = c_.underlay_link(here);
  link.set({.delay = delay_of(c_, here) + 40ms});
  wait_path(without);
  goes_on();
  relax(c_, here);
  wait_path(best());

  fleet_.lab().homeport_checked("path forbid all hostC/eth" + std::to_string(here));
  wait_path(without, 5s);
  goes_on();
  fleet_.lab().homeport_checked("path permit all hostC/eth" + std::to_string(here));
  wait_path(best());

  link.cut();
  wait_path(without, 5s);
  goes_on();
  link.restore();
  goes_on();

  // The guest takes its connections along to a host that has pairs of its own.
  Host& next = fleet_.other_than(*home_);
  const MoveOutcome move = fleet_.move(next);
  EXPECT_EQ(move.task.state, "succeeded") << move.err;
  home_ = &next;
  goes_on();
  wait_paths_agreed(c_, *home_);
  const unsigned then = used_here();  // one that has failed may be damped
  c_.underlay_link(then).set({.delay = delay_of(c_, then), .loss_ppm = 100'000});
  wait_until([&] { return used_here() != then; }, 20s, "the link that loses to be left",
             [&] { return path_view(c_, *home_).explanation; });
  goes_on();

  const StreamReport report = stream.finish();
  EXPECT_TRUE(report.survived) << report.error;
  EXPECT_EQ(report.mismatches, 0u);
}

/// Of all links, at random, at both hosts, as long as one pair works.
TEST_P(LinksTest, ConnectionsOutliveRandomFailuresForLong) {
  const char* minutes = std::getenv("HOMEPORT_LINKS_SOAK_MINUTES");
  const auto until =
      Clock::now() + std::chrono::minutes(minutes == nullptr ? 10 : std::stoi(minutes));
  std::mt19937 random(1);
  const auto below = [&](unsigned limit) {
    return std::uniform_int_distribution<unsigned>(0, limit - 1)(random);
  };
  wait_path(best());
  std::vector<std::unique_ptr<StreamClient>> streams;
  for (const std::string& address : {fleet_.options().ipv4, fleet_.options().ipv6}) {
    streams.push_back(std::make_unique<StreamClient>(
        fleet_.lab().client(), address,
        fleet_.lab().directory() / ("stream" + std::to_string(streams.size())), 64));
  }
  unsigned failures = 0;
  while (Clock::now() < until) {
    Host& host = below(2) == 0 ? c_ : *home_;
    const auto& interfaces = host.underlay_interfaces();
    const unsigned at = interfaces[below(static_cast<unsigned>(interfaces.size()))].underlay;
    Link& link = host.underlay_link(at);
    const WireConditions usual{.delay = delay_of(host, at)};
    const unsigned kind = below(5);
    if (kind == 0) link.cut();
    if (kind == 1) link.lose({.from_member = 100, .to_member = 100});
    if (kind == 2) link.lose({.from_member = 100, .to_member = 0});
    if (kind == 3) link.set({.delay = usual.delay, .loss_ppm = 30'000});
    if (kind == 4) link.set({.delay = usual.delay + 50ms});
    ++failures;
    for (auto& stream : streams) stream->wait_progress(32 << 10, 60s);
    if (kind == 0) link.restore();
    link.lose({});
    link.set(usual);
    for (auto& stream : streams) stream->wait_progress(32 << 10, 60s);
    if (below(8) == 0) {
      Host& next = fleet_.other_than(*home_);
      const MoveOutcome move = fleet_.move(next);
      EXPECT_EQ(move.task.state, "succeeded") << move.err;
      home_ = &next;
    }
  }
  RecordProperty("failures", std::to_string(failures));
  for (auto& stream : streams) {
    const StreamReport report = stream->finish();
    EXPECT_TRUE(report.survived) << report.error;
    EXPECT_EQ(report.mismatches, 0u);
  }
}

/// An operator renumbers an interface that is in use.
TEST_P(LinksTest, AnAddressMayChangeUnderTraffic) {
  wait_path(best());
  StreamClient stream(fleet_.lab().client(), fleet_.options().ipv4,
                      fleet_.lab().directory() / "stream");
  stream.wait_progress(64 << 10, 20s);
  // That of the VTEP is the host's name to others, and stays.
  const auto& interface = c_.underlay_interfaces().back();
  const bool ipv6 = interface.address.find(':') != std::string::npos;
  const std::string length = ipv6 ? "/64" : "/24";
  const std::string other =
      interface.address.substr(0, interface.address.rfind(ipv6 ? ':' : '.') + 1) +
      std::string("77");
  c_.inside().ip("addr add " + other + length + (ipv6 ? " nodad" : "") + " dev " +
                 interface.device);
  c_.inside().ip("addr del " + interface.address + length + " dev " + interface.device);
  wait_until(
      [&] {
        const ClassView view = path_view(c_, *home_);
        return view.explanation.find(other) != std::string::npos ||
               (view.state == "agreed" && view.path == best());
      },
      30s, "C to use what it has now", [&] { return path_view(c_, *home_).explanation; });
  stream.wait_progress(256 << 10, 30s);
  const StreamReport report = stream.finish();
  EXPECT_TRUE(report.survived) << report.error;
  EXPECT_EQ(report.mismatches, 0u);
}

INSTANTIATE_TEST_SUITE_P(Matrices, LinksTest, testing::ValuesIn(matrices()),
                         [](const auto& each) { return each.param.name; });

}  // namespace
}  // namespace homeport::lab
