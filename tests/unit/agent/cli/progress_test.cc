#include "agent/cli/progress.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace homeport::agent {
namespace {

using namespace std::chrono_literals;
using Clock = ProgressPrinter::Clock;
using ::testing::HasSubstr;

TaskSnapshot copying() {
  TaskSnapshot task;
  task.id = "7f3f7a4e-1111-4222-8333-444455556666";
  task.kind = "move";
  task.application = "vm1";
  task.source = "hostA";
  task.destination = "hostB";
  task.state = "running";
  task.phase = "copying";
  task.bytes_sent = 240ull << 20;
  task.bytes_total = 512ull << 20;
  task.rate = 50'000'000;
  task.eta_ms = 5'700;
  return task;
}

TEST(ProgressLine, ShowsPhaseBytesRateAndTimeLeft) {
  EXPECT_EQ(progress_line(copying()),
            "vm1 hostA -> hostB  copying  [#########...........]  47%  240.0 MiB of 512.0 MiB  "
            "47.7 MiB/s  5.7 s left");
}

TEST(ProgressLine, LeavesOutWhatIsNotKnown) {
  TaskSnapshot task;
  task.kind = "start";
  task.application = "vm1";
  task.state = "requested";
  EXPECT_EQ(progress_line(task), "start vm1  requested");
}

TEST(ProgressLine, IsNeverMoreThanFull) {
  TaskSnapshot task = copying();
  task.bytes_sent = 2 * task.bytes_total;
  EXPECT_THAT(progress_line(task), HasSubstr("[####################]  100%  1.0 GiB of 512.0 MiB"));
}

TEST(ProgressLine, HoldsNothingThatATerminalWouldObey) {
  TaskSnapshot task = copying();
  task.phase = "copying\x1b]0;title\x07";
  EXPECT_THAT(progress_line(task), HasSubstr("copying?]0;title?  ["));
  task.state = "failed";
  task.error = "no\x1b[2J memory";
  EXPECT_EQ(task_summary(task), "The move of vm1 failed: no?[2J memory.");
}

TEST(ProgressPrinterTest, OnATerminalRedrawsTheLineWhenItChanges) {
  ProgressPrinter printer(true);
  Clock::time_point now{};
  EXPECT_EQ(printer.update(copying(), now), "\r\x1b[K" + progress_line(copying()));
  EXPECT_EQ(printer.update(copying(), now), "");
  EXPECT_EQ(printer.notice("away"), "\r\x1b[Kaway\n");
  EXPECT_THAT(printer.update(copying(), now), HasSubstr("copying"));
  EXPECT_EQ(printer.finish(), "\n");
  EXPECT_EQ(printer.finish(), "");
}

TEST(ProgressPrinterTest, ElsewhereAddsLinesSeldom) {
  ProgressPrinter printer(false);
  Clock::time_point now{};
  TaskSnapshot task = copying();
  EXPECT_EQ(printer.update(task, now), progress_line(task) + "\n");
  task.bytes_sent += 1 << 20;
  EXPECT_EQ(printer.update(task, now + 900ms), "");
  EXPECT_EQ(printer.update(task, now + 1s), progress_line(task) + "\n");
  task.phase = "switching";
  EXPECT_EQ(printer.update(task, now + 1s), progress_line(task) + "\n");
  EXPECT_EQ(printer.notice("away"), "away\n");
  EXPECT_EQ(printer.finish(), "");
}

TEST(TaskSummary, SaysHowItEnded) {
  TaskSnapshot task = copying();
  task.state = "succeeded";
  task.total_ms = 12'300;
  task.downtime_ms = 143;
  task.ram_bytes = 512ull << 20;
  task.rounds = 3;
  EXPECT_EQ(task_summary(task),
            "vm1 moved from hostA to hostB in 12.3 s; 240.0 MiB sent for 512.0 MiB of memory in 3 "
            "rounds; stopped for 143 ms.");
  task.rounds = 1;
  EXPECT_THAT(task_summary(task), HasSubstr("in 1 round; stopped"));
  TaskSnapshot device = task;  // of a network device nothing is sent, and nothing stands still
  device.bytes_sent = device.ram_bytes = 0;
  device.rounds = 0;
  device.downtime_ms.reset();
  EXPECT_EQ(task_summary(device), "vm1 moved from hostA to hostB in 12.3 s.");
  task.error = "No memory.";
  task.state = "failed";
  EXPECT_EQ(task_summary(task), "The move of vm1 failed: No memory.");
  task.state = "rolled-back";
  EXPECT_EQ(task_summary(task), "The move of vm1 was rolled back, it runs on hostA: No memory.");
  task.state = "cancelled";
  EXPECT_EQ(task_summary(task), "The move of vm1 was cancelled: No memory.");
  task.state = "in-doubt";
  EXPECT_THAT(task_summary(task), HasSubstr("`homeport task resolve 7f3f7a4e"));
}

}  // namespace
}  // namespace homeport::agent
