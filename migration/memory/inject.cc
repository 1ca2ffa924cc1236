#include "migration/memory/inject.h"

#include "migration/memory/inject_helper.h"
#include "migration/memory/proc_maps.h"
#include "overlay/directory.h"
#include "overlay/read_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <string_view>
#include <vector>

namespace homeport::migration {
namespace {

using policy::Error;
using policy::Result;
namespace errc = boost::system::errc;

constexpr int kAnswerTimeoutMs = 10'000;

// How little a thread minds being stopped; lower is better, -1: cannot be stopped now.
int disturbance(const std::filesystem::path& thread_folder, bool main_thread) {
  std::string stat = overlay::read_proc(thread_folder / "stat");
  std::size_t name_end = stat.rfind(") ");
  if (name_end == std::string::npos || name_end + 2 >= stat.size()) return -1;
  char state = stat[name_end + 2];
  if (state == 'D' || state == 'Z' || state == 'X') return -1;
  // "running", or the number of the system call the thread waits in, and its arguments.
  std::string call = overlay::read_proc(thread_folder / "syscall");
  long number = -1;
  bool waits = std::from_chars(call.data(), call.data() + call.size(), number).ec == std::errc{};
  if (!waits) return 2;
  switch (number) {
    // Restarted by the kernel whatever their time limit (signal(7)).
    case SYS_ppoll:
    case SYS_poll:
    case SYS_pselect6:
    case SYS_select:
    case SYS_futex:
    case SYS_clock_nanosleep:
    case SYS_nanosleep:
    case SYS_read:
    case SYS_rt_sigsuspend:
    case SYS_wait4:
      return main_thread ? 0 : 1;
    default:
      // Among them epoll_wait, io_getevents and KVM's ioctl, which return EINTR.
      return 3;
  }
}

bool has_seccomp_filter(const std::filesystem::path& thread_folder) {
  std::string status = overlay::read_proc(thread_folder / "status");
  std::size_t line = status.find("\nSeccomp:\t");
  return line != std::string::npos && status[line + 10] != '0';
}

void choose_threads(InjectionJob& job) {
  struct Candidate {
    int disturbance;
    InjectionThread thread;
  };
  std::vector<Candidate> candidates;
  std::error_code ended;
  for (const auto& folder : overlay::entries_of(fmt::format("/proc/{}/task", job.pid), ended)) {
    std::string name = folder.filename();
    InjectionThread thread;
    std::from_chars(name.data(), name.data() + name.size(), thread.tid);
    int grade = disturbance(folder, thread.tid == job.pid);
    if (grade < 0) continue;
    thread.seccomp = has_seccomp_filter(folder);
    candidates.push_back({grade, thread});
  }
  std::stable_sort(candidates.begin(), candidates.end(),
                   [](const auto& a, const auto& b) { return a.disturbance < b.disturbance; });
  job.thread_count = std::min(candidates.size(), job.threads.size());
  for (std::size_t i = 0; i < job.thread_count; ++i) job.threads[i] = candidates[i].thread;
}

// Where the process's vDSO has a `syscall` instruction (0F 05): it falls back to real system calls
// for clocks it cannot read, so there always is one. Also one inside another instruction serves.
Result<std::uint64_t> find_syscall_instruction(pid_t pid) {
  auto mappings = read_maps(pid);
  if (!mappings) return mappings.error();
  auto vdso = std::find_if(mappings->begin(), mappings->end(),
                           [](const Mapping& mapping) { return mapping.path == "[vdso]"; });
  std::size_t found = std::string::npos;
  if (vdso != mappings->end()) {
    std::string code(vdso->end - vdso->start, '\0');
    overlay::UniqueFd memory(
        ::open(fmt::format("/proc/{}/mem", pid).c_str(), O_RDONLY | O_CLOEXEC));
    if (!memory) return policy::errno_error(fmt::format("process {} may not be traced", pid));
    ssize_t size = ::pread(memory.get(), code.data(), code.size(), static_cast<off_t>(vdso->start));
    code.resize(static_cast<std::size_t>(std::max<ssize_t>(size, 0)));
    found = code.find("\x0f\x05");
  }
  if (found == std::string::npos) {
    return policy::make_error(
        errc::not_supported,
        fmt::format("process {} has no vDSO with a system call instruction", pid));
  }
  return vdso->start + found;
}

// The cgroup.procs file of the process's cgroup in the version 2 hierarchy, or empty.
std::string find_cgroup_procs(pid_t pid) {
  std::string groups = overlay::read_proc(fmt::format("/proc/{}/cgroup", pid));
  std::size_t line = groups.starts_with("0::") ? 0 : groups.find("\n0::");
  if (line == std::string::npos) return {};
  std::size_t start = groups.find("::", line) + 2;
  std::string path = groups.substr(start, groups.find('\n', start) - start);
  for (std::string_view mount : {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"}) {
    std::string file = fmt::format("{}{}/cgroup.procs", mount, path == "/" ? "" : path);
    if (::access(file.c_str(), W_OK) == 0) return file;
  }
  return {};
}

// Starts the helper as a grandchild, so that nobody here has to wait for it.
Result<void> start_helper(const InjectionJob& job, int socket) {
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  // _Fork() is async-signal-safe where fork() is not: other threads may hold any lock.
  pid_t child = ::_Fork();
  if (child == 0) {
    ::setsid();
    pid_t helper = ::_Fork();
    if (helper == 0) run_injection_helper(job, socket);
    ::_exit(helper < 0 ? 1 : 0);
  }
  int fork_error = errno;
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (child < 0) return policy::errno_error("starting the capture helper failed", fork_error);
  int status = 0;
  // ECHILD: somebody waits for all children, and was faster.
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return {};
}

Error explain(pid_t pid, const InjectionReport& report) {
  auto sentence = [&](std::string_view what) {
    return fmt::format("capturing the memory of process {} failed: {}", pid, what);
  };
  switch (report.stage) {
    case InjectionStage::process_gone:
      return policy::make_error(errc::no_such_process, sentence("it has ended"));
    case InjectionStage::stop:
      return policy::make_error(
          errc::timed_out,
          sentence("its threads do not stop; see whether they hang in the kernel"));
    case InjectionStage::architecture:
      return policy::make_error(errc::not_supported, sentence("it is no 64-bit process"));
    case InjectionStage::seize:
      return policy::errno_error(
          sentence("it may not be traced; see whether a debugger is at work, and whether the agent "
                   "has CAP_SYS_PTRACE (and CAP_SYS_ADMIN, if the process has seccomp filters)"),
          report.error);
    case InjectionStage::create:
      return policy::errno_error(sentence("userfaultfd() failed in it"), report.error);
    case InjectionStage::take_over:
      return policy::errno_error(sentence("taking over its userfaultfd failed"), report.error);
    case InjectionStage::trace:
    case InjectionStage::done:
      break;
  }
  return policy::errno_error(sentence("ptrace() failed"), report.error);
}

Result<overlay::UniqueFd> receive_report(pid_t pid, int socket) {
  pollfd waiting{socket, POLLIN, 0};
  int ready;
  do {
    ready = ::poll(&waiting, 1, kAnswerTimeoutMs);
  } while (ready < 0 && errno == EINTR);
  if (ready == 0) return explain(pid, {InjectionStage::stop, ETIMEDOUT});

  InjectionReport report;
  int fd = -1;
  iovec content{&report, sizeof report};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof fd)] = {};
  msghdr message{};
  message.msg_iov = &content;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ssize_t size = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  if (size != static_cast<ssize_t>(sizeof report)) {
    return policy::make_error(
        errc::io_error,
        fmt::format("the helper that captures the memory of process {} ended early", pid));
  }
  if (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr) {
    std::memcpy(&fd, CMSG_DATA(header), sizeof fd);
  }
  overlay::UniqueFd uffd(fd);
  if (report.stage != InjectionStage::done || !uffd) return explain(pid, report);
  return uffd;
}

}  // namespace

Result<overlay::UniqueFd> inject_userfaultfd(pid_t pid) {
  InjectionJob job;
  job.pid = pid;
  auto instruction = find_syscall_instruction(pid);
  if (!instruction) return instruction.error();
  job.syscall_address = *instruction;
  choose_threads(job);
  if (job.thread_count == 0) return explain(pid, {InjectionStage::stop, EBUSY});
  // Changing the cgroup takes some milliseconds, even to the same one.
  std::string procs = find_cgroup_procs(pid);
  if (procs == find_cgroup_procs(::getpid())) procs.clear();
  if (procs.size() < job.cgroup_procs.size()) procs.copy(job.cgroup_procs.data(), procs.size());

  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
    return policy::errno_error("making a socket for the capture helper failed");
  }
  overlay::UniqueFd here(ends[0]);
  overlay::UniqueFd there(ends[1]);
  if (auto started = start_helper(job, there.get()); !started) return started.error();
  there.reset();
  return receive_report(pid, here.get());
}

}  // namespace homeport::migration
