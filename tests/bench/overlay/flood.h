// Small frames as fast as they can be sent, and an end that takes them from a tap.
#pragma once

#include <cstdint>
#include <string>

#include "policy/address.h"

namespace homeport::bench {

struct FloodOptions {
  std::string device;  ///< the frames leave here
  policy::MacAddress source_mac;
  std::string source_ip, destination_ip;
  policy::MacAddress destination_mac;  ///< the first
  std::uint32_t destinations = 1;      ///< so many MAC addresses in turn, counting up from it
  double seconds = 1;
  int cpu = 0;  ///< it stays on this processor
};

struct FloodResult {
  std::uint64_t sent = 0;
  double seconds = 0;
  double busy_seconds = 0;  ///< of the processor, whatever it did
};

/// Sends UDP frames of 64 bytes (60 and the checksum that a wire adds). Throws std::system_error.
FloodResult flood(const FloodOptions& options);

/// Opens the tap device, says so in a line on standard output, and reads until the process ends.
void drain_tap(const std::string& device, int cpu);

/// `first`, `number` further.
policy::MacAddress nth_mac(const policy::MacAddress& first, std::uint32_t number);

}  // namespace homeport::bench
