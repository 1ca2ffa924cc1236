// A wire on which frames take time and get lost, in a process of its own: the kernels that the lab
// runs on have no netem.
#pragma once

#include <chrono>
#include <csignal>
#include <cstdint>
#include <string>

#include "tests/lab/namespace.h"
#include "tests/lab/process.h"

namespace homeport::lab {

/// In each direction.
struct WireConditions {
  std::chrono::microseconds delay{0};
  std::uint32_t loss_ppm = 0;
};

/// To the program, with a value: microseconds, parts of a million.
inline const int kSetDelay = SIGRTMIN, kSetLoss = SIGRTMIN + 1;

class UserspaceWire {
 public:
  /// Takes `port` out of the bridge br0 of that namespace and lies between the two from now on.
  /// Whoever is at the port's other end must send whole packets with complete checksums.
  UserspaceWire(const Namespace& inside, const std::string& port);

  /// For what is sent from now on.
  void set(const WireConditions& conditions);

 private:
  Process process_;
};

}  // namespace homeport::lab
