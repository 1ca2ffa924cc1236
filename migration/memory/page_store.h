// The destination's half of a memory transfer: puts received pages into the guest's memory.
//
// Pure over byte spans: no sockets, no clock. Batches may come on several lanes and in any order.
// Each page remembers the epoch it was last written with, and older content never overwrites
// newer.
#pragma once

#include "migration/memory/memory.pb.h"
#include "migration/memory/page_set.h"
#include "policy/error.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

namespace homeport::migration {

/// Bounds on a batch, kept by the sender and checked by the receiver.
inline constexpr std::size_t kMaxBatchPayload = std::size_t{1} << 20;  ///< bytes
inline constexpr int kMaxBatchRuns = 1024;

/// Not thread-safe: one executor applies the batches of all lanes of a move.
class PageStore {
 public:
  struct Target {
    std::span<std::byte> bytes;  ///< a multiple of kPageSize
    /// Makes a range of whole pages zero by giving their memory back (offset and size in bytes from
    /// the block's start); false: not possible, and they are overwritten with zeros. May be empty.
    std::function<bool(std::uint64_t offset, std::uint64_t size)> punch = {};
    /// Gets memory for a range that is about to be written. Without it a file system that is full
    /// would be met by the write itself, as a SIGBUS. May be empty.
    std::function<policy::Result<void>(std::uint64_t offset, std::uint64_t size)> populate = {};
  };

  explicit PageStore(std::vector<Target> blocks);

  /// Checks the batch against the blocks and the payload against the batch, then stores all of it;
  /// a batch with any fault changes nothing (errc::bad_message). Where memory runs out, part of it
  /// is stored (errc::not_enough_memory). `payload` holds the pages of the runs that are not zero,
  /// in the order of the runs.
  policy::Result<void> apply(const PageBatch& batch, std::span<const std::byte> payload);

  /// Pages that nothing was received for yet. A move may switch over only when there are none.
  std::uint64_t missing_pages() const { return missing_pages_; }

 private:
  policy::Result<void> check(const PageBatch& batch, std::size_t payload_size) const;
  policy::Result<void> store(const PageRun& run, std::uint32_t epoch, const std::byte* content);
  policy::Result<void> fill_zero(const PageRun& run);

  struct Block {
    Target target;
    std::vector<std::uint32_t> epochs;  // per page; 0: nothing received yet
  };
  std::vector<Block> blocks_;
  std::uint64_t missing_pages_ = 0;
};

}  // namespace homeport::migration
