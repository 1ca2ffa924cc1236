// A guest that reads O_DIRECT through a throttled disk while it moves. Such a read marks a page
// when it is pinned, not when the data lands: a scan in between would lose it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>

#include "tests/lab/failure.h"
#include "tests/lab/fleet.h"
#include "tests/lab/pattern.h"

namespace homeport::lab {
namespace {

namespace fs = std::filesystem;

/// A file of guest memory, mapped read-only.
class MemoryFile {
 public:
  explicit MemoryFile(const fs::path& file) : size_(fs::file_size(file)) {
    const int fd = open(file.c_str(), O_RDONLY | O_CLOEXEC);
    bytes_ = mmap(nullptr, size_, PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    if (bytes_ == MAP_FAILED) throw LabFailure("cannot map " + file.string());
  }
  ~MemoryFile() { munmap(bytes_, size_); }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;

  std::size_t pages() const { return size_ / kPageBytes; }
  const void* page(std::size_t index) const {
    return static_cast<const char*>(bytes_) + index * kPageBytes;
  }

 private:
  std::size_t size_;
  void* bytes_;
};

fs::path only_file_in(const fs::path& directory) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(directory)) files.push_back(entry.path());
  if (files.size() != 1) {
    throw LabFailure(directory.string() + " holds " + std::to_string(files.size()) + " files");
  }
  return files.front();
}

TEST(Disk, EveryPageOfADirectReaderArrives) {
  const fs::path disk = fs::temp_directory_path() / own_name("disk.img");
  Cleanup cleanup;
  cleanup.add("disk image", [&] { fs::remove(disk); });
  write_pattern_disk(disk, 64);

  FleetOptions options{.name = "disk", .rate_mbit = 400, .holdable = true};
  options.guest.disk = disk;
  // 64 KiB requests take 16 ms each: there is always one under way when pages are scanned.
  options.guest.disk_bytes_per_second = 4 << 20;
  Fleet fleet(options);
  fleet.guest().read_disk(16);
  wait_until([&] { return fleet.guest().status().disk_pages > 1024; }, 20s, "the disk reader");

  Host* here = &fleet.a();
  for (int i = 0; i < 3; ++i) {
    Host& there = fleet.other_than(*here);
    here->hold_at("device-state");
    auto waiting = fleet.start_move(there);
    here->wait_held();
    {
      // The guest is stopped and all of its memory has been sent.
      const MemoryFile source(only_file_in(here->memory_directory()));
      const MemoryFile destination(only_file_in(there.memory_directory()));
      ASSERT_EQ(source.pages(), destination.pages());
      std::size_t different = 0;
      for (std::size_t page = 0; page < source.pages(); ++page) {
        different += std::memcmp(source.page(page), destination.page(page), kPageBytes) != 0;
      }
      EXPECT_EQ(different, 0u) << "pages of " << source.pages() << " in move " << i;
    }
    here->release();
    EXPECT_EQ(waiting->wait(60s), 0) << waiting->log_tail();
    fleet.wait_settled(there);
    const auto read = fleet.guest().status().disk_pages;
    wait_until([&] { return fleet.guest().status().disk_pages > read + 1024; }, 20s,
               "the disk reader to go on");
    fleet.guest().check_disk();
    const GuestStatus status = fleet.guest().status();
    EXPECT_EQ(status.disk_mismatches, 0u) << status.disk_first_mismatch;
    here = &there;
  }
  EXPECT_THAT(fleet.lab().complaints(), testing::IsEmpty());
}

}  // namespace
}  // namespace homeport::lab
