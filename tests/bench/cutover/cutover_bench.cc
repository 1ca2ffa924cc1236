// Runs of the cutover bench; `bench` beside this file calls it and makes the table. Each run has
// hosts of its own. Prints a JSON object per run.
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>

#include <CLI/CLI.hpp>

#include <algorithm>
#include <cstdio>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tests/bench/cutover/bridge_system.h"
#include "tests/bench/cutover/homeport_system.h"
#include "tests/bench/cutover/moving_flow.h"
#include "tests/bench/cutover/ovn_system.h"
#include "tests/lab/failure.h"
#include "tests/lab/lab.h"

namespace homeport::lab {
namespace {

struct Candidate {
  std::string name;
  std::function<std::unique_ptr<System>()> make;
};

struct Interval {
  Clock::time_point from, to;
};

boost::json::object to_json(const FlowWindow& window) {
  return {{"sent", window.sent},
          {"lost", window.lost},
          {"duplicated", window.duplicated},
          {"reordered", window.reordered},
          {"gap_ms", window.longest_gap_ms},
          {"hold_ms", window.longest_hold_ms}};
}

boost::json::array to_json(const MovingFlow& flow, const std::vector<Interval>& intervals) {
  boost::json::array all;
  for (const Interval& interval : intervals) {
    all.push_back(to_json(flow.window(interval.from, interval.to)));
  }
  return all;
}

/// Moves the port there and back, `moves` times in all.
boost::json::object run_of(const Candidate& candidate, unsigned moves) {
  const std::unique_ptr<System> system = candidate.make();
  Place place = Place::a;
  MovingFlow flow(system->containers());
  flow.wait_taken(MovingFlow::kPerSecond);
  const auto start = Clock::now();
  std::vector<Interval> rests, windows;
  boost::json::array seconds;
  for (unsigned move = 0; move < moves; ++move) {
    const auto rest = Clock::now();
    flow.wait_taken(MovingFlow::kPerSecond / 2);
    place = other(place);
    flow.prepare(place);
    const auto from = Clock::now();
    system->move(place, flow);
    seconds.push_back(std::chrono::duration<double>(Clock::now() - from).count());
    // What the move sets off may show after its end.
    flow.wait_taken(MovingFlow::kPerSecond / 2);
    rests.push_back({rest, from});
    windows.push_back({from, Clock::now()});
  }
  const auto end = Clock::now();
  flow.finish();
  return {{"who", candidate.name},
          {"all", to_json(flow.window(start, end))},
          {"moves", to_json(flow, windows)},
          {"rests", to_json(flow, rests)},
          {"seconds", seconds}};
}

int run(int argc, char** argv) {
  CLI::App app("Moves a port with Homeport and with its peers, in turns.", "cutover_bench");
  unsigned rounds = 3, moves = 10;
  std::string ovn;
  std::vector<std::string> only;
  app.add_option("--rounds", rounds, "Runs of each")->check(CLI::Range(1, 100));
  app.add_option("--moves", moves, "Moves in a run")->check(CLI::Range(1, 100));
  app.add_option("--ovn", ovn, "Where OVN's packages are unpacked")->required();
  app.add_option("--only", only, "Names of systems (default: all)");
  CLI11_PARSE(app, argc, argv);
  end_waits_on_signals();
  std::vector<Candidate> candidates = {
      {"homeport", [] { return std::make_unique<HomeportSystem>(GoOn::with_traffic); }},
      {"homeport-told", [] { return std::make_unique<HomeportSystem>(GoOn::when_told); }},
      {"ovn-activation", [&] { return std::make_unique<OvnSystem>(ovn, OvnMove::activation); }},
      {"ovn-rebinding", [&] { return std::make_unique<OvnSystem>(ovn, OvnMove::rebinding); }},
      {"bridge", [] { return std::make_unique<BridgeSystem>(); }},
  };
  if (!only.empty()) {
    std::erase_if(candidates, [&](const Candidate& candidate) {
      return std::find(only.begin(), only.end(), candidate.name) == only.end();
    });
  }
  try {
    remove_abandoned_labs();
    for (unsigned round = 0; round < rounds; ++round) {
      for (std::size_t turn = 0; turn < candidates.size(); ++turn) {
        // Turning order: what else the machine does weighs on all alike.
        const Candidate& candidate = candidates[(round + turn) % candidates.size()];
        std::puts(boost::json::serialize(run_of(candidate, moves)).c_str());
        std::fflush(stdout);
      }
    }
  } catch (const LabFailure& failure) {
    std::fprintf(stderr, "cutover_bench: %s\n", failure.what());
    return 1;
  }
  return 0;
}

}  // namespace
}  // namespace homeport::lab

int main(int argc, char** argv) {
  return homeport::lab::run(argc, argv);
}
