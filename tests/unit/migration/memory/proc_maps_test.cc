#include "migration/memory/proc_maps.h"

#include <gtest/gtest.h>

namespace homeport::migration {
namespace {

namespace errc = boost::system::errc;

TEST(ProcMaps, ParsesWhatTheKernelPrints) {
  auto mappings = parse_maps(
      "7f0000000000-7f0000200000 rw-s 00001000 00:05 1026   /dev/shm/a name (deleted)\n"
      "7ffd5e5a4000-7ffd5e5c5000 rw-p 00000000 00:00 0      [stack]\n"
      "7f0000300000-7f0000301000 r--p 00000000 00:00 0 \n");
  ASSERT_TRUE(mappings) << mappings.error().message;
  ASSERT_EQ(mappings->size(), 3u);
  EXPECT_EQ((*mappings)[0].start, 0x7f0000000000u);
  EXPECT_EQ((*mappings)[0].end, 0x7f0000200000u);
  EXPECT_EQ((*mappings)[0].offset, 0x1000u);
  EXPECT_TRUE((*mappings)[0].shared);
  EXPECT_TRUE((*mappings)[0].writable);
  EXPECT_EQ((*mappings)[0].path, "/dev/shm/a name (deleted)");
  EXPECT_FALSE((*mappings)[1].shared);
  EXPECT_EQ((*mappings)[1].path, "[stack]");
  EXPECT_FALSE((*mappings)[2].writable);
  EXPECT_EQ((*mappings)[2].path, "");
}

TEST(ProcMaps, WhatIsNotAMapIsRefused) {
  for (std::string_view text : {"x", "1000-", "2000-1000 rw-s 0 0:0 0 /m", "1000-2000",
                                "1000-2000 rw-s", "1000-2000 rw 0 0:0 0 /m", "g-h rw-s 0 0:0 0"}) {
    auto mappings = parse_maps(text);
    ASSERT_FALSE(mappings) << text;
    EXPECT_EQ(mappings.error().code, errc::bad_message) << text;
  }
}

TEST(ProcMaps, SaysThatThereIsNoSuchProcess) {
  auto mappings = read_maps(999'999'999);
  ASSERT_FALSE(mappings);
  EXPECT_EQ(mappings.error().code, errc::no_such_process);
}

}  // namespace
}  // namespace homeport::migration
