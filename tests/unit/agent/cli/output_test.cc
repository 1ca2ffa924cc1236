#include "agent/cli/output.h"

#include <gtest/gtest.h>

namespace homeport::agent {
namespace {

using std::chrono::milliseconds;

TEST(TableTest, AlignsColumnsWithoutTrailingBlanks) {
  Table table({{"NAME"}, {"VNI", true}, {"ADDRESSES"}});
  table.add({"net1", "100", "10.1.0.0/24"});
  table.add({"longer-name", "7", ""});
  table.add({"x", "16777215", "fd01:1234:5678:9abc:def0:1234:5678:9abc/128"});
  EXPECT_EQ(table.to_string(),
            "NAME              VNI  ADDRESSES\n"
            "net1              100  10.1.0.0/24\n"
            "longer-name         7  -\n"
            "x            16777215  fd01:1234:5678:9abc:def0:1234:5678:9abc/128\n");
}

TEST(TableTest, WithoutRowsIsItsHeading) {
  EXPECT_EQ(Table({{"A"}, {"B"}}).to_string(), "A  B\n");
}

TEST(TableTest, ShowsNothingThatATerminalWouldObey) {
  Table table({{"ERROR"}, {"HOST"}});
  table.add({"no\x1b[2Jmemory\nHOST", std::string(2000, 'x')});
  EXPECT_EQ(table.to_string(),
            "ERROR              HOST\nno?[2Jmemory?HOST  " + std::string(2000, 'x') + "\n");
}

TEST(FormatBytes, UsesBinaryMultiples) {
  EXPECT_EQ(format_bytes(0), "0 B");
  EXPECT_EQ(format_bytes(1023), "1023 B");
  EXPECT_EQ(format_bytes(1024), "1.0 KiB");
  EXPECT_EQ(format_bytes((1 << 20) - 1), "1.0 MiB");
  EXPECT_EQ(format_bytes(512ull << 20), "512.0 MiB");
  EXPECT_EQ(format_bytes(~0ull), "16.0 EiB");
}

TEST(FormatDuration, KeepsTwoUnitsAtMost) {
  EXPECT_EQ(format_duration(milliseconds(-5)), "0 ms");
  EXPECT_EQ(format_duration(milliseconds(143)), "143 ms");
  EXPECT_EQ(format_duration(milliseconds(12'340)), "12.3 s");
  EXPECT_EQ(format_duration(milliseconds(59'960)), "1 min 00 s");
  EXPECT_EQ(format_duration(milliseconds(125'000)), "2 min 05 s");
  EXPECT_EQ(format_duration(milliseconds(11'250'000)), "3 h 07 min");
}

TEST(UnknownName, OffersWhatMayBeMeant) {
  EXPECT_EQ(unknown_name("host", "hotsA", {"hostA", "hostB", "elsewhere"}),
            "There is no host \"hotsA\"; did you mean hostA? Known: hostA, hostB, elsewhere.");
  EXPECT_EQ(unknown_name("host", "xyz", {"hostA"}), "There is no host \"xyz\". Known: hostA.");
  EXPECT_EQ(unknown_name("host", "hostA", {}),
            "There is no host \"hostA\"; there is none at all yet.");
}

TEST(RemovedText, IsASentenceOrJson) {
  EXPECT_EQ(removed_text(false, "net1", "network net1"), "Removed network net1.\n");
  EXPECT_EQ(removed_text(true, "net1", "network net1"), "{\"removed\":\"net1\"}\n");
}

}  // namespace
}  // namespace homeport::agent
