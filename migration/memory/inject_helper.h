// The part of the injection that must not die half-way; see inject.h. Private to this folder.
#pragma once

#include <sys/types.h>

#include <array>
#include <cstddef>
#include <cstdint>

namespace homeport::migration {

struct InjectionThread {
  pid_t tid = 0;
  bool seccomp = false;  ///< has filters that must be suspended
};

/// All the helper needs, found out beforehand: it is forked from a process with threads and may
/// neither allocate nor lock (signal-safety(7)).
struct InjectionJob {
  pid_t pid = 0;
  std::array<InjectionThread, 8> threads{};  ///< the best first
  std::size_t thread_count = 0;
  std::uint64_t syscall_address = 0;     ///< of a `syscall` instruction in the process
  std::array<char, 512> cgroup_procs{};  ///< the process's cgroup.procs, or empty
};

/// How far it got. Sent to the agent with errno and, on success, the descriptor.
enum class InjectionStage : std::int32_t {
  done,
  process_gone,
  seize,         ///< PTRACE_SEIZE was refused
  stop,          ///< no thread stopped in time
  architecture,  ///< not a 64-bit process
  create,        ///< userfaultfd(2) failed in the process
  take_over,     ///< pidfd_getfd(2) failed
  trace,         ///< some other ptrace(2) call failed
};

struct InjectionReport {
  InjectionStage stage = InjectionStage::process_gone;
  std::int32_t error = 0;
};

/// Runs in the helper process, and ends it. `socket`: SOCK_SEQPACKET, for one InjectionReport.
[[noreturn]] void run_injection_helper(const InjectionJob& job, int socket);

}  // namespace homeport::migration
