// The agent's own mapping of a guest's memory file.
#pragma once

#include "migration/memory/page_set.h"
#include "migration/memory/page_store.h"
#include "overlay/link/unique_fd.h"
#include "policy/error.h"

#include <cstddef>
#include <cstdint>
#include <span>

namespace homeport::migration {

enum class Access { read, write };

/// One block of guest memory, mapped MAP_SHARED from the file that backs it. The VMM has its own
/// mapping of the same pages.
class GuestMemory {
 public:
  /// Maps `size` bytes at `offset` of `fd`, both multiples of kPageSize. The descriptor is
  /// duplicated; the caller keeps its own. Refused when the file is smaller: touching a page beyond
  /// its end would be SIGBUS.
  static policy::Result<GuestMemory> map(int fd, std::uint64_t offset, std::uint64_t size,
                                         Access access);

  GuestMemory(GuestMemory&& other) noexcept;
  GuestMemory& operator=(GuestMemory&& other) noexcept;
  ~GuestMemory();

  /// The mapping; its address stays the same when the object is moved. Read-only under
  /// Access::read, so a write there is SIGSEGV.
  std::span<std::byte> bytes() const { return bytes_; }

  /// Adds to `holes` the pages of block `block` for which the file holds nothing (lseek(2),
  /// SEEK_DATA): they read as zeros, but reading them through the mapping would allocate them. On a
  /// file system that does not know, none.
  policy::Result<void> find_holes(std::uint32_t block, PageSet& holes) const;

  /// What a PageStore needs of a mapping with Access::write: zeros are made holes (fallocate(2),
  /// FALLOC_FL_PUNCH_HOLE), which take no memory. Valid while this object, or the one it is moved
  /// to, lives.
  PageStore::Target store_target() const;

 private:
  GuestMemory(overlay::UniqueFd fd, std::uint64_t offset, std::span<std::byte> bytes)
      : fd_(std::move(fd)), offset_(offset), bytes_(bytes) {}
  void unmap();

  overlay::UniqueFd fd_;
  std::uint64_t offset_ = 0;
  std::span<std::byte> bytes_;
};

}  // namespace homeport::migration
