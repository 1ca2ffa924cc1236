// What probing costs a host, with real agents.
#pragma once

#include <chrono>
#include <cstddef>
#include <vector>

namespace homeport::lab {

struct ProbingCost {
  std::size_t ways = 0;         ///< pairs of interfaces, to all peers: what is asked
  double asks_per_second = 0;   ///< of this host, answered or not
  double bytes_per_second = 0;  ///< on its links, in both directions, whatever is on them
  double processor_share = 0;   ///< of one processor: the whole agent
};

/// Of one host, with so many others that have a network in common with it and none with each other,
/// two interfaces each and a router between them: four pairs to each. Nothing is sent by the
/// applications. Measured `runs` times for `time`, after they have agreed and four times as long to
/// settle.
std::vector<ProbingCost> probing_cost(std::size_t peers, std::chrono::seconds time, unsigned runs);

}  // namespace homeport::lab
