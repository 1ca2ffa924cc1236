#include "migration/vm/memory_file.h"

#include "overlay/directory.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>

#include <algorithm>
#include <charconv>
#include <fstream>

namespace homeport::migration {

namespace errc = boost::system::errc;
using policy::make_error;
using policy::Result;

namespace {

constexpr std::uint64_t kMiB = 1u << 20;

/// MemAvailable and SwapFree of /proc/meminfo (proc(5)), in bytes; the pages of a tmpfs need them.
std::uint64_t available_in_machine() {
  std::ifstream file("/proc/meminfo");
  std::uint64_t kibibytes = 0;
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with("MemAvailable:") && !line.starts_with("SwapFree:")) continue;
    std::string_view digits = std::string_view(line).substr(line.find(':') + 1);
    digits.remove_prefix(std::min(digits.find_first_not_of(' '), digits.size()));
    std::uint64_t value = 0;
    std::from_chars(digits.data(), digits.data() + digits.size(), value);
    kibibytes += value;
  }
  return kibibytes * 1024;
}

/// What guests were promised and have not touched yet.
std::uint64_t still_to_come(const std::filesystem::path& directory) {
  std::uint64_t bytes = 0;
  std::error_code failed;
  for (const auto& entry : overlay::entries_of(directory, failed)) {
    struct stat file {};
    if (entry.extension() != kMemoryFileSuffix) continue;
    if (::lstat(entry.c_str(), &file) < 0 || !S_ISREG(file.st_mode)) continue;
    auto present = static_cast<std::uint64_t>(file.st_blocks) * 512;
    auto promised = static_cast<std::uint64_t>(file.st_size);
    bytes += promised - std::min(promised, present);
  }
  return bytes;
}

/// Bytes that can still be promised to guests in `directory`: free in its filesystem and, on a
/// tmpfs, in the machine; less what the memory files there may still grow by.
Result<std::uint64_t> free_guest_memory(const std::filesystem::path& directory) {
  struct statvfs space {};
  struct statfs kind {};
  if (::statvfs(directory.c_str(), &space) < 0 || ::statfs(directory.c_str(), &kind) < 0) {
    return policy::errno_error("cannot look at the memory directory " + directory.string());
  }
  std::uint64_t free = static_cast<std::uint64_t>(space.f_bavail) * space.f_frsize;
  if (kind.f_type == TMPFS_MAGIC) free = std::min(free, available_in_machine());
  return free - std::min(free, still_to_come(directory));
}

}  // namespace

Result<overlay::UniqueFd> create_memory_file(const std::filesystem::path& path,
                                             std::uint64_t size) {
  auto free = free_guest_memory(path.parent_path());
  if (!free) return free.error();
  if (size > *free) {
    return make_error(
        errc::not_enough_memory,
        fmt::format("out of memory for guests: {} MiB are needed and {} MiB are free in {}; free "
                    "some, or choose another host",
                    (size + kMiB - 1) / kMiB, *free / kMiB, path.parent_path().string()));
  }
  overlay::UniqueFd file(
      ::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!file) return policy::errno_error("cannot create the memory file " + path.string());
  if (::ftruncate(file.get(), static_cast<off_t>(size)) < 0) {
    auto error = policy::errno_error(
        fmt::format("cannot give the memory file {} its {} bytes", path.string(), size));
    ::unlink(path.c_str());
    return error;
  }
  return file;
}

}  // namespace homeport::migration
