#include "migration/memory/page_ledger.h"
#include "migration/memory/page_store.h"
#include "migration/memory/zero_page.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <random>
#include <vector>

namespace homeport::migration {
namespace {

// A guest's memory, written by a model of the guest, and a model of the tracker.
class Guest {
 public:
  explicit Guest(const std::vector<std::uint64_t>& pages) : written_(pages) {
    for (std::uint64_t count : pages) blocks_.emplace_back(count * kPageSize);
    written_.insert_all();
  }

  std::vector<std::span<const std::byte>> spans() const { return {blocks_.begin(), blocks_.end()}; }
  /// A write the tracker sees.
  void write(std::uint32_t block, std::uint64_t page, int value, std::size_t at = 0) {
    land(block, page, value, at);
    written_.insert({block, page, 1});
  }
  /// Data of pinned I/O that lands: the tracker saw the page when it was pinned.
  void land(std::uint32_t block, std::uint64_t page, int value, std::size_t at = 0) {
    blocks_[block][page * kPageSize + at] = static_cast<std::byte>(value);
  }
  void pin(std::uint32_t block, std::uint64_t page) { written_.insert({block, page, 1}); }
  PageSet scan() {
    PageSet result = written_;
    written_.clear();
    return result;
  }

  std::vector<std::vector<std::byte>> blocks_;

 private:
  PageSet written_;
};

class Destination {
 public:
  explicit Destination(const Guest& guest) {
    for (const auto& block : guest.blocks_) {
      blocks_.emplace_back(block.size(), std::byte{0xee});  // not zero: nothing may be left out
    }
    std::vector<PageStore::Target> targets;
    for (auto& block : blocks_) targets.push_back({block, {}});
    store_ = std::make_unique<PageStore>(std::move(targets));
  }
  void apply(const OutgoingBatch& batch) {
    auto applied = store_->apply(batch.header, batch.payload);
    ASSERT_TRUE(applied) << applied.error().message;
  }

