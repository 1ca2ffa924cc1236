// Makes another process create a userfaultfd, and takes it away from it.
//
// A userfaultfd belongs to the address space of the process that creates it, so the process itself
// has to make the system call. With ptrace(2) one of its threads is stopped, made to call
// userfaultfd(2) and, after the descriptor has been taken over with pidfd_getfd(2), close(2); then
// its registers and signal mask are put back. No code and no memory of the process is changed: an
// existing `syscall` instruction of its vDSO is used.
//
// Safety. While the thread has borrowed registers (a millisecond or two) the tracer must not die:
// the kernel would let the thread run on with them. So the work is done by a helper, a child of
// this process in a session of its own with all signals blocked. It ends within milliseconds,
// whether or not anybody is there to hear from it, and touches nothing when it cannot stop the
// thread in time. kill -9 of the agent, its process group or its terminal does not reach it. Nor
// does the end of the agent's service: the helper moves itself into the cgroup of the process it
// works on, where that is possible (cgroup v2). What remains is a kill -9 aimed at the helper
// itself, or at the traced process's own cgroup, which ends both.
//
// The thread. One that waits in a system call which the kernel restarts by itself is chosen
// (signal(7), "Interruption of system calls"); QEMU's main thread in ppoll(2) is one. The registers
// are put back in the kind of stop they were taken in, so the kernel restarts the call as if
// nothing had been. If there is no such thread a running one is taken, and left alone while it is
// inside a restartable sequence (rseq(2)), which must not be resumed in the middle. Signals that
// arrive meanwhile wait; a stop signal takes effect afterwards. Seccomp filters, which might kill
// the process for a call it never makes, are suspended for the thread while it is traced.
#pragma once

#include "overlay/link/unique_fd.h"
#include "policy/error.h"

#include <sys/types.h>

namespace homeport::migration {

/// A userfaultfd of process `pid`, made by the process and now owned by this one only;
/// close-on-exec and non-blocking, before UFFDIO_API. Blocks for some milliseconds; gives up after
/// 10 seconds. Errors: errc::no_such_process; errc::operation_not_permitted (not allowed to trace,
/// or a debugger does); errc::not_supported (not a 64-bit x86 process, no userfaultfd in the
/// kernel); errc::timed_out (its threads do not stop, for instance in a hung file system).
policy::Result<overlay::UniqueFd> inject_userfaultfd(pid_t pid);

}  // namespace homeport::migration
