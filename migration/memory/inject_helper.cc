#include "migration/memory/inject_helper.h"

#include <elf.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#if !defined(__x86_64__)
#error "capturing the memory of another process is written for x86-64 only: port inject_helper.cc"
#endif

namespace homeport::migration {
namespace {

constexpr std::uint64_t kUserCodeSegment = 0x33;  // 64-bit user mode: __USER_CS in the kernel
constexpr int kSyscallStop = SIGTRAP | 0x80;      // PTRACE_O_TRACESYSGOOD
constexpr int kMaxRetries = 100;
constexpr time_t kStopTimeout = 3;        // seconds
constexpr int kSeccompSuspend = 1 << 21;  // PTRACE_O_SUSPEND_SECCOMP; with CAP_SYS_ADMIN
constexpr int kUserModeOnly = 1;          // UFFD_USER_MODE_ONLY, Linux 5.11

InjectionReport failed(InjectionStage stage, int error = errno) {
  return {stage, error};
}

// One traced thread. Everything here is async-signal-safe.
class TracedThread {
 public:
  TracedThread(const InjectionJob& job, const InjectionThread& thread)
      : job_(job), thread_(thread) {}

  InjectionReport run(int& uffd);

 private:
  InjectionReport stop();
  bool prepare();
  void put_back();
  bool call(long number, std::uint64_t first, long& result);
  bool wait_forever(int& status);
  bool wait_until(const timespec& deadline, int& status);
  bool in_restartable_sequence(const user_regs_struct& registers) const;
  bool registers(int request, user_regs_struct& values) const {
    iovec vector{&values, sizeof values};
    return ::ptrace(static_cast<__ptrace_request>(request), thread_.tid, NT_PRSTATUS, &vector) ==
               0 &&
           vector.iov_len == sizeof values;
  }
  bool resume(__ptrace_request request, long signal = 0) const {
    return ::ptrace(request, thread_.tid, nullptr, signal) == 0;
  }
  static bool event_stop(int status) { return status >> 16 == PTRACE_EVENT_STOP; }

