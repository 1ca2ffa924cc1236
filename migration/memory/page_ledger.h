// The source's half of a memory transfer: knows which pages are still to be sent.
//
// Pure over byte spans of live guest memory, which the guest goes on writing: no sockets, no clock.
// The caller scans (DirtyTracker), notes the result here, then takes batches until a round is done.
// Scan first, then read: a page that the guest writes while it is read is reported by the next
// scan, so torn content never stays.
//
//   ledger.note_scan(all); ledger.note_holes(holes);      first scan
//   for each round:
//     ledger.begin_round();
//     while (auto batch = ledger.next_batch()) send(batch), now and then note_scan(tracker.scan())
//     note_scan(tracker.scan()); decide (policy/convergence.h)
//   final round: guest stopped, note_scan, barrier and re-check, begin_round, all batches
//
// Pinned I/O. A direct read by the VMM (O_DIRECT, cache=none) marks its page written when the page
// is pinned, not when the data lands; a scan in between takes the mark and the data is never
// reported. With Options::pinned_io the ledger keeps a hash of every page as it was sent. After an
// I/O barrier (all requests begun before it have ended, for instance QMP `stop`
// then `cont`) note_barrier() and recheck() compare what was sent since the barrier before it, and
// put pages that differ back. A first barrier directly after the first scan, before anything is
// sent, leaves nothing to compare and keeps the second one short. Pages that stay pinned from one
// request to the next (VFIO, io_uring's registered buffers) are beyond this: nothing ever marks
// them again.
//
// Not thread-safe: one executor uses a ledger.
#pragma once

#include "migration/memory/memory.pb.h"
#include "migration/memory/page_heat.h"
#include "migration/memory/page_set.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace homeport::migration {

/// One frame for a lane.
struct OutgoingBatch {
  PageBatch header;
  /// At most kMaxBatchPayload bytes: one run of neighbouring pages. Points into the guest's memory,
  /// or into `copy`. Valid while the guest's memory is mapped and this object lives.
  std::span<const std::byte> payload;
  /// With pinned I/O the content is copied once, so that what is hashed is what is sent.
  std::vector<std::byte> copy;

  OutgoingBatch() = default;
  OutgoingBatch(OutgoingBatch&&) = default;
  OutgoingBatch& operator=(OutgoingBatch&&) = default;
};

class PageLedger {
 public:
  struct Options {
    bool pinned_io = false;
    std::size_t max_batch_bytes = std::size_t{1} << 20;  ///< kPageSize .. kMaxBatchPayload
  };

  /// `blocks`: the guest's memory, mapped for reading; multiples of kPageSize.
  PageLedger(std::vector<std::span<const std::byte>> blocks, Options options);

  /// An empty set over these blocks, for DirtyTracker::scan().
  PageSet empty_set() const { return PageSet(next_.pages_per_block()); }

  /// A scan reported `written` since the scan before it. Pages wait for the next round; those that
  /// still waited in the current one leave it. The first call must report all pages.
  void note_scan(const PageSet& written);

  /// These pages have no memory behind them and are zero; looked up after the scan that was noted
  /// last. They are sent as zero without being read, which would allocate them.
  void note_holes(const PageSet& holes);

  /// Everything that waits becomes part of the current round, together with what is left of it.
  void begin_round();

  /// The next pages of the round, coldest first; nullopt: none is left. Its pages count as sent.
  std::optional<OutgoingBatch> next_batch();
  /// Of the round, pages that next_batch() has yet to come to.
  std::uint64_t round_pages() const;

  /// These were sent and may not have arrived: they wait for the next round, with a newer epoch, so
  /// that what is still on its way can no more overwrite what is sent in its place.
  void put_back(std::span<const PageRun> lost);

  /// With pinned I/O: an I/O barrier has passed. Pages reported since the one before and sent since
  /// then are to be compared.
  void note_barrier();
  /// Compares them; those that have changed wait again.
  void recheck();

  /// Pages that still have to be sent, in this round or the next.
  std::uint64_t pending_pages() const;
  std::uint64_t pending_bytes() const { return pending_pages() * kPageSize; }

 private:
  struct Block {
    std::span<const std::byte> bytes;
    std::vector<HeatCount> heat;
    std::vector<std::uint64_t> sent_hash;  // per page, with pinned I/O
  };

  void wait_for_next_round(const PageRun& run);
  bool waits(std::uint32_t block, std::uint64_t page) const;
  std::uint64_t live_hash(std::uint32_t block, std::uint64_t page) const;
  bool zero_now(std::uint32_t block, std::uint64_t page) const;
  std::uint64_t data_run_length(const PageRun& run) const;
  void keep_content(OutgoingBatch& batch, const PageRun& run);

  Options options_;
  std::vector<Block> blocks_;
  std::array<PageSet, kHeatClasses> round_;  // the current round, by heat
  PageSet next_;                             // the next round
  PageSet holes_;
  PageSet reported_;  // since the last barrier
  PageSet suspects_;  // to be compared
  // Where the walk through each class of the round goes on.
  std::array<PageRun, kHeatClasses> cursor_{};
  std::uint32_t epoch_ = 0;  // newer content has a higher one
  std::uint64_t zero_hash_ = 0;
};

}  // namespace homeport::migration
