// Processes of the lab: agents, servers and clients, each in a namespace with a log of its own.
#pragma once

#include <sys/types.h>
#include <csignal>

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "tests/lab/namespace.h"
#include "tests/lab/wait.h"

namespace homeport::lab {

using Command = std::vector<std::string>;

struct ProcessOptions {
  const Namespace* inside = nullptr;                    ///< nullptr: the caller's own namespace
  std::map<std::string, std::string> environment = {};  ///< added to the caller's
  std::filesystem::path log = {};  ///< standard output and error are appended; none: discarded
  bool show = false;               ///< output goes where the caller's goes instead
};

/// A child process. It is ended (SIGTERM, then SIGKILL) with the object, and by the kernel if the
/// lab itself dies.
class Process {
 public:
  /// Throws LabFailure when the program cannot be started.
  Process(Command command, ProcessOptions options);
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  pid_t pid() const { return pid_; }
  bool running();
  /// Exit status, or 128 + signal number; nullopt while it runs.
  std::optional<int> exit_status();
  /// Sends a signal; no effect once the process has ended.
  void send_signal(int signal);
  /// Waits for the end and returns the exit status.
  int wait(Clock::duration timeout);
  /// SIGTERM, then SIGKILL when that does not end it within `patience`. Returns the exit status.
  int stop(Clock::duration patience = 10s);
  /// SIGKILL, and waits for the end.
  void kill();

  const std::filesystem::path& log() const { return options_.log; }
  std::string log_tail(std::size_t lines = 20) const;
  /// Waits until the log holds `text` behind `from`; fails early when the process ends before it
  /// does.
  void wait_for_log(const std::string& text, Clock::duration timeout, std::size_t from = 0);
  /// For `from`: what is said until now.
  std::size_t log_size() const;

 private:
  Command command_;
  ProcessOptions options_;
  pid_t pid_ = -1;
  std::optional<int> exit_status_;
};

struct CommandResult {
  int status = 0;
  std::string out;
  std::string err;
};

/// Runs a command to its end. Throws LabFailure only when it cannot be started or takes longer
/// than `timeout`.
CommandResult run_command(const Command& command, const ProcessOptions& options = {},
                          Clock::duration timeout = 60s);

/// Same, and throws LabFailure with the command's own words when its status is not 0.
std::string run_checked(const Command& command, const ProcessOptions& options = {},
                        Clock::duration timeout = 60s);

/// Splits at blanks; no quoting.
Command words(const std::string& line);

std::string read_text(const std::filesystem::path& file);
void write_text(const std::filesystem::path& file, const std::string& text);
/// The last `lines` lines of a file, or a note that there is none.
std::string tail_of(const std::filesystem::path& file, std::size_t lines);

}  // namespace homeport::lab
