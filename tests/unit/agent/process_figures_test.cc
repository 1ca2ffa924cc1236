#include "agent/process_figures.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <vector>

namespace homeport::agent {
namespace {

TEST(ProcessFigures, AreThoseOfThisProcess) {
  const ProcessSnapshot before = process_figures();
  EXPECT_GT(before.cpu_seconds, 0);
  EXPECT_GT(before.resident_bytes, 1u << 20);
  EXPECT_GT(before.virtual_bytes, before.resident_bytes);
  EXPECT_GE(before.open_fds, 3u);
  EXPECT_GE(before.max_fds, before.open_fds);

  const int one = ::dup(STDERR_FILENO), two = ::dup(STDERR_FILENO);
  std::vector<char> memory(32 << 20, 1);  // written, so that it is resident
  const ProcessSnapshot after = process_figures();
  EXPECT_EQ(after.open_fds, before.open_fds + 2);
  EXPECT_GE(after.resident_bytes, before.resident_bytes + memory.size() / 2);
  EXPECT_GE(after.cpu_seconds, before.cpu_seconds);
  ::close(one);
  ::close(two);
}

}  // namespace
}  // namespace homeport::agent
