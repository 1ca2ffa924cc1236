// Guest RAM as files on a tmpfs.
#pragma once

#include "overlay/link/unique_fd.h"
#include "policy/error.h"

#include <cstdint>
#include <filesystem>
#include <string>

namespace homeport::migration {

inline constexpr const char* kMemoryFileSuffix = ".ram";

/// Bytes that can still be promised to guests in `directory`: free in its filesystem and, on a
/// tmpfs, in the machine; less what the memory files there may still grow by.
policy::Result<std::uint64_t> free_guest_memory(const std::filesystem::path& directory);

/// Creates `path` with `size` bytes, all holes, mode 0600. errc::not_enough_memory when the size
/// cannot be promised, errc::file_exists when the file is there already. Removed again on failure.
policy::Result<overlay::UniqueFd> create_memory_file(const std::filesystem::path& path,
                                                     std::uint64_t size);

}  // namespace homeport::migration
