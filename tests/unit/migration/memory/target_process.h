// A child process whose memory is captured: it has mapped a memory file and runs a workload on it.
#pragma once

#include "migration/memory/dirty_tracker.h"
#include "migration/memory/guest_memory.h"
#include "overlay/link/unique_fd.h"

#include <sys/types.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

namespace homeport::migration {

/// Shared between the test and the child.
struct TargetControl {
  std::atomic<std::uint64_t> address{0};  ///< of the memory in the child; set when it is ready
  std::atomic<bool> stop{false};          ///< the workload shall end
  std::atomic<std::uint64_t> progress{0};
};

struct TargetView {
  std::span<std::byte> memory;
  TargetControl& control;
  int commands;  ///< read end of a pipe
  int answers;   ///< write end of a pipe
};

/// What the child does; its result is the child's exit code, 0 for good.
using Workload = std::function<int(TargetView)>;

class TargetProcess {
 public:
  TargetProcess(std::uint64_t pages, const Workload& workload);
  TargetProcess(const TargetProcess&) = delete;
  TargetProcess& operator=(const TargetProcess&) = delete;
  ~TargetProcess();

  pid_t pid() const { return pid_; }
  std::vector<TrackedBlock> blocks() const;
  /// The same memory, in a mapping of the test's own.
  const GuestMemory& memory() const { return *memory_; }
  TargetControl& control() const { return *control_; }
  int commands() const { return commands_.get(); }
  int answers() const { return answers_.get(); }

  /// Tells the workload to end and returns the exit code, or minus the signal that killed it.
  int finish();
  void kill();
  /// Waits until the workload's progress has changed `times` times: it is alive.
  void await_progress(std::uint64_t times = 1) const;
  bool traced() const;
  /// Wait until somebody traces the child, or nobody does.
  void await_traced() const;
  void await_untraced() const;
  /// Waits until the child's main thread is in a state of proc_pid_stat(5), such as 'T': stopped.
  void await_state(char state) const;
  std::size_t open_descriptors() const;

 private:
  TargetControl* control_ = nullptr;
  overlay::UniqueFd file_, commands_, answers_;
  std::unique_ptr<GuestMemory> memory_;
  pid_t pid_ = -1;
};

/// A workload that writes one byte to each page it is told, then says so: see write_pages().
int write_on_command(TargetView view);
/// Lets write_on_command() write the pages and waits for it.
void write_pages(const TargetProcess& target, const std::vector<std::uint32_t>& pages,
                 std::uint8_t value);

}  // namespace homeport::migration
