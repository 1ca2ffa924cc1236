#include "migration/vm/process.h"
#include "policy/text.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <linux/close_range.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <fstream>

namespace homeport::migration {

namespace asio = boost::asio;
namespace errc = boost::system::errc;
using policy::make_error;
using policy::Result;

namespace {

enum class Step : int { cgroup, session, descriptors, listen, credentials, exec };

constexpr const char* kStepNames[] = {
    "cannot move it into its cgroup",    "cannot give it a session",
    "cannot set up its descriptors",     "cannot listen on its monitor's socket",
    "cannot take on its user and group", "cannot execute it"};

struct StepFailure {
  Step step;
  int error;
};

std::vector<char*> pointers(const std::vector<std::string>& strings) {
  std::vector<char*> result;
  for (const std::string& text : strings) result.push_back(const_cast<char*>(text.c_str()));
  result.push_back(nullptr);
  return result;
}

/// What the child runs between fork and exec: nothing but async-signal-safe calls, since another
/// thread of the agent may have held any lock at the time of the fork.
[[noreturn]] void become(const ProcessSpec& spec, char* const* argv, char* const* envp, int null,
                         int report) {
  auto fail = [report](Step step) {
    StepFailure failure{step, errno};
    [[maybe_unused]] ssize_t written = ::write(report, &failure, sizeof(failure));
    ::_exit(127);
  };
  if (spec.cgroup_procs >= 0 && ::write(spec.cgroup_procs, "0", 1) != 1) fail(Step::cgroup);
  if (::setsid() < 0) fail(Step::session);

  sigset_t none;
  sigemptyset(&none);
  for (int signal = 1; signal < NSIG; ++signal) ::signal(signal, SIG_DFL);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);

  if (::dup2(null, 0) < 0 || ::dup2(spec.output, 1) < 0 || ::dup2(spec.output, 2) < 0 ||
      ::syscall(SYS_close_range, 3u, ~0u, CLOSE_RANGE_CLOEXEC) < 0) {
    fail(Step::descriptors);
  }
  for (int fd : spec.inherited) {
    if (::fcntl(fd, F_SETFD, 0) < 0) fail(Step::descriptors);
  }
  ::umask(0077);
  if (::chdir("/") < 0) fail(Step::descriptors);
  if (spec.credentials) {
    const Credentials& as = *spec.credentials;
    if (::setgroups(as.groups.size(), as.groups.data()) < 0 ||
        ::setresgid(as.gid, as.gid, as.gid) < 0 || ::setresuid(as.uid, as.uid, as.uid) < 0) {
      fail(Step::credentials);
    }
  }
  // listen(2) records this process as the peer that clients of the socket see (SO_PEERCRED).
  if (spec.listen >= 0 && ::listen(spec.listen, 1) < 0) fail(Step::listen);
  ::execve(argv[0], argv, envp);
  fail(Step::exec);
  __builtin_unreachable();
}

}  // namespace

Result<Credentials> find_credentials(const std::string& user, const std::string& group) {
  Credentials found{::geteuid(), ::getegid(), {}};
  std::array<char, 16'384> buffer;
  std::string account = user;
  if (!user.empty()) {
    passwd entry{};
    passwd* result = nullptr;
    int error = ::getpwnam_r(user.c_str(), &entry, buffer.data(), buffer.size(), &result);
    if (!result) {
      return policy::errno_error(fmt::format("no such user \"{}\"", user), error ? error : ENOENT);
    }
    found.uid = entry.pw_uid;
    found.gid = entry.pw_gid;
  }
  if (!group.empty()) {
    ::group entry{};
    ::group* result = nullptr;
    int error = ::getgrnam_r(group.c_str(), &entry, buffer.data(), buffer.size(), &result);
    if (!result) {
      return policy::errno_error(fmt::format("no such group \"{}\"", group),
                                 error ? error : ENOENT);
    }
    found.gid = entry.gr_gid;
  }
  int count = 0;
  if (!user.empty()) {
    ::getgrouplist(account.c_str(), found.gid, nullptr, &count);
    found.groups.resize(static_cast<std::size_t>(count));
    ::getgrouplist(account.c_str(), found.gid, found.groups.data(), &count);
  } else {
    found.groups = {found.gid};
  }
  return found;
}

