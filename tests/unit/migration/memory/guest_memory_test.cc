#include "migration/memory/guest_memory.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace homeport::migration {
namespace {

namespace errc = boost::system::errc;

class GuestMemoryTest : public testing::Test {
 protected:
  void SetUp() override {
    file_.reset(::memfd_create("guest", MFD_CLOEXEC));
    ASSERT_EQ(::ftruncate(file_.get(), 16 * kPageSize), 0);
  }
  std::int64_t allocated_pages() const {
    struct stat status {};
    ::fstat(file_.get(), &status);
    return status.st_blocks * 512 / static_cast<std::int64_t>(kPageSize);
  }

  overlay::UniqueFd file_;
};

TEST_F(GuestMemoryTest, MapsAWindowOfTheFile) {
  auto whole = GuestMemory::map(file_.get(), 0, 16 * kPageSize, Access::write);
  auto window = GuestMemory::map(file_.get(), 4 * kPageSize, 2 * kPageSize, Access::read);
  ASSERT_TRUE(whole);
  ASSERT_TRUE(window);
  EXPECT_EQ(window->bytes().size(), 2 * kPageSize);
  whole->bytes()[4 * kPageSize + 7] = std::byte{42};
  EXPECT_EQ(window->bytes()[7], std::byte{42});
  const std::byte* before = window->bytes().data();
  GuestMemory moved = std::move(*window);
  EXPECT_EQ(moved.bytes().data(), before);
}

TEST_F(GuestMemoryTest, RefusesWhatTheFileDoesNotHave) {
  for (auto [offset, size] : {std::pair<std::uint64_t, std::uint64_t>{0, 17 * kPageSize},
                              {16 * kPageSize, kPageSize},
                              {0, kPageSize + 1},
                              {1, kPageSize},
                              {0, 0},
                              {UINT64_MAX - kPageSize + 1, kPageSize}}) {
    auto refused = GuestMemory::map(file_.get(), offset, size, Access::read);
    ASSERT_FALSE(refused) << offset << " " << size;
    EXPECT_EQ(refused.error().code, errc::invalid_argument);
  }
  EXPECT_FALSE(GuestMemory::map(-1, 0, kPageSize, Access::read));
}

TEST_F(GuestMemoryTest, FindsHolesWithoutFillingThem) {
  auto memory = GuestMemory::map(file_.get(), 2 * kPageSize, 14 * kPageSize, Access::write);
  ASSERT_TRUE(memory);
  memory->bytes()[3 * kPageSize] = std::byte{1};
  memory->bytes()[13 * kPageSize] = std::byte{1};
  PageSet holes({1, 14});
  ASSERT_TRUE(memory->find_holes(1, holes));
  EXPECT_EQ(holes.count(), 12u);
  EXPECT_FALSE(holes.contains(1, 3));
  EXPECT_FALSE(holes.contains(1, 13));
  EXPECT_EQ(allocated_pages(), 2);
}

TEST_F(GuestMemoryTest, PunchedPagesAreZeroAndTakeNoMemory) {
  auto memory = GuestMemory::map(file_.get(), 4 * kPageSize, 8 * kPageSize, Access::write);
  ASSERT_TRUE(memory);
  std::fill(memory->bytes().begin(), memory->bytes().end(), std::byte{1});
  auto target = memory->store_target();
  const GuestMemory moved = std::move(*memory);  // the target stays good
  ASSERT_TRUE(target.punch(2 * kPageSize, 3 * kPageSize));
  EXPECT_EQ(allocated_pages(), 5);
  EXPECT_EQ(target.bytes[2 * kPageSize - 1], std::byte{1});
  EXPECT_EQ(target.bytes[2 * kPageSize], std::byte{0});
  EXPECT_EQ(target.bytes[5 * kPageSize - 1], std::byte{0});
  EXPECT_EQ(target.bytes[5 * kPageSize], std::byte{1});
}

}  // namespace
}  // namespace homeport::migration
