// What an agent costs while nothing moves, and how ten moves in a row go; `bench` beside this file
// calls it and makes the table. Prints one JSON object.
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>

#include <CLI/CLI.hpp>

#include <algorithm>
#include <cstdio>
#include <vector>

#include "tests/lab/account.h"
#include "tests/lab/failure.h"
#include "tests/lab/fleet.h"

namespace homeport::lab {
namespace {

/// The agents of the two hosts that moves go between, over `duration` of idleness.
boost::json::array measure_idle(Fleet& fleet, Clock::duration duration) {
  const std::vector<Host*> hosts{&fleet.a(), &fleet.b()};
  std::vector<double> before;
  for (Host* host : hosts) before.push_back(processor_ms(host->agent().pid()));
  let_pass(duration);
  boost::json::array all;
  const double seconds = std::chrono::duration<double>(duration).count();
  for (std::size_t i = 0; i < hosts.size(); ++i) {
    const pid_t pid = hosts[i]->agent().pid();
    all.push_back(
        boost::json::object{{"host", hosts[i]->name()},
                            {"processor_percent", (processor_ms(pid) - before[i]) / 10 / seconds},
                            {"rss_mib", memory_mib(pid, "Rss:")},
                            {"private_mib", private_mib(pid)}});
  }
  return all;
}

boost::json::object measure_moves(Fleet& fleet, unsigned count) {
  DatagramClient datagrams(fleet.lab().client(), fleet.options().ipv4,
                           fleet.lab().directory() / "datagrams.log");
  datagrams.wait_progress(1000, 30s);
  std::vector<std::pair<Clock::time_point, Clock::time_point>> times;
  std::uint64_t worst_stop = 0;
  for (unsigned i = 0; i < count; ++i) {
    Host& to = fleet.other_than(fleet.wait_somewhere());
    const auto start = Clock::now();
    const MoveOutcome outcome = fleet.move(to);
    if (outcome.status != 0) throw LabFailure("a move failed: " + outcome.err);
    times.emplace_back(start, Clock::now() + 500ms);
    worst_stop = std::max(worst_stop, outcome.task.downtime_ms);
    datagrams.wait_progress(1000, 30s);
    std::fprintf(stderr, "move %u of %u to %s: stopped for %llu ms\n", i + 1, count,
                 to.name().c_str(), static_cast<unsigned long long>(outcome.task.downtime_ms));
  }
  const DatagramReport report = datagrams.finish();
  double worst_gap = 0;
  for (const auto& [from, to] : times) {
    worst_gap = std::max(worst_gap, report.window(from, to).longest_gap_ms);
  }
  const auto all = report.all();
  return {{"moves", count},
          {"udp_sent", all.sent},
          {"udp_lost", all.lost},
          {"worst_stop_ms", worst_stop},
          {"worst_gap_ms", worst_gap}};
}

int run(int argc, char** argv) {
  CLI::App app("Measures idle agents, then ten moves in a row.", "agent_bench");
  unsigned idle_seconds = 60, moves = 10;
  app.add_option("--idle", idle_seconds, "Seconds of idleness (default: 60)");
  app.add_option("--moves", moves, "Moves in a row (default: 10)");
  CLI11_PARSE(app, argc, argv);
  end_waits_on_signals();
  try {
    Fleet fleet({.name = "agents"});
    boost::json::object result = {{"idle", measure_idle(fleet, idle_seconds * 1s)},
                                  {"moves", measure_moves(fleet, moves)},
                                  {"idle_after_moves", measure_idle(fleet, 1s)}};
    std::puts(boost::json::serialize(result).c_str());
  } catch (const LabFailure& failure) {
    std::fprintf(stderr, "agent_bench: %s\n", failure.what());
    return 1;
  }
  return 0;
}

}  // namespace
}  // namespace homeport::lab

int main(int argc, char** argv) {
  return homeport::lab::run(argc, argv);
}
