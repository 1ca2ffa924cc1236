// Guest RAM as files on a tmpfs.
#pragma once

#include "overlay/link/unique_fd.h"
#include "policy/error.h"

#include <cstdint>
#include <filesystem>

namespace homeport::migration {

inline constexpr const char* kMemoryFileSuffix = ".ram";

/// Creates `path` with `size` bytes, all holes, mode 0600. errc::not_enough_memory when the size
/// cannot be promised, errc::file_exists when the file is there already. Removed again on failure.
policy::Result<overlay::UniqueFd> create_memory_file(const std::filesystem::path& path,
                                                     std::uint64_t size);

}  // namespace homeport::migration