Result<Process> start_process(const ProcessSpec& spec) {
  std::string context = "cannot start " + spec.program.string();
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) < 0) return policy::errno_error(context);
  overlay::UniqueFd reader(ends[0]);
  overlay::UniqueFd writer(ends[1]);
  overlay::UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  if (!null) return policy::errno_error(context);

  std::vector<std::string> arguments{spec.program.string()};
  arguments.insert(arguments.end(), spec.arguments.begin(), spec.arguments.end());
  std::vector<char*> argv = pointers(arguments);
  std::vector<char*> envp = pointers(spec.environment);

  // Blocked, so that no signal runs a handler of the agent's in the child; it unblocks them.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  pid_t pid = ::fork();
  int fork_error = errno;
  if (pid != 0) ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (pid < 0) return policy::errno_error(context, fork_error);
  if (pid == 0) become(spec, argv.data(), envp.data(), null.get(), writer.get());
  writer.reset();
  Process process{pid, overlay::UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)))};
  int pidfd_error = errno;

  // Closed by exec, which takes about a millisecond; a wait in the background is not worth it.
  StepFailure failure{};
  ssize_t size;
  do {
    size = ::read(reader.get(), &failure, sizeof(failure));
  } while (size < 0 && errno == EINTR);
  if (size == sizeof(failure)) {
    ::waitpid(pid, nullptr, 0);
    return policy::errno_error(
        fmt::format("{}: {}", context, kStepNames[static_cast<int>(failure.step)]), failure.error);
  }
  if (!process.pidfd) {
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
    return policy::errno_error(context + ": pidfd_open", pidfd_error);
  }
  return process;
}

asio::awaitable<Result<void>> wait_gone(int pidfd) {
  auto executor = co_await asio::this_coro::executor;
  asio::posix::stream_descriptor watched(executor);
  int copy = ::fcntl(pidfd, F_DUPFD_CLOEXEC, 0);
  if (copy < 0) co_return policy::errno_error("cannot watch a process");
  watched.assign(copy);
  // Looked at again after each wake: a wait on a descriptor may end without cause.
  while (!is_gone(pidfd)) {
    auto [failed] = co_await watched.async_wait(asio::posix::stream_descriptor::wait_read,
                                                asio::as_tuple(asio::use_awaitable));
    if (failed) {
      co_return make_error(errc::operation_canceled, "waiting for a process to end was cancelled");
    }
  }
  co_return Result<void>{};
}

bool is_gone(int pidfd) {
  pollfd watched{pidfd, POLLIN, 0};
  return ::poll(&watched, 1, 0) > 0 && (watched.revents & POLLIN) != 0;
}

void send_kill(int pidfd) {
  ::syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, nullptr, 0);
}

std::string reap(int pidfd) {
  siginfo_t info{};
  if (::waitid(static_cast<idtype_t>(P_PIDFD), static_cast<id_t>(pidfd), &info, WEXITED | WNOHANG) <
          0 ||
      info.si_pid == 0) {
    return {};
  }
  return fmt::format("{} {}", info.si_code == CLD_EXITED ? "exit status" : "signal",
                     info.si_status);
}

std::string log_tail(const std::filesystem::path& log) {
  constexpr std::streamoff kBytes = 2'048;
  constexpr std::size_t kLines = 5;
  std::ifstream file(log, std::ios::binary | std::ios::ate);
  if (!file) return {};
  std::streamoff size = file.tellg();
  file.seekg(std::max<std::streamoff>(0, size - kBytes));
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) {
    if (!line.empty()) lines.push_back(std::move(line));
  }
  if (lines.size() > kLines) lines.erase(lines.begin(), lines.end() - kLines);
  std::string tail;
  for (const std::string& line : lines) tail += (tail.empty() ? "" : " | ") + line;
  return policy::printable(tail, kBytes);
}

}  // namespace homeport::migration