  std::vector<std::vector<std::byte>> blocks_;
  std::unique_ptr<PageStore> store_;
};

void send_round(PageLedger& ledger, Destination& destination) {
  ledger.begin_round();
  while (auto batch = ledger.next_batch()) destination.apply(*batch);
}

TEST(ZeroPage, IsZeroOnlyWhenEveryByteIs) {
  std::vector<std::byte> page(kPageSize);
  EXPECT_TRUE(is_zero_page(page.data()));
  for (std::size_t at = 0; at < kPageSize; ++at) {
    page[at] = std::byte{1};
    EXPECT_FALSE(is_zero_page(page.data())) << at;
    page[at] = std::byte{0};
  }
}

TEST(PageHeat, GrowsByDoublings) {
  EXPECT_EQ(heat_class(0), 0u);
  EXPECT_EQ(heat_class(1), 1u);
  EXPECT_EQ(heat_class(2), 2u);
  EXPECT_EQ(heat_class(3), 2u);
  EXPECT_EQ(heat_class(4), 3u);
  EXPECT_EQ(heat_class(7), 3u);
  EXPECT_EQ(heat_class(8), 4u);
  EXPECT_EQ(heat_class(255), 4u);
}

TEST(PageLedger, BatchesNeighboursWithoutCopying) {
  Guest guest({1000});
  for (std::uint64_t page = 0; page < 600; ++page) guest.write(0, page, 1);
  PageLedger ledger(guest.spans(), {});
  ledger.note_scan(guest.scan());
  ledger.begin_round();
  auto first = ledger.next_batch();
  ASSERT_TRUE(first);
  EXPECT_EQ(first->payload.size(), kMaxBatchPayload);
  EXPECT_EQ(first->payload.data(), guest.blocks_[0].data());
  auto second = ledger.next_batch();
  ASSERT_TRUE(second);
  EXPECT_EQ(second->payload.data(), guest.blocks_[0].data() + kMaxBatchPayload);
  auto third = ledger.next_batch();
  ASSERT_TRUE(third);
  // The zeros behind the content travel in the same batch.
  EXPECT_EQ(third->payload.size(), 88 * kPageSize);
  ASSERT_EQ(third->header.runs_size(), 2);
  EXPECT_EQ(third->header.runs(1).count(), 400u);
  EXPECT_TRUE(third->header.runs(1).zero());
  EXPECT_FALSE(ledger.next_batch());
  EXPECT_EQ(ledger.pending_pages(), 0u);
}

TEST(PageLedger, SendsTheColdestFirst) {
  Guest guest({100});
  for (std::uint64_t page = 0; page < 100; ++page) guest.write(0, page, 1);
  PageLedger ledger(guest.spans(), {});
  ledger.note_scan(guest.scan());
  for (int scan = 0; scan < 8; ++scan) {
    guest.write(0, 10, scan + 2);
    if (scan % 4 == 0) guest.write(0, 20, scan + 2);
    ledger.note_scan(guest.scan());
  }
  ledger.begin_round();
  std::vector<std::uint64_t> order;
  while (auto batch = ledger.next_batch()) {
    for (const auto& run : batch->header.runs()) {
      for (std::uint64_t i = 0; i < run.count(); ++i) order.push_back(run.first_page() + i);
    }
  }
  ASSERT_EQ(order.size(), 100u);
  EXPECT_EQ(order[98], 20u);
  EXPECT_EQ(order[99], 10u);
}

TEST(PageLedger, APageWrittenBeforeItsTurnWaitsForTheNextRound) {
  Guest guest({1000});
  for (std::uint64_t page = 0; page < 1000; ++page) guest.write(0, page, 1);
  PageLedger ledger(guest.spans(), {});
  Destination destination(guest);
  ledger.note_scan(guest.scan());
  ledger.begin_round();
  auto first = ledger.next_batch();
  ASSERT_TRUE(first);
  destination.apply(*first);
  for (std::uint64_t page = 900; page < 1000; ++page) guest.write(0, page, 2);
  guest.write(0, 0, 2);  // has been sent, and must be again
  ledger.note_scan(guest.scan());
  std::size_t sent = first->payload.size();
  while (auto batch = ledger.next_batch()) {
    sent += batch->payload.size();
    destination.apply(*batch);
  }
  EXPECT_EQ(sent, 900 * kPageSize);
  EXPECT_EQ(ledger.pending_pages(), 101u);
  EXPECT_EQ(ledger.pending_bytes(), 101 * kPageSize);
  send_round(ledger, destination);
  EXPECT_EQ(destination.blocks_, guest.blocks_);
  EXPECT_EQ(destination.store_->missing_pages(), 0u);
}

TEST(PageLedger, HolesAreSentAsZerosUnread) {
  Guest guest({64});
  PageLedger ledger(guest.spans(), {});
  ledger.note_scan(guest.scan());
  PageSet holes = ledger.empty_set();
  holes.insert({0, 0, 64});
  ledger.note_holes(holes);
  // Not a hole any more: it has been written since.
  guest.write(0, 5, 1);
  ledger.note_scan(guest.scan());
  // Holes are not read, or this would be seen.
  guest.land(0, 6, 1);
  ledger.begin_round();
  std::uint64_t data = 0, zeros = 0;
  while (auto batch = ledger.next_batch()) {
    for (const auto& run : batch->header.runs()) (run.zero() ? zeros : data) += run.count();
  }
  EXPECT_EQ(data, 1u);
  EXPECT_EQ(zeros, 63u);
}

TEST(PageLedger, WhatIsPutBackIsSentAgainAndNewer) {
  Guest guest({8});
  for (std::uint64_t page = 0; page < 8; ++page) guest.write(0, page, 1);
  PageLedger ledger(guest.spans(), {});
  ledger.note_scan(guest.scan());
  ledger.begin_round();
  auto late = ledger.next_batch();
  ASSERT_TRUE(late);
  const std::vector<std::byte> old_content(late->payload.begin(), late->payload.end());
  EXPECT_EQ(ledger.round_pages(), 0u);
  // On its way when the guest writes one of them again, which no scan has seen yet.
  guest.write(0, 3, 2);
  const std::vector<PageRun> lost = {{0, 2, 4}};
  ledger.put_back(lost);
  EXPECT_EQ(ledger.pending_pages(), 4u);

  Destination destination(guest);
  send_round(ledger, destination);
  ASSERT_TRUE(destination.store_->apply(late->header, old_content));  // it comes all the same
  EXPECT_EQ(destination.blocks_, guest.blocks_);
}

TEST(PageLedger, WhatIsPutBackBeforeItsNextTurnIsSentOnce) {
  Guest guest({8});
  guest.write(0, 0, 1);
  PageLedger ledger(guest.spans(), {.max_batch_bytes = kPageSize});
  ledger.note_scan(guest.scan());
  ledger.begin_round();
  ASSERT_TRUE(ledger.next_batch());
  guest.write(0, 0, 2);
  ledger.note_scan(guest.scan());
  ledger.begin_round();
  const std::uint64_t before = ledger.pending_pages();
  const std::vector<PageRun> lost = {{0, 0, 1}};
  ledger.put_back(lost);
  EXPECT_EQ(ledger.pending_pages(), before);
}

TEST(PageLedger, FindsDataThatLandedAfterItsPageWasSent) {
  Guest guest({64});
  for (std::uint64_t page = 0; page < 32; ++page) guest.write(0, page, 1);
  PageLedger ledger(guest.spans(), {.pinned_io = true});
  Destination destination(guest);
  ledger.note_scan(guest.scan());
  ledger.note_barrier();
  guest.pin(0, 7);
  guest.pin(0, 40);
  ledger.note_scan(guest.scan());
  send_round(ledger, destination);
  guest.land(0, 7, 2, 100);
  guest.land(0, 40, 2, 100);
  guest.land(0, 50, 2, 100);  // not reported since the barrier: not compared
  ledger.note_scan(guest.scan());
  EXPECT_EQ(ledger.pending_pages(), 0u);  // unseen
  EXPECT_NE(destination.blocks_, guest.blocks_);

  ledger.note_barrier();
  ledger.recheck();
  EXPECT_EQ(ledger.pending_pages(), 2u);
  guest.write(0, 50, 3, 100);
  ledger.note_scan(guest.scan());
  send_round(ledger, destination);
  EXPECT_EQ(destination.blocks_, guest.blocks_);
}

// Random guests, lanes that deliver in any order, scans at any time, pinned I/O with barriers:
// after the last round the destination has what the source has.
void random_history(unsigned seed) {
  std::mt19937 random(seed);
  bool pinned_io = seed % 2 == 0;
  std::vector<std::uint64_t> sizes(1 + random() % 3);
  for (auto& pages : sizes) pages = 1 + random() % 300;
  Guest guest(sizes);
  auto anywhere = [&] {
    auto block = static_cast<std::uint32_t>(random() % sizes.size());
    return std::pair{block, random() % sizes[block]};
  };
  auto write_some = [&] {
    for (std::size_t n = random() % 40; n > 0; --n) {
      auto [block, page] = anywhere();
      guest.write(block, page, static_cast<int>(random() % 3), random() % kPageSize);
    }
  };
  write_some();
  PageLedger ledger(guest.spans(), {pinned_io, kPageSize << random() % 10});
  Destination destination(guest);

  struct InFlight {
    OutgoingBatch batch;
    std::vector<std::byte> payload;  // as sent
  };
  std::deque<InFlight> lanes;
  std::vector<std::pair<std::uint32_t, std::uint64_t>> pinned;
  auto deliver_one = [&] {
    if (lanes.empty()) return;
    std::swap(lanes.front(), lanes[random() % lanes.size()]);
    ASSERT_TRUE(destination.store_->apply(lanes.front().batch.header, lanes.front().payload));
    lanes.pop_front();
  };
  // A lane is given up: what is on its way there is put back, and may come all the same.
  auto lose_some = [&] {
    std::vector<PageRun> lost;
    std::deque<InFlight> still;
    for (InFlight& each : lanes) {
      const bool is_lost = random() % 2 == 0;
      for (const auto& run : each.batch.header.runs()) {
        if (is_lost) lost.push_back({each.batch.header.block(), run.first_page(), run.count()});
      }
      if (!is_lost || random() % 2 == 0) still.push_back(std::move(each));
    }
    lanes = std::move(still);
    ledger.put_back(lost);
  };
  auto send_one = [&] {
    auto batch = ledger.next_batch();
    if (!batch) return false;
    EXPECT_LE(batch->header.runs_size(), kMaxBatchRuns);
    std::vector<std::byte> payload(batch->payload.begin(), batch->payload.end());
    lanes.push_back({std::move(*batch), std::move(payload)});
    return true;
  };
  auto land_all = [&] {
    for (auto [block, page] : pinned) {
      guest.land(block, page, static_cast<int>(random()), random() % kPageSize);
    }
    pinned.clear();
  };

  ledger.note_scan(guest.scan());
  for (int round = 0; round < 6; ++round) {
    ledger.begin_round();
    for (bool more = true; more;) {
      write_some();
      if (pinned_io && random() % 4 == 0) {
        pinned.push_back(anywhere());
        guest.pin(pinned.back().first, pinned.back().second);
      }
      if (random() % 3 == 0) ledger.note_scan(guest.scan());
      if (random() % 5 == 0) deliver_one();
      if (random() % 9 == 0) lose_some();
      more = send_one();
    }
    ledger.note_scan(guest.scan());
    if (random() % 2 == 0) {
      land_all();
      ledger.note_barrier();
      ledger.recheck();
    }
  }
  // The guest is stopped.
  land_all();
  ledger.note_scan(guest.scan());
  ledger.note_barrier();
  ledger.recheck();
  for (int losses = 3; ledger.pending_pages() > 0 || losses > 0; --losses) {
    ledger.begin_round();
    while (send_one()) {
    }
    if (losses > 0) lose_some();
  }
  while (!lanes.empty()) deliver_one();
  EXPECT_EQ(ledger.pending_pages(), 0u);
  EXPECT_EQ(destination.store_->missing_pages(), 0u);
  ASSERT_EQ(destination.blocks_, guest.blocks_) << "seed " << seed;
}

TEST(PageLedger, RandomHistoriesEndEqual) {
  for (unsigned seed = 0; seed < 100; ++seed) random_history(seed);
}

}  // namespace
}  // namespace homeport::migration
