// What became of the datagrams of one flow: pure arithmetic on what the sender and the application
// wrote down. Times in nanoseconds of CLOCK_MONOTONIC.
#pragma once

#include <cstdint>
#include <vector>

namespace homeport::lab {

/// The application took datagram `number` from its socket.
struct Take {
  std::uint64_t number;
  std::uint64_t time;
};

struct FlowWindow {
  std::uint64_t sent = 0;        ///< in the window
  std::uint64_t lost = 0;        ///< of those: never taken
  std::uint64_t duplicated = 0;  ///< taken in the window, and before
  std::uint64_t reordered = 0;   ///< taken in the window, after one with a higher number
  double longest_gap_ms = 0;     ///< between two takes, or one and the window's edge
  double longest_hold_ms = 0;    ///< from sent to taken, of those taken in the window
};

/// `sent`: when each number was sent. `takes`: in the order they happened.
FlowWindow flow_window(const std::vector<std::uint64_t>& sent, const std::vector<Take>& takes,
                       std::uint64_t from, std::uint64_t to);

}  // namespace homeport::lab
