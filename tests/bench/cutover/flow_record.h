// What the flow program and the bench agree on: commands, state and record.
#pragma once

#include <atomic>
#include <cstdint>

#include "tests/bench/cutover/takes.h"

namespace homeport::lab {

/// One byte each, followed by that of a place, 'a' or 'b'.
enum class FlowCommand : char {
  prepare = 'p',          ///< throw away what lies in the socket there
  go = 'g',               ///< take over there
  go_with_traffic = 't',  ///< the same, as soon as a datagram arrives there
};

/// How far the program is: a file of this size that both map.
struct FlowState {
  std::atomic<std::uint64_t> sent, taken, prepared, switches;
};

/// In this machine's byte order: the header, when each number was sent, then a Take for each.
struct FlowRecordHeader {
  std::uint64_t sent = 0, taken = 0;
};

}  // namespace homeport::lab
