// A direct read marks its pages written when it pins them, not when the data lands. A scan between
// the two takes the mark, and no scan ever reports the data: it has to be found by comparing.
// Needs root and Linux 6.7.
#include "migration/memory/dirty_tracker.h"
#include "migration/memory/page_ledger.h"
#include "migration/memory/page_store.h"
#include "slow_file.h"
#include "target_process.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

namespace homeport::migration {
namespace {

constexpr std::uint64_t kPages = 64;
constexpr std::uint64_t kFirstRead = 16;
constexpr std::uint64_t kPagesRead = 32;

TEST(PinnedIo, TheCheckAfterABarrierFindsWhatNoScanReports) {
  SlowFile disk(kPagesRead * kPageSize, std::byte{0x5a});
  TargetProcess target(kPages, [&disk](TargetView view) {
    char command = 0;
    int file = -1;
    while (::read(view.commands, &command, 1) == 1) {
      if (file < 0) file = disk.open_in_child();
      ssize_t size =
          ::pread(file, view.memory.data() + kFirstRead * kPageSize, kPagesRead * kPageSize, 0);
      char answer = size == static_cast<ssize_t>(kPagesRead * kPageSize) ? 'k' : 'f';
      if (::write(view.answers, &answer, 1) != 1) return 1;
    }
    return 0;
  });

  std::vector<std::byte> copy(kPages * kPageSize, std::byte{0xee});
  PageStore store({{copy, {}}});
  PageLedger ledger({target.memory().bytes()}, {.pinned_io = true});
  auto same = [&] { return std::equal(copy.begin(), copy.end(), target.memory().bytes().begin()); };
  auto send_round = [&] {
    ledger.begin_round();
    while (auto batch = ledger.next_batch()) {
      ASSERT_TRUE(store.apply(batch->header, batch->payload));
    }
  };
  auto tracker = DirtyTracker::attach(target.pid(), target.blocks());
  ASSERT_TRUE(tracker) << tracker.error().message;
  auto scan = [&] {
    PageSet written = ledger.empty_set();
    EXPECT_TRUE(tracker->scan(written));
    ledger.note_scan(written);
    return written;
  };
  scan();
  ledger.note_barrier();
  send_round();
  ASSERT_TRUE(same());

  ASSERT_EQ(::write(target.commands(), "r", 1), 1);
  ASSERT_TRUE(disk.await_read());
  PageSet pinned = scan();
  EXPECT_EQ(pinned.count(), kPagesRead);
  EXPECT_TRUE(pinned.contains(0, kFirstRead));
  send_round();  // as they were before the data came

  disk.answer_read();
  char answer = 0;
  ASSERT_EQ(::read(target.answers(), &answer, 1), 1);
  ASSERT_EQ(answer, 'k');
  EXPECT_EQ(scan().count(), 0u);  // lost
  EXPECT_FALSE(same());

  ledger.note_barrier();
  ledger.recheck();
  EXPECT_EQ(ledger.pending_pages(), kPagesRead);
  send_round();
  EXPECT_TRUE(same());
}

}  // namespace
}  // namespace homeport::migration
