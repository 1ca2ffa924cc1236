#include "tests/lab/process.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>

#include "overlay/link/unique_fd.h"
#include "tests/lab/failure.h"

namespace homeport::lab {
namespace fs = std::filesystem;
using overlay::UniqueFd;
namespace {

std::string join(const Command& command) {
  std::string text;
  for (const auto& word : command) text += (text.empty() ? "" : " ") + word;
  return text;
}

struct Pipe {
  UniqueFd reader, writer;
};

Pipe make_pipe() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) throw LabFailure("pipe: " + std::string(strerror(errno)));
  return {UniqueFd(ends[0]), UniqueFd(ends[1])};
}

/// fork and exec. `out` and `err` become the child's; a failed exec is reported through a pipe
/// that closes by itself when exec succeeds.
pid_t spawn(const Command& command, const ProcessOptions& options, int out, int err) {
  // Everything that allocates happens before fork: other threads may hold the allocator's lock.
  std::vector<char*> argv;
  for (const auto& word : command) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  std::vector<std::string> settings;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string name(*entry, std::strcspn(*entry, "="));
    if (!options.environment.contains(name)) settings.emplace_back(*entry);
  }
  for (const auto& [name, value] : options.environment) settings.push_back(name + "=" + value);
  std::vector<char*> envp;
  for (auto& setting : settings) envp.push_back(setting.data());
  envp.push_back(nullptr);

  Pipe report = make_pipe();
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid < 0) throw LabFailure("fork: " + std::string(strerror(errno)));
  if (pid == 0) {
    const int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    const bool ready = dup2(null, STDIN_FILENO) >= 0 && dup2(out, STDOUT_FILENO) >= 0 &&
                       dup2(err, STDERR_FILENO) >= 0 &&
                       (!options.inside || setns(options.inside->fd(), CLONE_NEWNET) == 0) &&
                       prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && getppid() == parent;
    if (ready) execvpe(argv[0], argv.data(), envp.data());
    const int error = errno;
    if (write(report.writer.get(), &error, sizeof error) < 0) _exit(126);
    _exit(127);
  }
  report.writer.reset();
  int error = 0;
  const ssize_t got = read(report.reader.get(), &error, sizeof error);
  if (got > 0) {
    waitpid(pid, nullptr, 0);
    throw LabFailure("cannot start " + join(command) + ": " + std::strerror(error));
  }
  return pid;
}

int status_from(int wait_status) {
  return WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : 128 + WTERMSIG(wait_status);
}

}  // namespace

