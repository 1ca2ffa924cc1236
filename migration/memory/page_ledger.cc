#include "migration/memory/page_ledger.h"

#include "migration/memory/page_store.h"
#include "migration/memory/zero_page.h"

// Inlined, since pages are hashed one by one.
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <utility>

namespace homeport::migration {
namespace {

// A batch ends after this many pages were looked at, so that a large zero region does not hold up
// the executor.
constexpr std::uint64_t kMaxPagesRead = 4096;

std::uint64_t hash_page(const std::byte* page) {
  return XXH3_64bits(page, kPageSize);
}

PageSet set_over(const std::vector<std::span<const std::byte>>& blocks) {
  std::vector<std::uint64_t> pages;
  for (const auto& bytes : blocks) pages.push_back(bytes.size() / kPageSize);
  return PageSet(std::move(pages));
}

void add_run(PageBatch& batch, const PageRun& run, bool zero) {
  if (zero && batch.runs_size() > 0) {
    PageBatch::Run& last = *batch.mutable_runs(batch.runs_size() - 1);
    if (last.zero() && last.first_page() + last.count() == run.first) {
      last.set_count(last.count() + static_cast<std::uint32_t>(run.count));
      return;
    }
  }
  PageBatch::Run& added = *batch.add_runs();
  added.set_first_page(run.first);
  added.set_count(static_cast<std::uint32_t>(run.count));
  added.set_zero(zero);
}

}  // namespace

PageLedger::PageLedger(std::vector<std::span<const std::byte>> blocks, Options options)
    : options_(options),
      next_(set_over(blocks)),
      holes_(next_),
      reported_(next_),
      suspects_(next_) {
  options_.max_batch_bytes =
      std::clamp<std::size_t>(options_.max_batch_bytes, kPageSize, kMaxBatchPayload);
  round_.fill(next_);
  for (const auto& bytes : blocks) {
    std::uint64_t pages = bytes.size() / kPageSize;
    blocks_.push_back({bytes, std::vector<HeatCount>(pages), {}});
    if (options_.pinned_io) blocks_.back().sent_hash.resize(pages);
  }
  static constexpr std::array<std::byte, kPageSize> zeros{};
  zero_hash_ = hash_page(zeros.data());
}

void PageLedger::wait_for_next_round(const PageRun& run) {
  for (PageSet& pages : round_) {
    if (!pages.empty()) pages.erase(run);
  }
  next_.insert(run);
}

void PageLedger::note_scan(const PageSet& written) {
  bool first = epoch_ == 0;
  ++epoch_;
  holes_ -= written;
  if (options_.pinned_io) reported_ |= written;
  written.for_each_run([&](const PageRun& run) {
    wait_for_next_round(run);
    if (first) return;  // says nothing about heat: every page is reported
    auto& heat = blocks_[run.block].heat;
    for (std::uint64_t page = run.first; page < run.end(); ++page) {
      if (heat[page] != static_cast<HeatCount>(-1)) ++heat[page];
    }
  });
}

void PageLedger::note_holes(const PageSet& holes) {
  holes_ |= holes;
}

void PageLedger::begin_round() {
  next_.for_each_run([&](const PageRun& run) {
    const auto& heat = blocks_[run.block].heat;
    std::uint64_t page = run.first;
    while (page < run.end()) {
      std::size_t wanted = heat_class(heat[page]);
      std::uint64_t first = page++;
      while (page < run.end() && heat_class(heat[page]) == wanted) ++page;
      round_[wanted].insert({run.block, first, page - first});
    }
  });
  next_.clear();
  cursor_.fill({});
}

std::optional<OutgoingBatch> PageLedger::next_batch() {
  std::size_t coldest = 0;
  while (coldest < kHeatClasses && round_[coldest].empty()) ++coldest;
  if (coldest == kHeatClasses) return std::nullopt;
  PageSet& pages = round_[coldest];
  PageRun& cursor = cursor_[coldest];
  auto start = pages.next_run(cursor.block, cursor.first);
  if (!start) start = pages.next_run(0, 0);

  OutgoingBatch batch;
  std::uint32_t block = start->block;
  batch.header.set_block(block);
  batch.header.set_epoch(epoch_);
  std::uint64_t position = start->first;
  std::uint64_t looked_at = 0;
  bool has_content = false;
  while (batch.header.runs_size() < kMaxBatchRuns && looked_at < kMaxPagesRead) {
    auto run = pages.next_run(block, position, kMaxPagesRead - looked_at);
    if (!run || run->block != block) break;
    std::uint64_t zeros = 0;
    while (zeros < run->count && zero_now(block, run->first + zeros)) ++zeros;
    if (zeros > 0) {
      PageRun zero{block, run->first, zeros};
      add_run(batch.header, zero, true);
      if (options_.pinned_io) {
        std::fill_n(blocks_[block].sent_hash.begin() + static_cast<std::ptrdiff_t>(zero.first),
                    zeros, zero_hash_);
      }
      position = zero.end();
      looked_at += zeros;
      continue;
    }
    if (has_content) break;  // a frame carries one run of neighbouring pages
    has_content = true;
    PageRun data{block, run->first, data_run_length(*run)};
    add_run(batch.header, data, false);
    keep_content(batch, data);
    position = data.end();
    looked_at += data.count;
  }
  for (const PageBatch::Run& run : batch.header.runs()) {
    pages.erase({block, run.first_page(), run.count()});
  }
  cursor = {block, position, 0};
  return batch;
}

void PageLedger::put_back(std::span<const PageRun> lost) {
  if (lost.empty()) return;
  ++epoch_;
  PageSet again = empty_set();
  for (const PageRun& run : lost) again.insert(run);
  for (const PageSet& pages : round_) again -= pages;  // their turn is yet to come
  next_ |= again;
}

bool PageLedger::zero_now(std::uint32_t block, std::uint64_t page) const {
  return holes_.contains(block, page) ||
         is_zero_page(blocks_[block].bytes.data() + page * kPageSize);
}

// How many pages of `run`, of which the first is not zero, go into one payload.
std::uint64_t PageLedger::data_run_length(const PageRun& run) const {
  std::uint64_t most = std::min<std::uint64_t>(run.count, options_.max_batch_bytes / kPageSize);
  std::uint64_t count = 1;
  while (count < most && !zero_now(run.block, run.first + count)) ++count;
  return count;
}

void PageLedger::keep_content(OutgoingBatch& batch, const PageRun& run) {
  Block& block = blocks_[run.block];
  batch.payload = block.bytes.subspan(run.first * kPageSize, run.count * kPageSize);
  if (!options_.pinned_io) return;
  batch.copy.assign(batch.payload.begin(), batch.payload.end());
  batch.payload = batch.copy;
  for (std::uint64_t i = 0; i < run.count; ++i) {
    block.sent_hash[run.first + i] = hash_page(batch.copy.data() + i * kPageSize);
  }
}

bool PageLedger::waits(std::uint32_t block, std::uint64_t page) const {
  if (next_.contains(block, page)) return true;
  return std::any_of(round_.begin(), round_.end(),
                     [&](const PageSet& pages) { return pages.contains(block, page); });
}

void PageLedger::note_barrier() {
  if (!options_.pinned_io) return;
  // What still waits is read after the barrier and needs no comparison; nor does what was a hole
  // at a look after its last report, since pinning it would have filled it.
  reported_ -= next_;
  for (const PageSet& pages : round_) reported_ -= pages;
  reported_ -= holes_;
  suspects_ |= reported_;
  reported_.clear();
}

void PageLedger::recheck() {
  PageSet changed = empty_set();
  suspects_.for_each_run([&](const PageRun& run) {
    for (std::uint64_t page = run.first; page < run.end(); ++page) {
      if (waits(run.block, page)) continue;
      if (live_hash(run.block, page) != blocks_[run.block].sent_hash[page]) {
        changed.insert({run.block, page, 1});
      }
    }
  });
  suspects_.clear();
  if (changed.empty()) return;
  ++epoch_;
  next_ |= changed;
}

std::uint64_t PageLedger::live_hash(std::uint32_t block, std::uint64_t page) const {
  return hash_page(blocks_[block].bytes.data() + page * kPageSize);
}

std::uint64_t PageLedger::round_pages() const {
  std::uint64_t pages = 0;
  for (const PageSet& of_class : round_) pages += of_class.count();
  return pages;
}

std::uint64_t PageLedger::pending_pages() const {
  return next_.count() + round_pages();
}

}  // namespace homeport::migration
