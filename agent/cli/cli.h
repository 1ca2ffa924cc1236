// The command line `homeport`: parses arguments, runs one command, returns its exit code.
#pragma once

#include <iosfwd>
#include <string>
#include <vector>

namespace homeport::agent {

/// What the process exits with; `homeport(1)` documents them.
enum ExitCode : int {
  kExitDone = 0,
  kExitFailed = 1,  ///< Failed, or the move was cancelled or rolled back.
  kExitUsage = 2,
  kExitInDoubt = 3,  ///< The outcome is not known yet: `homeport task resolve`.
  kExitInterrupted = 130,
};

/// Where a command writes, and whether `out` is a terminal (progress is drawn in place then).
struct Terminal {
  std::ostream& out;
  std::ostream& err;
  bool interactive = false;
};

/// Runs `homeport ARGUMENTS...` (without the program's name) to its end. Never throws.
int run_command_line(const std::vector<std::string>& arguments, Terminal terminal);

}  // namespace homeport::agent
