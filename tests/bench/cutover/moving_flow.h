// The traffic of the cutover bench: one flow of numbered datagrams to an application that is in one
// of two places. The flow program carries it; this is its other end.
#pragma once

#include <filesystem>
#include <optional>
#include <vector>

#include "overlay/link/unique_fd.h"
#include "tests/bench/cutover/containers.h"
#include "tests/bench/cutover/flow_record.h"
#include "tests/lab/cleanup.h"
#include "tests/lab/process.h"
#include "tests/lab/wait.h"

namespace homeport::lab {

/// Sends from construction on. The application is a thread that reads the socket of the place where
/// it is. What comes to the place it has left is never taken; what comes to the place where it will
/// be, from prepare() on, waits in the socket there.
class MovingFlow {
 public:
  static constexpr unsigned kPerSecond = 10'000;

  /// The application starts at A and announces itself there.
  explicit MovingFlow(const Containers& containers);

  /// The application is about to come to `place`: what lies in the socket there is from before.
  void prepare(Place place);
  /// The moment of the move, at once; does not wait for it. The application takes what has arrived
  /// where it is, stops, goes on at `place`, and announces itself from there by a RARP request, as
  /// QEMU does, and a gratuitous ARP request.
  void take_over(Place place);
  /// The same, as soon as a datagram arrives at `place`.
  void take_over_with_traffic(Place place);
  /// Waits until that has happened.
  void wait_taken_over();

  /// Waits until `count` more datagrams have been taken.
  void wait_taken(std::uint64_t count);
  /// Ends sending, waits until nothing has arrived for a second, and reads the record.
  void finish();

  /// After finish().
  FlowWindow window(Clock::time_point from, Clock::time_point to) const;

 private:
  void command(FlowCommand what, Place place);
  void wait_for(const std::atomic<std::uint64_t>& counter, std::uint64_t value, const char* what);

  std::filesystem::path directory_;
  Cleanup cleanup_;
  overlay::UniqueFd commands_;
  FlowState* state_ = nullptr;
  std::optional<Process> process_;
  std::uint64_t prepared_ = 0, switches_ = 0;  // asked for
  std::vector<std::uint64_t> sent_;
  std::vector<Take> takes_;
};

}  // namespace homeport::lab
