#include "migration/memory/page_store.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

namespace homeport::migration {
namespace {

namespace errc = boost::system::errc;

PageBatch::Run run(std::uint64_t first, std::uint32_t count, bool zero = false) {
  PageBatch::Run run;
  run.set_first_page(first);
  run.set_count(count);
  run.set_zero(zero);
  return run;
}

PageBatch batch(std::uint32_t block, std::uint32_t epoch, const std::vector<PageBatch::Run>& runs) {
  PageBatch batch;
  batch.set_block(block);
  batch.set_epoch(epoch);
  for (const auto& item : runs) *batch.add_runs() = item;
  return batch;
}

std::vector<std::byte> content(std::size_t pages, int value) {
  return std::vector<std::byte>(pages * kPageSize, static_cast<std::byte>(value));
}

class PageStoreTest : public testing::Test {
 protected:
  int value_of(std::uint64_t page) const {
    auto begin = memory_.begin() + static_cast<std::ptrdiff_t>(page * kPageSize);
    bool same =
        std::all_of(begin, begin + kPageSize, [&](std::byte byte) { return byte == *begin; });
    return same ? std::to_integer<int>(*begin) : -1;
  }

  std::vector<std::byte> memory_ = content(16, 0xee);
  std::vector<std::byte> other_ = content(4, 0xee);
  PageStore store_{{{memory_, {}}, {other_, {}}}};
};

TEST_F(PageStoreTest, StoresContentAndZeros) {
  auto payload = content(3, 1);
  std::fill_n(payload.begin() + 2 * kPageSize, kPageSize, std::byte{2});
  ASSERT_TRUE(store_.apply(batch(0, 1, {run(4, 2), run(0, 2, true), run(9, 1)}), payload));
  EXPECT_EQ(value_of(4), 1);
  EXPECT_EQ(value_of(5), 1);
  EXPECT_EQ(value_of(9), 2);
  EXPECT_EQ(value_of(0), 0);
  EXPECT_EQ(value_of(1), 0);
  EXPECT_EQ(value_of(2), 0xee);
  EXPECT_EQ(store_.missing_pages(), 15u);
}

TEST_F(PageStoreTest, OlderContentNeverOverwritesNewer) {
  ASSERT_TRUE(store_.apply(batch(0, 5, {run(2, 1)}), content(1, 5)));
  ASSERT_TRUE(store_.apply(batch(0, 4, {run(1, 3)}), content(3, 4)));
  EXPECT_EQ(value_of(1), 4);
  EXPECT_EQ(value_of(2), 5);
  EXPECT_EQ(value_of(3), 4);
  ASSERT_TRUE(store_.apply(batch(0, 3, {run(0, 4, true)}), {}));
  EXPECT_EQ(value_of(0), 0);
  EXPECT_EQ(value_of(1), 4);
  EXPECT_EQ(value_of(2), 5);
  EXPECT_EQ(value_of(3), 4);
}

TEST_F(PageStoreTest, PunchesZerosWhereThatIsPossible) {
  std::vector<std::pair<std::uint64_t, std::uint64_t>> punched;
  bool possible = true;
  PageStore store({{memory_, [&](std::uint64_t offset, std::uint64_t size) {
                      punched.emplace_back(offset, size);
                      return possible;
                    }}});
  ASSERT_TRUE(store.apply(batch(0, 1, {run(2, 3, true)}), {}));
  EXPECT_EQ(punched, (decltype(punched){{2 * kPageSize, 3 * kPageSize}}));
  EXPECT_EQ(value_of(2), 0xee);  // left to the file
  possible = false;
  ASSERT_TRUE(store.apply(batch(0, 2, {run(2, 3, true)}), {}));
  EXPECT_EQ(value_of(2), 0);
}

TEST_F(PageStoreTest, WritesNothingWhereMemoryRunsOut) {
  PageStore::Target target{.bytes = memory_};
  target.populate = [](std::uint64_t offset, std::uint64_t) -> policy::Result<void> {
    if (offset < 4 * kPageSize) return {};
    return policy::make_error(boost::system::errc::not_enough_memory, "full");
  };
  PageStore store({target});
  EXPECT_TRUE(store.apply(batch(0, 1, {run(1, 1)}), content(1, 3)));
  EXPECT_EQ(value_of(1), 3);
  for (bool zero : {false, true}) {
    auto stored = store.apply(batch(0, 2, {run(5, 1, zero)}), content(zero ? 0 : 1, 3));
    ASSERT_FALSE(stored);
    EXPECT_EQ(stored.error().code, boost::system::errc::not_enough_memory);
    EXPECT_EQ(value_of(5), 0xee);
  }
}

TEST_F(PageStoreTest, RefusesHostileBatchesAndChangesNothing) {
  struct Case {
    const char* what;
    PageBatch batch;
    std::size_t payload;
  };
  std::vector<PageBatch::Run> many(kMaxBatchRuns + 1, run(0, 1, true));
  const std::vector<Case> cases{
      {"no such block", batch(2, 1, {run(0, 1)}), kPageSize},
      {"block of 32 bits", batch(UINT32_MAX, 1, {run(0, 1)}), kPageSize},
      {"no epoch", batch(0, 0, {run(0, 1)}), kPageSize},
      {"run of nothing", batch(0, 1, {run(0, 0)}), 0},
      {"beyond the end", batch(0, 1, {run(16, 1)}), kPageSize},
      {"over the end", batch(0, 1, {run(15, 2)}), 2 * kPageSize},
      {"beyond the other block's end", batch(1, 1, {run(4, 1)}), kPageSize},
      {"sum overflows", batch(0, 1, {run(UINT64_MAX, 2)}), 2 * kPageSize},
      {"offset overflows", batch(0, 1, {run(UINT64_MAX / kPageSize + 1, 1)}), kPageSize},
      {"zeros beyond the end", batch(0, 1, {run(0, UINT32_MAX, true)}), 0},
      {"too little content", batch(0, 1, {run(0, 2)}), kPageSize},
      {"too much content", batch(0, 1, {run(0, 1)}), 2 * kPageSize},
      {"a part of a page", batch(0, 1, {run(0, 1)}), kPageSize - 1},
      {"content for zeros", batch(0, 1, {run(0, 1, true)}), kPageSize},
      {"good first, bad last", batch(0, 1, {run(0, 1), run(16, 1, true)}), kPageSize},
      {"too many runs", batch(0, 1, many), 0},
      {"too many bytes", batch(0, 1, {run(0, 1)}), kMaxBatchPayload + kPageSize},
  };
  for (const Case& test : cases) {
    std::vector<std::byte> payload(test.payload, std::byte{1});
    auto applied = store_.apply(test.batch, payload);
    ASSERT_FALSE(applied) << test.what;
    EXPECT_EQ(applied.error().code, errc::bad_message) << test.what;
    EXPECT_EQ(memory_, content(16, 0xee)) << test.what;
  }
  EXPECT_EQ(store_.missing_pages(), 20u);
}

// What random bytes parse to, and random messages, must never touch anything outside the blocks:
// the sanitizers watch.
TEST_F(PageStoreTest, SurvivesRandomBatches) {
  std::mt19937_64 random(1);
  auto figure = [&](std::uint64_t likely) {
    switch (random() % 8) {
      case 0:
        return random();
      case 1:
        return random() >> random() % 64;
      default:
        return random() % likely;
    }
  };
  std::uint64_t accepted = 0;
  for (int i = 0; i < 20000; ++i) {
    PageBatch hostile;
    if (i % 4 == 0) {
      std::string bytes(random() % 64, '\0');
      for (char& byte : bytes) byte = static_cast<char>(random());
      if (!hostile.ParseFromString(bytes)) continue;
    } else {
      hostile.set_block(static_cast<std::uint32_t>(figure(2)));
      hostile.set_epoch(static_cast<std::uint32_t>(figure(10)));
      for (std::uint64_t n = random() % 4; n > 0; --n) {
        *hostile.add_runs() =
            run(figure(18), static_cast<std::uint32_t>(figure(4)), random() % 2 == 0);
      }
    }
    std::vector<std::byte> payload(random() % 4 * kPageSize + (random() % 16 == 0 ? 1 : 0));
    if (store_.apply(hostile, payload)) ++accepted;
  }
  EXPECT_GT(accepted, 100u);
}

}  // namespace
}  // namespace homeport::migration
