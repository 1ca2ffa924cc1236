// Talking to the worker inside a guest, through the overlay like any other client.
#pragma once

#include <cstdint>
#include <string>

#include "tests/lab/namespace.h"
#include "tests/lab/wait.h"

namespace homeport::lab {

struct GuestStatus {
  std::string boot_id;
  std::uint64_t counter = 0;             ///< goes up every millisecond the guest runs
  std::uint64_t stream_bytes = 0;        ///< received on all streams
  std::uint64_t stream_mismatches = 0;   ///< bytes that were not the pattern's
  std::uint64_t stream_connections = 0;  ///< accepted since boot
  std::uint64_t datagrams = 0;           ///< distinct numbers received
  std::uint64_t datagram_drops = 0;      ///< dropped by the guest's own kernel, by its count
  std::uint64_t memory_written_bytes = 0;
  std::uint64_t memory_mismatches = 0;
  std::uint64_t disk_pages = 0;  ///< pages read with O_DIRECT and compared
  std::uint64_t disk_mismatches = 0;
  std::string disk_first_mismatch;  ///< empty when there is none
};

/// A client of the guest's control port. Each call is a connection of its own: it works whichever
/// host the guest is on.
class GuestControl {
 public:
  GuestControl(const Namespace& from, std::string address) : from_(from), address_(address) {}

  /// One command line; returns the JSON line. Throws LabFailure on no answer within `timeout`.
  std::string ask(const std::string& command, Clock::duration timeout = 10s) const;
  GuestStatus status() const;
  void wait_ready(Clock::duration timeout) const;

  /// Fills `region_mib` with half-compressible pages, then rewrites the first `hot_mib` of it over
  /// and over at `mib_per_second`; returns once the region is filled.
  void write_memory(unsigned region_mib, unsigned hot_mib, unsigned mib_per_second) const;
  /// Compares every page of the region with what was last written to it.
  void check_memory() const;
  /// Reads the disk with O_DIRECT without end, comparing each page, into `buffer_mib` of memory.
  void read_disk(unsigned buffer_mib) const;
  /// Compares the whole buffer once more with what was read into it.
  void check_disk() const;

 private:
  const Namespace& from_;
  std::string address_;
};

}  // namespace homeport::lab
