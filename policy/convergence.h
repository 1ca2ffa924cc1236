// When to stop copying a running guest's memory in rounds and switch over.
//
// Pure: the caller measures, this decides. The aim is the lowest downtime that can be had cheaply:
// rounds go on below the downtime limit while they still gain a good part of what they cost, and
// end early when they do not.
#pragma once

#include <chrono>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace homeport::policy {

/// What to do when the downtime limit cannot be met.
enum class OnNoConvergence {
  force,     ///< switch over all the same
  rollback,  ///< give the move up; the guest stays at the source
};

struct ConvergenceLimits {
  std::chrono::milliseconds downtime_limit{300};
  std::chrono::milliseconds copy_timeout{600'000};  ///< from the start of copying
  std::uint32_t max_rounds = 100;
  OnNoConvergence on_no_convergence = OnNoConvergence::force;
};

/// One round of copying that has ended, and the scan after it.
struct CopyRound {
  std::uint64_t bytes_sent = 0;  ///< on the wire
  std::chrono::nanoseconds duration{};
  std::uint64_t bytes_left = 0;  ///< waiting to be sent after it: pages written meanwhile
};

/// Costs that do not depend on how much memory is left, as measured or estimated by the caller.
struct FixedCosts {
  /// The switch itself: stop, device state, commit, resume.
  std::chrono::nanoseconds switch_over{};
  /// Part of every round: scan, I/O barrier, the answer of the peer.
  std::chrono::nanoseconds round{};
};

enum class ConvergenceStep { another_round, switch_now, switch_by_force, give_up };

struct ConvergenceDecision {
  ConvergenceStep step = ConvergenceStep::another_round;
  std::chrono::nanoseconds predicted_downtime{};  ///< if switched now
  std::uint64_t bandwidth = 0;                    ///< bytes per second, as measured; 0: unknown
  /// Whether another round may let other traffic go first. Not where rounds leave hardly less than
  /// those before them and the path carries much less than it did: others have taken it.
  bool gives_way = true;
  std::string reason;  ///< a sentence with the figures
};

/// Decides after a round. `rounds`: all so far, oldest first; `elapsed`: since copying began.
ConvergenceDecision decide_convergence(const ConvergenceLimits& limits,
                                       std::span<const CopyRound> rounds, const FixedCosts& costs,
                                       std::chrono::nanoseconds elapsed);

std::string_view to_string(ConvergenceStep step);

}  // namespace homeport::policy
