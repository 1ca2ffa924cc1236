// Runs of the interfaces bench; `bench` beside this file calls it and makes the table. Each run has
// hosts of its own. Prints a JSON object per run.
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include <CLI/CLI.hpp>

#include <algorithm>
#include <cstdio>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tests/bench/interfaces/homeport_system.h"
#include "tests/bench/interfaces/peer_systems.h"
#include "tests/bench/interfaces/probing_cost.h"
#include "tests/lab/failure.h"

namespace homeport::lab {
namespace {

constexpr std::uint64_t kSome = 300;  // records
constexpr std::chrono::milliseconds kDelay{20};
constexpr unsigned kLossPercent = 2;

struct Candidate {
  std::string name;
  std::function<std::unique_ptr<System>()> make;
};

std::uint64_t received(const Namespace& host, std::size_t interface) {
  const auto shown =
      boost::json::parse(host.ip("-s -j link show dev eth" + std::to_string(interface)));
  return shown.at(0).at("stats64").at("rx").at("packets").to_number<std::uint64_t>();
}

/// Of the destination: by which most of the traffic comes.
std::size_t used_interface(const System& system, Traffic& traffic) {
  const Namespace& host = system.host(Side::destination);
  const std::uint64_t before[] = {received(host, 0), received(host, 1)};
  traffic.wait_progress(kSome, 20s);
  return received(host, 0) - before[0] >= received(host, 1) - before[1] ? 0 : 1;
}

void begin_fault(const std::string& fault, System& system, std::size_t interface) {
  Link& link = system.link(Side::destination, interface);
  if (fault == "carrier") link.cut();
  if (fault == "carrier-source") system.link(Side::source, interface).cut();
  if (fault == "blackhole") link.lose({.from_member = 100, .to_member = 100});
}

void end_fault(const std::string& fault, System& system, std::size_t interface) {
  Link& link = system.link(Side::destination, interface);
  if (fault == "carrier") link.restore();
  if (fault == "carrier-source") system.link(Side::source, interface).restore();
  if (fault == "blackhole") link.lose({});
}

double milliseconds(Clock::duration time) {
  return std::chrono::duration<double, std::milli>(time).count();
}

double rest_gap(System& system) {
  const auto traffic = system.start_traffic();
  traffic->wait_progress(2 * kSome, 20s);
  return traffic->finish();
}

/// The longest gap around the failure of the interface in use. When the traffic has not gone on
/// within `patience`, that is how long it was.
boost::json::object failure(const Candidate& candidate, const std::string& fault,
                            Clock::duration patience) {
  const auto system = candidate.make();
  boost::json::value rest;  // of each system, not of each failure
  if (fault == "carrier") rest = rest_gap(*system);
  const auto traffic = system->start_traffic();
  traffic->wait_progress(kSome, 20s);
  const std::size_t interface = used_interface(*system, *traffic);
  const auto begin = Clock::now();
  begin_fault(fault, *system, interface);
  bool went_on = true;
  try {
    traffic->wait_progress(kSome, patience);
  } catch (const Interrupted&) {
    throw;
  } catch (const LabFailure&) {
    went_on = false;
  }
  const double waited = milliseconds(Clock::now() - begin);
  end_fault(fault, *system, interface);
  const double gap = traffic->finish();
  return {{"who", candidate.name},
          {"fault", fault},
          {"went_on", went_on},
          {"gap_ms", went_on ? gap : std::max(gap, waited)},
          {"rest_gap_ms", rest}};
}

/// How long it takes until the source's agent says that it uses another path, once the one in use
/// has become worse.
boost::json::object degradation(const std::string& fault, Clock::duration patience) {
  HomeportOptions options{.fast = false, .interactive = true, .delay = {}};
  if (fault == "delay") options.delay = kDelay;
  HomeportSystem system(options);
  const auto traffic = system.start_traffic();
  // Its state is long since settled when it begins.
  traffic->wait_progress(5 * kSome, 20s);
  const std::size_t interface = used_interface(system, *traffic);
  const std::string before = system.path();
  const auto begin = Clock::now();
  if (fault == "delay") {
    system.begin_delay(interface);
  } else {
    system.link(Side::destination, interface).lose({.from_member = 0, .to_member = kLossPercent});
  }
  bool changed = true;
  try {
    wait_until([&] { return system.path() != before; }, patience, "another path");
  } catch (const Interrupted&) {
    throw;
  } catch (const LabFailure&) {
    changed = false;
  }
  const double took = milliseconds(Clock::now() - begin);
  traffic->finish();
  return {{"who", "homeport"},
          {"fault", fault},
          {"went_on", changed},
          {"gap_ms", took},
          {"rest_gap_ms", nullptr}};
}

boost::json::object to_json(const ProbingCost& found) {
  return {{"who", "homeport"},
          {"fault", "cost"},
          {"ways", found.ways},
          {"asks_per_second", found.asks_per_second},
          {"bytes_per_second", found.bytes_per_second},
          {"processor_share", found.processor_share}};
}

bool among(const std::vector<std::string>& names, const std::string& name) {
  return names.empty() || std::find(names.begin(), names.end(), name) != names.end();
}

void print(const boost::json::object& run) {
  std::puts(boost::json::serialize(run).c_str());
  std::fflush(stdout);
}

int run(int argc, char** argv) {
  CLI::App app("Lets interfaces fail, with Homeport and with its peers, in turns.",
               "interfaces_bench");
  unsigned rounds = 3, patience_s = 5, cost_peers = 0;
  std::vector<std::string> only, faults;
  app.add_option("--rounds", rounds, "Runs of each")->check(CLI::Range(1, 100));
  app.add_option("--patience", patience_s, "Seconds until nothing is waited for any more")
      ->check(CLI::Range(1, 600));
  app.add_option("--only", only, "Names of systems (default: all)");
  app.add_option("--faults", faults, "carrier, carrier-source, blackhole, delay, loss");
  app.add_option("--cost-peers", cost_peers, "Instead: what probing so many hosts costs one")
      ->check(CLI::Range(1, 200));
  CLI11_PARSE(app, argc, argv);
  end_waits_on_signals();
  const std::chrono::seconds patience(patience_s);
  const auto vswitch = [](unsigned interval_ms) {
    return [interval_ms] { return std::make_unique<OpenVSwitchSystem>(interval_ms); };
  };
  const std::vector<Candidate> candidates = {
      {"homeport", [] { return std::make_unique<HomeportSystem>(HomeportOptions{}); }},
      {"homeport-fast",
       [] { return std::make_unique<HomeportSystem>(HomeportOptions{.fast = true}); }},
      {"mptcp", [] { return std::make_unique<MptcpSystem>(); }},
      {"ovs-bfd", vswitch(0)},
      {"ovs-bfd-100", vswitch(100)},
      {"ovs-bfd-10", vswitch(10)},
      {"nexthops", [] { return std::make_unique<NexthopSystem>(); }},
  };
  try {
    remove_abandoned_labs();
    if (cost_peers != 0) {
      for (const ProbingCost& run : probing_cost(cost_peers, patience, rounds)) print(to_json(run));
      return 0;
    }
    for (unsigned round = 0; round < rounds; ++round) {
      for (const std::string fault : {"carrier", "carrier-source", "blackhole"}) {
        for (std::size_t turn = 0; turn < candidates.size(); ++turn) {
          // Turning order: what else the machine does weighs on all alike.
          const Candidate& candidate = candidates[(round + turn) % candidates.size()];
          // How it detects silent failures makes no difference where carrier is lost.
          if (candidate.name == "homeport-fast" && fault != "blackhole") continue;
          if (!among(only, candidate.name) || !among(faults, fault)) continue;
          print(failure(candidate, fault, patience));
        }
      }
      for (const std::string fault : {"delay", "loss"}) {
        if (!among(only, "homeport") || !among(faults, fault)) continue;
        print(degradation(fault, patience));
      }
    }
  } catch (const LabFailure& failure) {
    std::fprintf(stderr, "interfaces_bench: %s\n", failure.what());
    return 1;
  }
  return 0;
}

}  // namespace
}  // namespace homeport::lab

int main(int argc, char** argv) {
  return homeport::lab::run(argc, argv);
}
