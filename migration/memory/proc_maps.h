// What a process has mapped, from /proc/PID/maps (proc(5)).
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
  std::uint64_t offset = 0;          ///< in the file, bytes
  bool shared = false;
  bool writable = false;
  std::string path;  ///< of the file, or "[vdso]" and the like; may be empty
};

/// Parses the text of a maps file. A line that does not parse is errc::bad_message.
policy::Result<std::vector<Mapping>> parse_maps(std::string_view text);

/// The mappings of process `pid`. errc::no_such_process when it is not there.
policy::Result<std::vector<Mapping>> read_maps(pid_t pid);

}  // namespace homeport::migration
