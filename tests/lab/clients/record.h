// The datagram clients' record files, in this machine's byte order.
#pragma once

#include <cstdint>

namespace homeport::lab {

struct RecordHeader {
  std::uint64_t count = 0;  ///< of the records that follow, by number
  std::uint64_t duplicated = 0;
  std::uint64_t reordered = 0;    ///< came after a higher number
  std::uint64_t unreachable = 0;  ///< ICMP errors of that kind that the sender got
};

/// Times in nanoseconds of CLOCK_MONOTONIC.
struct Record {
  std::uint64_t sent;
  std::uint64_t answered;  ///< 0: never
};

/// Of a one-way flow.
struct FlowRecord {
  std::uint64_t sent;
  std::uint64_t received;  ///< 0: never
  std::uint64_t place;     ///< number of the namespace it came to, in the order of the arguments
};

}  // namespace homeport::lab
