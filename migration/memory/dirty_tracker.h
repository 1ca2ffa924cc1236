// Capture of another process's memory: which of its pages were written since the last look.
//
// Works on a running, unmodified VMM whose guest memory is a shared mapping. One thread of the
// process is stopped for a millisecond or two and made to call userfaultfd(2) (see inject.h);
// the descriptor is taken over with pidfd_getfd(2) and the copy in the process closed. Its memory
// is registered for asynchronous write protection (UFFDIO_REGISTER(2const), UFFD_FEATURE_WP_ASYNC),
// under which the kernel itself lets a write go on and notes it. PAGEMAP_SCAN(2const) through
// /proc/PID/pagemap reports the pages written and protects them again in one step.
//
// When the tracker goes away, also by kill -9 of its process, the kernel drops the registration
// with the last descriptor, and the process runs on as before.
//
// What is not seen: writes through other mappings of the same memory (vhost-user back ends, this
// agent), by write(2) to the memory file, by devices that pinned pages (VFIO). Direct I/O is seen
// when it pins a page, not when the data lands: see PageLedger. Needs Linux 6.7, x86-64, and the
// right to trace the process (CAP_SYS_PTRACE). A fork of the process is not followed.
#pragma once

#include "migration/memory/page_set.h"
#include "overlay/link/unique_fd.h"
#include "policy/error.h"

#include <sys/types.h>

#include <cstdint>
#include <vector>

namespace homeport::migration {

/// A memory block in the tracked process's address space; both multiples of kPageSize.
struct TrackedBlock {
  std::uint64_t address = 0;
  std::uint64_t size = 0;
};

/// Whether this kernel can capture memory, tried out on a page of this process. The error names
/// what is missing and the kernel version needed.
policy::Result<void> check_capture_support();

class DirtyTracker {
 public:
  /// Starts tracking `blocks` of process `pid`. Blocks the calling thread for a few milliseconds.
  /// Errors: no such process; not permitted or traced by a debugger; a block is not a shared
  /// mapping, is on huge pages, or is tracked by someone else; kernel too old.
  static policy::Result<DirtyTracker> attach(pid_t pid, std::vector<TrackedBlock> blocks);

  /// Adds to `out` the pages written since the scan before, and protects them again; the first scan
  /// reports all pages. Block numbers are indexes into attach()'s blocks. errc::no_such_process
  /// when the process has ended.
  policy::Result<void> scan(PageSet& out);

 private:
  DirtyTracker(pid_t pid, overlay::UniqueFd pidfd, overlay::UniqueFd pagemap,
               overlay::UniqueFd uffd, std::vector<TrackedBlock> blocks);
  bool ended() const;

  pid_t pid_;
  overlay::UniqueFd pidfd_;
  overlay::UniqueFd pagemap_;
  overlay::UniqueFd uffd_;  // keeps the registration alive
  std::vector<TrackedBlock> blocks_;
};

}  // namespace homeport::migration
