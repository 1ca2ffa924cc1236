// The datagram client's record file, in this machine's byte order.
#pragma once

#include <cstdint>

namespace homeport::lab {

struct RecordHeader {
  std::uint64_t count;  ///< of the records that follow
  std::uint64_t duplicated;
};

/// Times in nanoseconds of CLOCK_MONOTONIC.
struct Record {
  std::uint64_t sent;
  std::uint64_t answered;  ///< 0: never
};

}  // namespace homeport::lab
