#include "migration/memory/dirty_tracker.h"

#include "migration/memory/inject.h"
#include "migration/memory/proc_maps.h"
#include "migration/memory/uapi.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/magic.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <utility>

namespace homeport::migration {
namespace {

using overlay::UniqueFd;
using policy::Error;
using policy::Result;
namespace errc = boost::system::errc;

constexpr std::size_t kRegions = 1024;

Error unsupported(std::string_view what, int error) {
  utsname kernel{};
  ::uname(&kernel);
  return policy::errno_error(
      fmt::format("this kernel ({}) cannot capture memory: {}; it takes Linux 6.7 or newer with "
                  "CONFIG_USERFAULTFD and CONFIG_PROC_PAGE_MONITOR",
                  kernel.release, what),
      error);
}

Result<void> enable_features(int uffd) {
  uffdio_api api{};
  api.api = UFFD_API;
  api.features = uapi::kCaptureFeatures;
  if (::ioctl(uffd, UFFDIO_API, &api) != 0) {
    return unsupported("userfaultfd has no asynchronous write protection", errno);
  }
  return {};
}

Result<void> register_block(int uffd, const TrackedBlock& block) {
  uffdio_register argument{};
  argument.range = {block.address, block.size};
  argument.mode = UFFDIO_REGISTER_MODE_WP;
  if (::ioctl(uffd, UFFDIO_REGISTER, &argument) == 0) return {};
  int error = errno;
  std::string what =
      fmt::format("memory at {:#x}, {} bytes, cannot be tracked", block.address, block.size);
  if (error == EBUSY) what += " (something else tracks it already)";
  return policy::errno_error(std::move(what), error);
}

// Calls `visit(first, count)` for each run of pages written since the scan before, and protects
// them again.
template <class Visit>
Result<void> scan_block(int pagemap, const TrackedBlock& block, std::vector<uapi::PageRegion>& room,
                        Visit visit) {
  uapi::ScanArgument argument{};
  argument.size = sizeof argument;
  argument.flags = uapi::kScanWpMatching | uapi::kScanCheckWpAsync;
  argument.start = block.address;
  argument.end = block.address + block.size;
  argument.vec = reinterpret_cast<std::uint64_t>(room.data());
  argument.vec_len = room.size();
  argument.category_mask = uapi::kPageIsWritten;
  argument.return_mask = uapi::kPageIsWritten;
  while (argument.start < argument.end) {
    int found = ::ioctl(pagemap, uapi::kPagemapScan, &argument);
    if (found < 0 && errno == EINTR) continue;
    if (found < 0) return policy::errno_error("scanning for written pages failed");
    for (int i = 0; i < found; ++i) {
      const uapi::PageRegion& region = room[static_cast<std::size_t>(i)];
      visit((region.start - block.address) / kPageSize, (region.end - region.start) / kPageSize);
    }
    argument.start = argument.walk_end;  // before the end when `room` is full
  }
  return {};
}

// Every byte of the block must lie in shared mappings, none of them of huge pages.
Result<void> check_block(pid_t pid, const std::vector<Mapping>& mappings,
                         const TrackedBlock& block) {
  auto refuse = [&](std::string_view why) {
    return policy::make_error(
        errc::invalid_argument,
        fmt::format("memory of process {} at {:#x}, {} bytes, cannot be tracked: {}", pid,
                    block.address, block.size, why));
  };
  if (block.size == 0 || block.size % kPageSize != 0 || block.address % kPageSize != 0 ||
      block.address + block.size < block.address) {
    return refuse("it is not whole pages");
  }
  std::uint64_t covered = block.address;
  for (const Mapping& mapping : mappings) {  // in the order of addresses
    if (mapping.end <= covered || mapping.start >= block.address + block.size) continue;
    if (mapping.start > covered) break;
    if (!mapping.shared) {
      return refuse("it is private; a guest needs memory-backend-file with share=on");
    }
    struct statfs file_system {};
    std::string file = fmt::format("/proc/{}/map_files/{:x}-{:x}", pid, mapping.start, mapping.end);
    if (::statfs(file.c_str(), &file_system) == 0 && file_system.f_type == HUGETLBFS_MAGIC) {
      return refuse("it is on hugetlbfs; only pages of 4 KiB are supported");
    }
    covered = mapping.end;
  }
  if (covered < block.address + block.size) return refuse("not all of it is mapped");
  return {};
}

}  // namespace

Result<void> check_capture_support() {
  // The real thing, on one page.
  UniqueFd uffd(static_cast<int>(::syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK)));
  if (!uffd) return unsupported("userfaultfd() is not to be had", errno);
  if (auto enabled = enable_features(uffd.get()); !enabled) return enabled;
  struct Page {
    void* start =
        ::mmap(nullptr, kPageSize, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ~Page() {
      if (start != MAP_FAILED) ::munmap(start, kPageSize);
    }
  } page;
  if (page.start == MAP_FAILED) return policy::errno_error("mapping one page failed");
  TrackedBlock block{reinterpret_cast<std::uint64_t>(page.start), kPageSize};
  if (auto registered = register_block(uffd.get(), block); !registered) return registered;
  UniqueFd pagemap(::open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC));
  if (!pagemap) return policy::errno_error("opening /proc/self/pagemap failed");
  std::vector<uapi::PageRegion> room(1);
  if (auto scanned = scan_block(pagemap.get(), block, room, [](auto, auto) {}); !scanned) {
    return unsupported("PAGEMAP_SCAN is missing", scanned.error().code.value());
  }
  return {};
}