  const InjectionJob& job_;
  const InjectionThread& thread_;
  user_regs_struct saved_{};
  std::uint64_t saved_mask_ = 0;
  bool stop_signal_held_ = false;
};

bool TracedThread::wait_forever(int& status) {
  pid_t result;
  do {
    result = ::waitpid(thread_.tid, &status, __WALL);
  } while (result < 0 && errno == EINTR);
  return result == thread_.tid && WIFSTOPPED(status);
}

// False with errno ETIMEDOUT, or ESRCH when the thread has ended.
bool TracedThread::wait_until(const timespec& deadline, int& status) {
  sigset_t child;
  ::sigemptyset(&child);
  ::sigaddset(&child, SIGCHLD);
  for (;;) {
    pid_t result = ::waitpid(thread_.tid, &status, __WALL | WNOHANG);
    if (result == thread_.tid) {
      errno = ESRCH;
      return WIFSTOPPED(status);
    }
    if (result < 0) return false;
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    timespec left{deadline.tv_sec - now.tv_sec, deadline.tv_nsec - now.tv_nsec};
    if (left.tv_nsec < 0) {
      left.tv_sec -= 1;
      left.tv_nsec += 1'000'000'000;
    }
    if (left.tv_sec < 0) {
      errno = ETIMEDOUT;
      return false;
    }
    ::sigtimedwait(&child, nullptr, &left);  // SIGCHLD is blocked, so it cannot be missed
  }
}

// A thread inside a restartable sequence must be resumed at its abort handler when it was
// interrupted. The kernel sees to that only when it looks while the thread is still inside.
bool TracedThread::in_restartable_sequence(const user_regs_struct& registers) const {
  if (static_cast<std::int64_t>(registers.orig_rax) >= 0) return false;  // in a system call
  __ptrace_rseq_configuration configuration{};
  if (::ptrace(PTRACE_GET_RSEQ_CONFIGURATION, thread_.tid, sizeof configuration, &configuration) <
      0) {
    return false;
  }
  if (configuration.rseq_abi_pointer == 0) return false;
  auto read = [&](std::uint64_t address, void* to, std::size_t size) {
    iovec local{to, size};
    iovec remote{reinterpret_cast<void*>(address), size};
    return ::syscall(SYS_process_vm_readv, job_.pid, &local, 1, &remote, 1, 0) ==
           static_cast<long>(size);
  };
  // struct rseq: cpu_id_start, cpu_id, rseq_cs. struct rseq_cs: version, flags, start_ip,
  // post_commit_offset, abort_ip (include/uapi/linux/rseq.h).
  std::uint64_t descriptor_address = 0;
  struct {
    std::uint32_t version, flags;
    std::uint64_t start_ip, post_commit_offset, abort_ip;
  } descriptor{};
  if (!read(configuration.rseq_abi_pointer + 8, &descriptor_address, sizeof descriptor_address) ||
      descriptor_address == 0 || !read(descriptor_address, &descriptor, sizeof descriptor)) {
    return false;
  }
  return registers.rip - descriptor.start_ip < descriptor.post_commit_offset;
}

// Stops the thread between two instructions, or in a system call that will be restarted, and saves
// its registers. Nothing of it has been changed when this fails.
InjectionReport TracedThread::stop() {
  unsigned long options = PTRACE_O_TRACESYSGOOD;
  if (thread_.seccomp) options |= kSeccompSuspend;
  if (::ptrace(PTRACE_SEIZE, thread_.tid, nullptr, options) != 0) {
    return failed(errno == ESRCH ? InjectionStage::process_gone : InjectionStage::seize);
  }
  timespec deadline{};
  ::clock_gettime(CLOCK_MONOTONIC, &deadline);
  deadline.tv_sec += kStopTimeout;
  for (int retry = 0; retry < kMaxRetries; ++retry) {
    if (::ptrace(PTRACE_INTERRUPT, thread_.tid, nullptr, nullptr) != 0) {
      return failed(InjectionStage::process_gone);
    }
    int status = 0;
    for (;;) {
      if (!wait_until(deadline, status)) {
        return failed(errno == ETIMEDOUT ? InjectionStage::stop : InjectionStage::process_gone);
      }
      if (event_stop(status)) break;
      // A signal that was on its way is delivered first.
      if (!resume(PTRACE_CONT, WSTOPSIG(status))) return failed(InjectionStage::process_gone);
    }
    if (!registers(PTRACE_GETREGSET, saved_) || saved_.cs != kUserCodeSegment) {
      resume(PTRACE_DETACH);
      return failed(InjectionStage::architecture, ENOTSUP);
    }
    if (!in_restartable_sequence(saved_)) return {InjectionStage::done, 0};
    if (!resume(PTRACE_CONT)) return failed(InjectionStage::process_gone);
  }
  return failed(InjectionStage::stop, EBUSY);
}

// Holds back signals, so that no handler runs on borrowed registers.
bool TracedThread::prepare() {
  std::uint64_t all = ~std::uint64_t{0};
  return ::ptrace(PTRACE_GETSIGMASK, thread_.tid, sizeof saved_mask_, &saved_mask_) == 0 &&
         ::ptrace(PTRACE_SETSIGMASK, thread_.tid, sizeof all, &all) == 0;
}

// Makes the stopped thread do one system call; it is left stopped at the call's end.
bool TracedThread::call(long number, std::uint64_t first, long& result) {
  user_regs_struct borrowed = saved_;
  borrowed.rip = job_.syscall_address;
  borrowed.rax = static_cast<std::uint64_t>(number);
  borrowed.orig_rax = ~std::uint64_t{0};  // not in a system call: nothing to restart now
  borrowed.rdi = first;
  if (!registers(PTRACE_SETREGSET, borrowed)) return false;
  for (;;) {
    int status = 0;
    if (!resume(PTRACE_SYSCALL) || !wait_forever(status)) return false;
    if (event_stop(status)) continue;  // the process is being stopped; on detaching it will be
    if (WSTOPSIG(status) != kSyscallStop) {
      // SIGSTOP is the one signal that cannot be held back.
      stop_signal_held_ = stop_signal_held_ || WSTOPSIG(status) == SIGSTOP;
      continue;
    }
    __ptrace_syscall_info info{};
    if (::ptrace(PTRACE_GET_SYSCALL_INFO, thread_.tid, sizeof info, &info) < 0) return false;
    if (info.op != PTRACE_SYSCALL_INFO_EXIT) continue;
    result = info.exit.rval;
    return true;
  }
}

// Takes the thread to the same kind of stop it was found in, on the way back to user mode before a
// system call is restarted, and gives it its registers back.
void TracedThread::put_back() {
  int status = 0;
  if (::ptrace(PTRACE_INTERRUPT, thread_.tid, nullptr, nullptr) != 0) return;
  do {
    if (!resume(PTRACE_CONT) || !wait_forever(status)) return;
    stop_signal_held_ = stop_signal_held_ || status >> 8 == SIGSTOP;
  } while (!event_stop(status));
  registers(PTRACE_SETREGSET, saved_);
  ::ptrace(PTRACE_SETSIGMASK, thread_.tid, sizeof saved_mask_, &saved_mask_);
  resume(PTRACE_DETACH);
  if (stop_signal_held_) ::kill(job_.pid, SIGSTOP);
}

InjectionReport TracedThread::run(int& uffd) {
  InjectionReport report = stop();
  if (report.stage != InjectionStage::done) return report;
  if (!prepare()) {
    resume(PTRACE_DETACH);
    return failed(InjectionStage::trace);
  }
  // Not permitted to a process without privileges, unless it promises to handle faults of user
  // mode only (vm.unprivileged_userfaultfd). Asynchronous write protection makes no such faults.
  long fd = -EPERM;
  bool called = call(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK, fd);
  if (called && fd == -EPERM) {
    called = call(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | kUserModeOnly, fd);
  }
  if (!called) {
    report = failed(InjectionStage::trace);
  } else if (fd < 0) {
    report = failed(InjectionStage::create, static_cast<int>(-fd));
  } else {
    int pidfd = static_cast<int>(::syscall(SYS_pidfd_open, job_.pid, 0));
    uffd = pidfd < 0 ? -1 : static_cast<int>(::syscall(SYS_pidfd_getfd, pidfd, fd, 0));
    if (uffd < 0) report = failed(InjectionStage::take_over);
    long closed = 0;
    if (!call(SYS_close, static_cast<std::uint64_t>(fd), closed)) {
      report = failed(InjectionStage::trace);
    }
  }
  put_back();
  return report;
}

void write_file(const char* path, const char* text) {
  int fd = ::open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return;
  [[maybe_unused]] ssize_t written = ::write(fd, text, std::strlen(text));
  ::close(fd);
}

void send_report(int socket, const InjectionReport& report, int uffd) {
  iovec content{const_cast<InjectionReport*>(&report), sizeof report};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof uffd)] = {};
  msghdr message{};
  message.msg_iov = &content;
  message.msg_iovlen = 1;
  if (report.stage == InjectionStage::done) {
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof uffd);
    std::memcpy(CMSG_DATA(header), &uffd, sizeof uffd);
  }
  // When the agent has died in the meantime this fails, and the descriptor goes with the helper.
  ::sendmsg(socket, &message, MSG_NOSIGNAL);
}

}  // namespace