Process::Process(Command command, ProcessOptions options)
    : command_(std::move(command)), options_(std::move(options)) {
  if (options_.show) {
    pid_ = spawn(command_, options_, STDOUT_FILENO, STDERR_FILENO);
    return;
  }
  const std::string file = options_.log.empty() ? "/dev/null" : options_.log.string();
  const UniqueFd log(open(file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
  if (!log) throw LabFailure(file + ": " + std::strerror(errno));
  pid_ = spawn(command_, options_, log.get(), log.get());
}

Process::~Process() {
  try {
    stop();
  } catch (const std::exception& error) {
    fprintf(stderr, "lab: ending %s: %s\n", command_.front().c_str(), error.what());
  }
}

std::optional<int> Process::exit_status() {
  int status = 0;
  if (!exit_status_ && waitpid(pid_, &status, WNOHANG) == pid_) exit_status_ = status_from(status);
  return exit_status_;
}

bool Process::running() {
  return !exit_status().has_value();
}

void Process::send_signal(int signal) {
  if (running()) ::kill(pid_, signal);
}

int Process::wait(Clock::duration timeout) {
  wait_until([&] { return !running(); }, timeout, "the end of " + join(command_),
             [&] { return log_tail(); });
  return *exit_status_;
}

int Process::stop(Clock::duration patience) {
  send_signal(SIGCONT);
  send_signal(SIGTERM);
  const auto deadline = Clock::now() + patience;
  wait_until([&] { return !running() || Clock::now() > deadline; }, patience + 1s,
             "the end of " + join(command_));
  if (running()) kill();
  return *exit_status_;
}

void Process::kill() {
  send_signal(SIGKILL);
  wait(10s);
}

std::string Process::log_tail(std::size_t lines) const {
  return options_.log.empty() ? "(no log)" : tail_of(options_.log, lines);
}

std::size_t Process::log_size() const {
  return read_text(options_.log).size();
}

void Process::wait_for_log(const std::string& text, Clock::duration timeout, std::size_t from) {
  wait_until(
      [&] {
        if (read_text(options_.log).find(text, from) != std::string::npos) return true;
        if (!running()) {
          throw LabFailure(join(command_) + " ended with status " + std::to_string(*exit_status_) +
                           " before it said \"" + text + "\"\n" + log_tail());
        }
        return false;
      },
      timeout, "\"" + text + "\" from " + join(command_), [&] { return log_tail(); });
}

CommandResult run_command(const Command& command, const ProcessOptions& options,
                          Clock::duration timeout) {
  Pipe out = make_pipe(), err = make_pipe();
  const pid_t pid = spawn(command, options, out.writer.get(), err.writer.get());
  out.writer.reset();
  err.writer.reset();
  CommandResult result;
  const auto deadline = Clock::now() + timeout;
  pollfd waiting[2] = {{out.reader.get(), POLLIN, 0}, {err.reader.get(), POLLIN, 0}};
  int open_ends = 2;
  // A server that the command leaves behind may keep the pipes open: the command's own end counts.
  int status = 0;
  bool ended = false;
  while (open_ends > 0 && !ended) {
    ended = waitpid(pid, &status, WNOHANG) == pid;
    const int ready = poll(waiting, 2, ended ? 0 : 20);
    for (int i = 0; i < 2 && ready > 0; ++i) {
      while (waiting[i].fd >= 0 && poll(&waiting[i], 1, 0) > 0) {
        char buffer[4096];
        const ssize_t got = read(waiting[i].fd, buffer, sizeof buffer);
        if (got > 0) {
          (i == 0 ? result.out : result.err).append(buffer, static_cast<std::size_t>(got));
        } else {
          waiting[i].fd = -1;
          --open_ends;
        }
      }
    }
    if (!ended && Clock::now() > deadline) {
      ::kill(pid, SIGKILL);
      waitpid(pid, &status, 0);
      throw LabFailure(join(command) + " did not end in time\n" + result.out + result.err);
    }
  }
  if (!ended) waitpid(pid, &status, 0);
  result.status = status_from(status);
  return result;
}

std::string run_checked(const Command& command, const ProcessOptions& options,
                        Clock::duration timeout) {
  auto result = run_command(command, options, timeout);
  if (result.status != 0) {
    throw LabFailure(join(command) + " ended with status " + std::to_string(result.status) + "\n" +
                     result.out + result.err);
  }
  return result.out;
}

Command words(const std::string& line) {
  std::istringstream stream(line);
  Command result;
  for (std::string word; stream >> word;) result.push_back(word);
  return result;
}

std::string read_text(const fs::path& file) {
  std::ifstream stream(file, std::ios::binary);
  // Not through iterators: those throw where a process ends while its files are read.
  std::string text;
  std::array<char, 4096> piece;
  while (stream.read(piece.data(), piece.size()) || stream.gcount() > 0) {
    text.append(piece.data(), static_cast<std::size_t>(stream.gcount()));
  }
  return text;
}

void write_text(const fs::path& file, const std::string& text) {
  std::ofstream stream(file, std::ios::binary | std::ios::trunc);
  stream << text;
  stream.close();
  if (!stream) throw LabFailure("cannot write " + file.string());
}

std::string tail_of(const fs::path& file, std::size_t lines) {
  const std::string text = read_text(file);
  if (text.empty()) return "(nothing in " + file.string() + ")";
  std::size_t start = text.size();
  for (std::size_t i = 0; i <= lines && start != std::string::npos && start > 0; ++i) {
    start = text.rfind('\n', start - 1);
  }
  return "last lines of " + file.string() + ":\n" +
         (start == std::string::npos || start == 0 ? text : text.substr(start + 1));
}

}  // namespace homeport::lab
