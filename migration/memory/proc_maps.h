// What a process has mapped, from /proc/PID/maps (proc(5)). Private to this folder.
#pragma once

#include "policy/error.h"

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace homeport::migration {

struct Mapping {
  std::uint64_t start = 0, end = 0;  ///< addresses
  bool shared = false;
  std::string path;  ///< of the file, or "[vdso]" and the like; may be empty
};

/// Parses the text of a maps file; lines that do not parse are left out.
std::vector<Mapping> parse_maps(std::string_view text);

/// The mappings of process `pid`. errc::no_such_process when it is not there.
policy::Result<std::vector<Mapping>> read_maps(pid_t pid);

/// All of a file in /proc, which has no size; empty when it cannot be read.
std::string read_proc_file(const std::string& path);

}  // namespace homeport::migration
