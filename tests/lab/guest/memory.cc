#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/fs.h>

#include <cstdio>
#include <thread>

#include "tests/lab/clock.h"
#include "tests/lab/guest/worker.h"
#include "tests/lab/pattern.h"

namespace homeport::lab::guest {
namespace {

void* allocate(std::uint64_t bytes) {
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  if (memory == MAP_FAILED) {
    std::perror("guest: no memory");
    return nullptr;
  }
  return memory;
}

class Holding {
 public:
  explicit Holding(std::atomic_flag& flag) : flag_(flag) {
    while (flag_.test_and_set(std::memory_order_acquire)) flag_.wait(true);
  }
  ~Holding() {
    flag_.clear(std::memory_order_release);
    flag_.notify_all();
  }

 private:
  std::atomic_flag& flag_;
};

}  // namespace

void Counter::work() {
  // Its own ticks, not a clock: a guest that was paused has not counted.
  for (std::uint64_t next = now_ns();; next += 1'000'000) {
    sleep_until_ns(next);
    ++value;
  }
}

void MemoryWriter::start(std::uint64_t region_mib, std::uint64_t hot_mib,
                         std::uint64_t mib_per_second) {
  if (region_ != nullptr) return;
  const std::uint64_t count = region_mib * 1024 * 1024 / kPageBytes;
  auto* region = static_cast<std::uint64_t*>(allocate(count * kPageBytes));
  versions_ = static_cast<std::uint32_t*>(allocate(count * sizeof *versions_));
  if (region == nullptr || versions_ == nullptr) return;
  for (std::uint64_t page = 0; page < count; ++page) {
    fill_page(page, 0, region + page * kPageBytes / 8);
  }
  region_ = region;
  pages = count;
  hot_pages_ = hot_mib * 1024 * 1024 / kPageBytes;
  bytes_per_second_ = mib_per_second * 1024 * 1024;
  if (hot_pages_ > 0 && bytes_per_second_ > 0) std::thread([this] { work(); }).detach();
}

void MemoryWriter::work() {
  const std::uint64_t interval = kPageBytes * 1'000'000'000 / bytes_per_second_;
  std::uint64_t next = now_ns();
  for (std::uint64_t page = 0;; page = (page + 1) % hot_pages_) {
    {
      Holding held(busy_);
      fill_page(page, ++versions_[page], region_ + page * kPageBytes / 8);
    }
    written_bytes += kPageBytes;
    next += interval;
    // A timer per millisecond's worth of pages is enough; after a pause it does not catch up.
    const std::uint64_t now = now_ns();
    if (next > now + 1'000'000) sleep_until_ns(next);
    if (next + 100'000'000 < now) next = now;
  }
}

void MemoryWriter::check() {
  for (std::uint64_t page = 0; page < pages; ++page) {
    Holding held(busy_);
    if (!page_is(page, versions_[page], region_ + page * kPageBytes / 8)) ++mismatches;
  }
}

void DiskReader::start(std::uint64_t buffer_mib) {
  if (buffer_ != nullptr) return;
  disk_ = open("/dev/vda", O_RDONLY | O_DIRECT);
  std::uint64_t bytes = 0;
  if (disk_ < 0 || ioctl(disk_, BLKGETSIZE64, &bytes) != 0) {
    std::perror("guest: /dev/vda");
    return;
  }
  disk_pages_ = bytes / kPageBytes;
  slots_ = buffer_mib * 1024 * 1024 / kPageBytes;
  buffer_ = static_cast<std::uint8_t*>(allocate(slots_ * kPageBytes));
  read_from_ = static_cast<std::uint64_t*>(allocate(slots_ * sizeof *read_from_));
  if (buffer_ == nullptr || read_from_ == nullptr) return;
  std::thread([this] { work(); }).detach();
}

void DiskReader::work() {
  constexpr std::uint64_t kTogether = 16;  // pages of one request: 64 KiB
  for (std::uint64_t turn = 0;; ++turn) {
    checking_.wait(true);  // or the checker, on the one processor, would never have its turn
    Holding held(busy_);
    const std::uint64_t slot = turn * kTogether % slots_;
    const std::uint64_t page = mix(turn) % (disk_pages_ / kTogether) * kTogether;
    const ssize_t got = pread(disk_, buffer_ + slot * kPageBytes, kTogether * kPageBytes,
                              static_cast<off_t>(page * kPageBytes));
    if (got != static_cast<ssize_t>(kTogether * kPageBytes)) {
      std::perror("guest: reading /dev/vda");
      ++mismatches;
      continue;
    }
    for (std::uint64_t i = 0; i < kTogether; ++i) {
      read_from_[slot + i] = page + i + 1;  // 0: nothing read yet
      compare(slot + i, "when read");
    }
    pages += kTogether;
  }
}

void DiskReader::compare(std::uint64_t slot, const char* when) {
  if (read_from_[slot] == 0) return;
  const std::uint64_t page = read_from_[slot] - 1;
  const auto* words = reinterpret_cast<const std::uint64_t*>(buffer_ + slot * kPageBytes);
  if (page_is(page, 0, words)) return;
  ++mismatches;
  if (noted_.exchange(true)) return;
  char text[160];
  std::snprintf(text, sizeof text,
                "%s: buffer page %llu should hold disk page %llu, starts %016llx", when,
                static_cast<unsigned long long>(slot), static_cast<unsigned long long>(page),
                static_cast<unsigned long long>(words[0]));
  note_ = text;
}

void DiskReader::check() {
  checking_.test_and_set();
  {
    Holding held(busy_);
    for (std::uint64_t slot = 0; slot < slots_; ++slot) compare(slot, "later");
  }
  checking_.clear();
  checking_.notify_all();
}

std::string DiskReader::first_mismatch() {
  return noted_ ? note_ : std::string();
}

}  // namespace homeport::lab::guest
