#include "migration/memory/page_set.h"

#include <algorithm>
#include <bit>
#include <utility>

namespace homeport::migration {
namespace {

// Calls `change(word, mask)` for every word that `run` touches, with the run's bits in it.
template <class Change>
void for_each_word(std::vector<std::uint64_t>& words, const PageRun& run, Change change) {
  std::uint64_t page = run.first;
  std::uint64_t end = run.end();
  while (page < end) {
    std::uint64_t bit = page % 64;
    std::uint64_t width = std::min<std::uint64_t>(64 - bit, end - page);
    std::uint64_t mask = (width == 64 ? ~0ull : (1ull << width) - 1) << bit;
    change(words[page / 64], mask);
    page += width;
  }
}

}  // namespace

PageSet::PageSet(std::vector<std::uint64_t> pages_per_block) : pages_(std::move(pages_per_block)) {
  for (std::uint64_t pages : pages_) words_.emplace_back((pages + 63) / 64);
}

void PageSet::insert(const PageRun& run) {
  for_each_word(words_[run.block], run, [this](std::uint64_t& word, std::uint64_t mask) {
    count_ += static_cast<std::uint64_t>(std::popcount(mask & ~word));
    word |= mask;
  });
}

void PageSet::erase(const PageRun& run) {
  for_each_word(words_[run.block], run, [this](std::uint64_t& word, std::uint64_t mask) {
    count_ -= static_cast<std::uint64_t>(std::popcount(mask & word));
    word &= ~mask;
  });
}

void PageSet::clear() {
  for (auto& words : words_) std::fill(words.begin(), words.end(), 0);
  count_ = 0;
}

void PageSet::insert_all() {
  for (std::uint32_t block = 0; block < pages_.size(); ++block) insert({block, 0, pages_[block]});
}

PageSet& PageSet::operator|=(const PageSet& other) {
  for (std::size_t block = 0; block < words_.size(); ++block) {
    for (std::size_t i = 0; i < words_[block].size(); ++i) {
      std::uint64_t added = other.words_[block][i] & ~words_[block][i];
      count_ += static_cast<std::uint64_t>(std::popcount(added));
      words_[block][i] |= added;
    }
  }
  return *this;
}

PageSet& PageSet::operator-=(const PageSet& other) {
  for (std::size_t block = 0; block < words_.size(); ++block) {
    for (std::size_t i = 0; i < words_[block].size(); ++i) {
      std::uint64_t removed = other.words_[block][i] & words_[block][i];
      count_ -= static_cast<std::uint64_t>(std::popcount(removed));
      words_[block][i] &= ~removed;
    }
  }
  return *this;
}

std::uint64_t PageSet::find(std::uint32_t block, std::uint64_t page, bool member) const {
  const auto& words = words_[block];
  std::uint64_t end = pages_[block];
  if (page >= end) return end;
  auto wanted = [&](std::uint64_t index) { return member ? words[index] : ~words[index]; };
  std::uint64_t index = page / 64;
  std::uint64_t word = wanted(index) & (~0ull << (page % 64));
  while (word == 0) {
    if (++index == words.size()) return end;
    word = wanted(index);
  }
  return std::min(end, index * 64 + static_cast<std::uint64_t>(std::countr_zero(word)));
}

std::optional<PageRun> PageSet::next_run(std::uint32_t block, std::uint64_t page,
                                         std::uint64_t max_count) const {
  for (; block < pages_.size(); ++block, page = 0) {
    std::uint64_t first = find(block, page, true);
    if (first == pages_[block]) continue;
    std::uint64_t end = find(block, first, false);
    return PageRun{block, first, std::min(end - first, max_count)};
  }
  return std::nullopt;
}

}  // namespace homeport::migration
