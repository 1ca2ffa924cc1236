// How a task's progress is shown while it is waited for. Pure: the time is passed in, text comes
// back, fit for a terminal whatever other hosts have written about the task.
#pragma once

#include "agent/status/model.h"

#include <chrono>
#include <optional>
#include <string>

namespace homeport::agent {

/// One line without a newline:
/// "vm1 hostA -> hostB  copying  [#####.....]  47%  240.0 MiB of 512.0 MiB  47.6 MiB/s  5.7 s
/// left". What is not known is left out.
std::string progress_line(const TaskSnapshot& task);

/// One sentence about a task that has ended.
std::string task_summary(const TaskSnapshot& task);

/// On a terminal the line is drawn over itself; elsewhere (a log, a pipe) a line is added when the
/// phase changes and every second.
class ProgressPrinter {
 public:
  using Clock = std::chrono::steady_clock;

  explicit ProgressPrinter(bool interactive) : interactive_(interactive) {}

  /// What to print for the state `task` at `now`; may be empty.
  std::string update(const TaskSnapshot& task, Clock::time_point now);
  /// A line of its own, between two states of progress.
  std::string notice(const std::string& text);
  /// What to print before anything else may be printed.
  std::string finish();

 private:
  bool interactive_;
  std::string drawn_;  ///< The last line, to leave out repetitions.
  std::string phase_;
  std::optional<Clock::time_point> printed_;
};

}  // namespace homeport::agent
