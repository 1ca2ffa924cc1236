// A set of guest pages, kept as one bit per page and block.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace homeport::migration {

/// Guest memory is tracked, sent and stored in pages of this many bytes, whatever the size of the
/// pages that back it.
inline constexpr std::size_t kPageSize = 4096;

/// `count` neighbouring pages of one block; `first` counts pages from the block's start.
struct PageRun {
  std::uint32_t block = 0;
  std::uint64_t first = 0;
  std::uint64_t count = 0;

  std::uint64_t end() const { return first + count; }
  bool operator==(const PageRun&) const = default;
};

/// Pages of several memory blocks. Every run passed in must lie inside its block: runs that come
/// from a peer are checked before they get here.
class PageSet {
 public:
  PageSet() = default;
  /// An empty set over blocks of the given sizes in pages.
  explicit PageSet(std::vector<std::uint64_t> pages_per_block);

  std::size_t blocks() const { return pages_.size(); }
  std::uint64_t pages(std::uint32_t block) const { return pages_[block]; }
  const std::vector<std::uint64_t>& pages_per_block() const { return pages_; }

  /// How many pages are in the set.
  std::uint64_t count() const { return count_; }
  bool empty() const { return count_ == 0; }
  bool contains(std::uint32_t block, std::uint64_t page) const {
    return (words_[block][page / 64] >> (page % 64) & 1) != 0;
  }

  void insert(const PageRun& run);
  void erase(const PageRun& run);
  void clear();
  void insert_all();

  /// Unite with, or take away, a set over the same blocks.
  PageSet& operator|=(const PageSet& other);
  PageSet& operator-=(const PageSet& other);
  bool operator==(const PageSet&) const = default;

  /// The first run at or after `page` of `block`, at most `max_count` pages long; it may lie in a
  /// later block. nullopt: no page from there on.
  std::optional<PageRun> next_run(std::uint32_t block, std::uint64_t page,
                                  std::uint64_t max_count = UINT64_MAX) const;

  /// Calls `visit(PageRun)` for every maximal run, in order. The set must not change meanwhile.
  template <class Visit>
  void for_each_run(Visit&& visit) const {
    for (auto run = next_run(0, 0); run; run = next_run(run->block, run->end())) visit(*run);
  }

 private:
  // The first page at or after `page` that is (or is not) in the set, or the block's end.
  std::uint64_t find(std::uint32_t block, std::uint64_t page, bool member) const;

  std::vector<std::uint64_t> pages_;
  std::vector<std::vector<std::uint64_t>> words_;
  std::uint64_t count_ = 0;
};

}  // namespace homeport::migration
