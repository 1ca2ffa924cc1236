// What the kernel says a process costs.
#pragma once

#include <sys/types.h>

#include <string>

namespace homeport::lab {

/// Processor time so far, in milliseconds (proc(5): utime and stime of its stat).
double processor_ms(pid_t pid);

/// A line of a process's memory account in MiB (proc(5): smaps_rollup), such as "Pss:".
double memory_mib(pid_t pid, const std::string& name);

/// What is its own and nobody else's, in MiB.
double private_mib(pid_t pid);

}  // namespace homeport::lab