void run_injection_helper(const InjectionJob& job, int socket) {
  // Nothing of the agent is kept open, in particular no listening socket.
  constexpr int kSocket = 3;
  if (socket != kSocket) ::dup2(socket, kSocket);
  ::syscall(SYS_close_range, kSocket + 1, ~0u, 0);
  // An ignored SIGCHLD would not be queued, and waiting would take until the time limit.
  struct sigaction by_default {};
  by_default.sa_handler = SIG_DFL;
  ::sigaction(SIGCHLD, &by_default, nullptr);
  // These need privileges and are worth having, not necessary: not to be chosen when memory runs
  // out, not to wait for a processor while a thread is stopped, not to go with the agent's service.
  ::setpriority(PRIO_PROCESS, 0, -20);
  write_file("/proc/self/oom_score_adj", "-1000");
  if (job.cgroup_procs[0] != '\0') write_file(job.cgroup_procs.data(), "0");

  InjectionReport report;
  int uffd = -1;
  for (std::size_t i = 0; i < job.thread_count; ++i) {
    report = TracedThread(job, job.threads[i]).run(uffd);
    if (report.stage != InjectionStage::process_gone) break;  // else that thread ended: the next
  }
  send_report(kSocket, report, uffd);
  ::_exit(0);
}

}  // namespace homeport::migration
