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

  std::uint64_t pages() const;

  OutgoingBatch() = default;
  OutgoingBatch(OutgoingBatch&&) = default;
  OutgoingBatch& operator=(OutgoingBatch&&) = default;
};

struct LedgerStatistics {
  std::uint32_t epoch = 0;
  std::uint64_t data_pages = 0;      ///< put into batches with their content
  std::uint64_t zero_pages = 0;      ///< put into batches as zero
  std::uint64_t payload_bytes = 0;   ///< in batches
  std::uint64_t deferred_pages = 0;  ///< written again before their turn came: one sending saved
  std::uint64_t rechecked_pages = 0;
  std::uint64_t recovered_pages = 0;  ///< found changed by a re-check without a scan's report
  std::array<std::uint64_t, kHeatClasses> heat{};  ///< pages per heat class
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

  /// A batch did not arrive, for instance because its lane failed: its pages wait again and will
  /// carry a newer epoch.
  void take_back(const PageBatch& batch);

  /// With pinned I/O: an I/O barrier has passed. Pages reported since the one before and sent since
  /// then are to be compared.
  void note_barrier();
  /// Pages yet to be compared.
  std::uint64_t suspect_pages() const { return suspects_.count(); }
  /// Compares up to `max_pages` of them; returns how many were found changed and now wait again.
  std::uint64_t recheck(std::uint64_t max_pages = UINT64_MAX);

  /// Pages that still have to be sent, in this round or the next.
  std::uint64_t pending_pages() const { return round_pages() + next_.count(); }
  std::uint64_t pending_bytes() const { return pending_pages() * kPageSize; }
  /// Pages left of the current round.
  std::uint64_t round_pages() const;

  std::uint32_t epoch() const { return statistics_.epoch; }
  /// Also counts pages per heat class, which takes a pass over all of them.
  LedgerStatistics statistics() const;

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
  LedgerStatistics statistics_;
  std::uint64_t zero_hash_ = 0;
};

}  // namespace homeport::migration