DirtyTracker::DirtyTracker(pid_t pid, UniqueFd pidfd, UniqueFd pagemap, UniqueFd uffd,
                           std::vector<TrackedBlock> blocks)
    : pid_(pid),
      pidfd_(std::move(pidfd)),
      pagemap_(std::move(pagemap)),
      uffd_(std::move(uffd)),
      blocks_(std::move(blocks)) {}

Result<DirtyTracker> DirtyTracker::attach(pid_t pid, std::vector<TrackedBlock> blocks) {
  if (auto supported = check_capture_support(); !supported) return supported.error();
  UniqueFd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (!pidfd) return policy::errno_error(fmt::format("process {} is not to be had", pid));
  UniqueFd pagemap(::open(fmt::format("/proc/{}/pagemap", pid).c_str(), O_RDONLY | O_CLOEXEC));
  if (!pagemap) {
    return policy::errno_error(fmt::format("opening the page map of process {} failed", pid));
  }
  auto mappings = read_maps(pid);
  if (!mappings) return mappings.error();
  for (const TrackedBlock& block : blocks) {
    if (auto checked = check_block(pid, *mappings, block); !checked) return checked.error();
  }
  auto uffd = inject_userfaultfd(pid);
  if (!uffd) return uffd.error();
  if (auto enabled = enable_features(uffd->get()); !enabled) return enabled.error();
  for (const TrackedBlock& block : blocks) {
    if (auto registered = register_block(uffd->get(), block); !registered) {
      return registered.error();
    }
  }
  return DirtyTracker(pid, std::move(pidfd), std::move(pagemap), std::move(*uffd),
                      std::move(blocks));
}

Result<void> DirtyTracker::scan(PageSet& out) {
  std::vector<uapi::PageRegion> room(kRegions);
  for (std::uint32_t block = 0; block < blocks_.size(); ++block) {
    auto scanned = scan_block(pagemap_.get(), blocks_[block], room,
                              [&](std::uint64_t first, std::uint64_t count) {
                                out.insert({block, first, count});
                              });
    if (!scanned) {
      if (ended()) break;
      if (scanned.error().code == errc::operation_not_permitted) {
        return policy::make_error(
            errc::operation_not_permitted,
            fmt::format("the memory of process {} is no longer tracked: it was mapped anew", pid_));
      }
      return scanned.error();
    }
  }
  // The page map of a process that has ended is empty, and reports nothing rather than failing.
  if (ended()) {
    return policy::make_error(
        errc::no_such_process,
        fmt::format("process {} has ended while its memory was tracked", pid_));
  }
  return {};
}

bool DirtyTracker::ended() const {
  pollfd process{pidfd_.get(), POLLIN, 0};
  return ::poll(&process, 1, 0) > 0;
}

}  // namespace homeport::migration
