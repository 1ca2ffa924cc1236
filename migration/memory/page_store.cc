#include "migration/memory/page_store.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

namespace homeport::migration {

using policy::Result;

namespace {

policy::Error bad_batch(std::string what) {
  return policy::make_error(boost::system::errc::bad_message,
                            "a batch of guest pages was refused: " + std::move(what));
}

}  // namespace

PageStore::PageStore(std::vector<Target> blocks) {
  for (Target& target : blocks) {
    std::uint64_t pages = target.bytes.size() / kPageSize;
    missing_pages_ += pages;
    blocks_.push_back({std::move(target), std::vector<std::uint32_t>(pages)});
  }
}

Result<void> PageStore::check(const PageBatch& batch, std::size_t payload_size) const {
  if (batch.block() >= blocks_.size()) {
    return bad_batch(
        fmt::format("there is no block {}, only {} of them", batch.block(), blocks_.size()));
  }
  if (batch.epoch() == 0) return bad_batch("it has no epoch");
  if (batch.runs_size() > kMaxBatchRuns) {
    return bad_batch(fmt::format("{} runs are too many", batch.runs_size()));
  }
  if (payload_size > kMaxBatchPayload) {
    return bad_batch(fmt::format("{} bytes of content are too many", payload_size));
  }
  std::uint64_t pages = blocks_[batch.block()].epochs.size();
  std::uint64_t with_content = 0;
  for (const PageBatch::Run& run : batch.runs()) {
    if (run.count() == 0) return bad_batch("it has a run of no pages");
    // Written so that no sum can overflow.
    if (run.first_page() >= pages || run.count() > pages - run.first_page()) {
      return bad_batch(fmt::format("{} pages from page {} are not in block {}, which has {}",
                                   run.count(), run.first_page(), batch.block(), pages));
    }
    if (!run.zero()) with_content += run.count();
  }
  // At most kMaxBatchRuns counts of 32 bits each: neither the sum nor the product overflows.
  if (with_content * kPageSize != payload_size) {
    return bad_batch(
        fmt::format("{} pages with content do not make {} bytes", with_content, payload_size));
  }
  return {};
}

Result<void> PageStore::apply(const PageBatch& batch, std::span<const std::byte> payload) {
  if (auto checked = check(batch, payload.size()); !checked) return checked;
  const std::byte* content = payload.data();
  for (const PageBatch::Run& run : batch.runs()) {
    auto stored = store({batch.block(), run.first_page(), run.count()}, batch.epoch(),
                        run.zero() ? nullptr : content);
    if (!stored) return stored;
    if (!run.zero()) content += run.count() * kPageSize;
  }
  return {};
}

// `content` is nullptr for zero pages.
Result<void> PageStore::store(const PageRun& run, std::uint32_t epoch, const std::byte* content) {
  Block& block = blocks_[run.block];
  std::uint64_t page = run.first;
  while (page < run.end()) {
    if (block.epochs[page] > epoch) {  // it has newer content already
      ++page;
      continue;
    }
    // As many neighbours as may be written together.
    std::uint64_t first = page;
    for (; page < run.end() && block.epochs[page] <= epoch; ++page) {
      if (block.epochs[page] == 0) --missing_pages_;
      block.epochs[page] = epoch;
    }
    std::uint64_t count = page - first;
    if (content == nullptr) {
      if (auto filled = fill_zero({run.block, first, count}); !filled) return filled;
    } else {
      if (auto& populate = block.target.populate) {
        if (auto there = populate(first * kPageSize, count * kPageSize); !there) return there;
      }
      std::memcpy(block.target.bytes.data() + first * kPageSize,
                  content + (first - run.first) * kPageSize, count * kPageSize);
    }
  }
  return {};
}

Result<void> PageStore::fill_zero(const PageRun& run) {
  // Never skipped for pages that nothing was received for: a VMM that waits for an incoming guest
  // has put its firmware's tables into guest memory already.
  const Target& target = blocks_[run.block].target;
  std::uint64_t offset = run.first * kPageSize;
  std::uint64_t size = run.count * kPageSize;
  if (target.punch && target.punch(offset, size)) return {};
  if (target.populate) {
    if (auto there = target.populate(offset, size); !there) return there;
  }
  std::memset(target.bytes.data() + offset, 0, size);
  return {};
}

}  // namespace homeport::migration
