// What the interfaces bench cannot have on one machine, in simulated time:
//   interfaces_simulated probing HOSTS   what a prober with that many hosts, four ways to each,
//   costs interfaces_simulated choices COUNT   how often the path that is chosen is not the best
//   interfaces_simulated loss COUNT      how soon interactive traffic leaves a path that loses 2%,
//                                        and how often one that does not lose more than before
// Prints a JSON object.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <string>
#include <vector>

#include "tests/bench/interfaces/simulated_loss.h"
#include "tests/unit/overlay/probing/probed_network.h"
#include "tests/unit/policy/path/link_matrix.h"

namespace homeport {
namespace {

using namespace std::chrono_literals;

double processor_seconds() {
  timespec time{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
}

/// Nothing is sent by applications: settled. `processor_us`: for a second, with the simulation.
void probing(int hosts) {
  constexpr auto kTime = 600s;
  overlay::ProbedNetwork network(1);
  for (int host = 0; host < hosts; ++host) {
    std::vector<overlay::ProbedWay> ways;
    for (int local : {1, 2}) {
      for (int remote : {0, 1}) {
        overlay::ProbedWay way = overlay::ProbedNetwork::way(local, 0);
        way.pair.remote = *policy::parse_address(fmt::format("10.{}.{}.1", remote, host));
        way.path.second = way.pair.remote;
        way.mtu = 1500;
        way.in_use = way.watched = ways.empty();
        network.truth[way.pair];
        ways.push_back(way);
      }
    }
    network.follow(fmt::format("host{}", host), ways);
  }
  network.run(60s);
  network.forget_totals();
  const double before = processor_seconds();
  network.run(kTime);
  const double seconds = static_cast<double>(kTime.count());
  fmt::print(
      "{{\"bytes_per_second\":{:.0f},\"asks_per_second\":{:.1f},\"looks_per_second\":{:.1f},"
      "\"processor_us\":{:.0f}}}\n",
      static_cast<double>(network.bytes()) / seconds, static_cast<double>(network.asks()) / seconds,
      static_cast<double>(network.looks()) / seconds,
      (processor_seconds() - before) / seconds * 1e6);
}

void choices(unsigned count) {
  policy::PerClass<double> worst;
  policy::PerClass<unsigned> wrong;
  for (unsigned seed = 0; seed < count; ++seed) {
    policy::LinkMatrix matrix(seed);
    matrix.run(30s);
    for (policy::TrafficClass traffic : policy::kTrafficClasses) {
      const double by = matrix.wrong_by(traffic);
      worst[traffic] = std::max(worst[traffic], by);
      wrong[traffic] += by > 1.1 ? 1 : 0;
    }
  }
  std::string all;
  for (policy::TrafficClass traffic : policy::kTrafficClasses) {
    all += fmt::format("{}\"{}\":{{\"worst\":{:.3f},\"wrong\":{}}}", all.empty() ? "" : ",",
                       to_string(traffic), worst[traffic], wrong[traffic]);
  }
  fmt::print("{{{}}}\n", all);
}

}  // namespace
}  // namespace homeport

int main(int argc, char** argv) {
  const std::string what = argc == 3 ? argv[1] : "";
  if (what == "probing") {
    homeport::probing(std::atoi(argv[2]));
  } else if (what == "choices") {
    homeport::choices(static_cast<unsigned>(std::atoi(argv[2])));
  } else if (what == "loss") {
    homeport::simulate_loss(std::atoi(argv[2]));
  } else {
    return 2;
  }
  return 0;
}
