#include "migration/vm/ram_map.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace homeport::migration {
namespace {

using testing::HasSubstr;

constexpr std::string_view kMaps =
    "55d0c0a00000-55d0c0b00000 r--p 00000000 fe:00 1234                       /usr/bin/qemu\n"
    "7f0000000000-7f0000400000 rw-s 00000000 00:19 77                         /dev/shm/a b.ram\n"
    "7f0000400000-7f0004000000 rw-s 00400000 00:19 77                         /dev/shm/a b.ram\n"
    "7f1000000000-7f1000001000 rw-s 00000000 00:01 99                         /memfd:x (deleted)\n"
    "7f2000000000-7f2000200000 rw-s 00000000 00:19 78         "
    "/dev/shm/qemu_back_mem._objects_ram1.AbCdEf (deleted)\n"
    "7f3000000000-7f3000001000 rw-p 00000000 00:00 0 \n"
    "7f4000000000-7f4000001000 rw-s 00000000 00:19 77                         /dev/shm/a b.ram\n"
    "ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]\n";

std::vector<SharedMapping> parse(std::string_view text) {
  return shared_mappings(parse_maps(text).value());
}

TEST(RamMap, JoinsNeighboursAndKeepsSharedWritableFiles) {
  auto mappings = parse(kMaps);
  ASSERT_EQ(mappings.size(), 4u);
  EXPECT_EQ(mappings[0].path, "/dev/shm/a b.ram");
  EXPECT_EQ(mappings[0].address, 0x7f0000000000u);
  EXPECT_EQ(mappings[0].size, 0x4000000u);
  EXPECT_EQ(mappings[0].first_size, 0x400000u);
}

TEST(RamMap, FindsTheMappingOfTheWholeBackend) {
  auto mappings = parse(kMaps);
  auto block = find_ram_block(mappings, "ram0", 0x4000000, "/dev/shm/a b.ram");
  ASSERT_TRUE(block) << block.error().message;
  EXPECT_EQ(block->id, "ram0");
  EXPECT_EQ(block->host_address, 0x7f0000000000u);
  EXPECT_EQ(block->size, 0x4000000u);
  EXPECT_EQ(block->offset, 0u);
}

TEST(RamMap, FindsTheFileQemuMadeInADirectory) {
  auto mappings = parse(kMaps);
  auto block = find_ram_block(mappings, "ram1", 0x200000, "/dev/shm");
  ASSERT_TRUE(block) << block.error().message;
  EXPECT_EQ(block->host_address, 0x7f2000000000u);
}

TEST(RamMap, ErrorSaysWhatIsThere) {
  auto mappings = parse(kMaps);
  auto block = find_ram_block(mappings, "ram0", 0x1234000, "/dev/shm/a b.ram");
  ASSERT_FALSE(block);
  EXPECT_THAT(block.error().message, HasSubstr("/dev/shm/a b.ram"));
  EXPECT_THAT(block.error().message, HasSubstr("0x7f0000000000"));
}

TEST(RamMap, TwoMappingsOfTheSameFileAreRefused) {
  auto mappings = parse("1000-2000 rw-s 00000000 00:19 7 /m\n3000-4000 rw-s 00000000 00:19 7 /m\n");
  auto block = find_ram_block(mappings, "r", 0x1000, "/m");
  ASSERT_FALSE(block);
  EXPECT_THAT(block.error().message, HasSubstr("more than once"));
}

}  // namespace
}  // namespace homeport::migration
