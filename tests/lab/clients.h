// The client programs: a checked TCP stream and a numbered UDP stream.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "tests/lab/process.h"

namespace homeport::lab {

struct StreamReport {
  std::uint64_t sent_bytes = 0;
  std::uint64_t checked_bytes = 0;  ///< came back and were right
  std::uint64_t mismatches = 0;
  bool survived = false;  ///< one connection from first to last byte
  std::string error;      ///< what ended it, empty if nothing did
};

/// One TCP connection whose every byte is checked by the guest and, echoed, by the client.
class StreamClient {
 public:
  /// `rate_kib`: KiB/s offered, so that an emulated guest is not saturated.
  StreamClient(const Namespace& from, const std::string& address, std::filesystem::path log,
               unsigned rate_kib = 256);

  /// Waits until `bytes` more have been checked: the stream is alive.
  void wait_progress(std::uint64_t bytes, Clock::duration timeout);
  /// Ends the stream in order, waits for the last echo, and reports.
  StreamReport finish(Clock::duration timeout = 30s);

 private:
  Process process_;
};

/// One datagram of the numbered stream; times in nanoseconds of CLOCK_MONOTONIC.
struct Datagram {
  std::uint64_t sent = 0;
  std::uint64_t answered = 0;  ///< 0: never
};

struct DatagramWindow {
  std::uint64_t sent = 0;
  std::uint64_t lost = 0;
  double longest_gap_ms = 0;  ///< between two answers, or between one and the window's edge
};

struct DatagramReport {
  std::vector<Datagram> datagrams;  ///< by number
  std::uint64_t duplicated = 0;
  /// What was sent in [from, to], and the longest silence in it.
  DatagramWindow window(Clock::time_point from, Clock::time_point to) const;
  DatagramWindow all() const;
};

/// Numbered datagrams to the guest and back, 1,000 a second unless said otherwise.
class DatagramClient {
 public:
  DatagramClient(const Namespace& from, const std::string& address, std::filesystem::path log,
                 unsigned per_second = 1000);

  void wait_progress(std::uint64_t answers, Clock::duration timeout);
  /// Stops sending, waits for answers under way, and reports.
  DatagramReport finish(Clock::duration timeout = 30s);

 private:
  std::filesystem::path record_;
  Process process_;
};

}  // namespace homeport::lab
