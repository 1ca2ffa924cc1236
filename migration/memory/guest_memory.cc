#include "migration/memory/guest_memory.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace homeport::migration {

using policy::Result;

Result<GuestMemory> GuestMemory::map(int fd, std::uint64_t offset, std::uint64_t size,
                                     Access access) {
  if (size == 0 || size % kPageSize != 0 || offset % kPageSize != 0) {
    return policy::make_error(
        boost::system::errc::invalid_argument,
        fmt::format("guest memory of {} bytes at offset {} is not whole pages of {} bytes", size,
                    offset, kPageSize));
  }
  overlay::UniqueFd own(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
  if (!own) return policy::errno_error("duplicating the guest memory's descriptor failed");
  struct stat status {};
  if (::fstat(own.get(), &status) != 0) {
    return policy::errno_error("the guest memory's size is not to be had");
  }
  std::uint64_t file_size = static_cast<std::uint64_t>(status.st_size);
  if (offset > file_size || size > file_size - offset) {
    return policy::make_error(
        boost::system::errc::invalid_argument,
        fmt::format("the guest memory file has {} bytes, but {} at offset {} were asked for",
                    file_size, size, offset));
  }
  int protection = access == Access::read ? PROT_READ : PROT_READ | PROT_WRITE;
  void* start =
      ::mmap(nullptr, size, protection, MAP_SHARED, own.get(), static_cast<off_t>(offset));
  if (start == MAP_FAILED) return policy::errno_error("mapping guest memory failed");
  return GuestMemory(std::move(own), offset, {static_cast<std::byte*>(start), size});
}

GuestMemory::GuestMemory(GuestMemory&& other) noexcept
    : fd_(std::move(other.fd_)), offset_(other.offset_), bytes_(std::exchange(other.bytes_, {})) {}

GuestMemory& GuestMemory::operator=(GuestMemory&& other) noexcept {
  if (this != &other) {
    unmap();
    fd_ = std::move(other.fd_);
    offset_ = other.offset_;
    bytes_ = std::exchange(other.bytes_, {});
  }
  return *this;
}

GuestMemory::~GuestMemory() {
  unmap();
}

void GuestMemory::unmap() {
  if (!bytes_.empty()) ::munmap(bytes_.data(), bytes_.size());
  bytes_ = {};
}

Result<void> GuestMemory::find_holes(std::uint32_t block, PageSet& holes) const {
  auto end = static_cast<off_t>(offset_ + bytes_.size());
  auto position = static_cast<off_t>(offset_);
  while (position < end) {
    off_t data = ::lseek(fd_.get(), position, SEEK_DATA);
    if (data < 0) {
      if (errno == EINVAL || errno == EOPNOTSUPP) return {};  // the file system does not know
      if (errno != ENXIO) return policy::errno_error("looking for holes in guest memory failed");
      data = end;  // nothing but hole from here on
    }
    data = std::min(data, end);
    std::uint64_t first = (static_cast<std::uint64_t>(position) - offset_) / kPageSize;
    std::uint64_t last = (static_cast<std::uint64_t>(data) - offset_) / kPageSize;
    if (last > first) holes.insert({block, first, last - first});
    if (data == end) break;
    off_t hole = ::lseek(fd_.get(), data, SEEK_HOLE);
    if (hole < 0) return policy::errno_error("looking for holes in guest memory failed");
    position = std::max(hole, data + static_cast<off_t>(kPageSize));
  }
  return {};
}

PageStore::Target GuestMemory::store_target() const {
  // The closures own a descriptor's number and the mapping, not this object, which may be moved.
  return {bytes_,
          [fd = fd_.get(), base = offset_](std::uint64_t offset, std::uint64_t size) {
            return ::fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                               static_cast<off_t>(base + offset), static_cast<off_t>(size)) == 0;
          },
          [bytes = bytes_](std::uint64_t offset, std::uint64_t size) -> Result<void> {
            if (::madvise(bytes.data() + offset, size, MADV_POPULATE_WRITE) == 0) return {};
            // EFAULT where touching the memory would have been a SIGBUS (madvise(2)).
            return policy::make_error(
                boost::system::errc::not_enough_memory,
                fmt::format("there is no memory left for the guest here ({}): give the file system "
                            "of its memory more room, or stop another guest",
                            std::generic_category().message(errno == EFAULT ? ENOSPC : errno)));
          }};
}

}  // namespace homeport::migration
