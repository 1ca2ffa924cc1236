// Captures the memory of real processes: needs root and Linux 6.7.
#include "migration/memory/dirty_tracker.h"
#include "migration/memory/page_ledger.h"
#include "migration/memory/page_store.h"
#include "target_process.h"

#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <random>
#include <thread>

namespace homeport::migration {
namespace {

namespace errc = boost::system::errc;

constexpr std::uint64_t kPages = 512;

std::vector<std::uint32_t> pages_of(const PageSet& set) {
  std::vector<std::uint32_t> pages;
  set.for_each_run([&](const PageRun& run) {
    for (std::uint64_t page = run.first; page < run.end(); ++page) {
      pages.push_back(static_cast<std::uint32_t>(page));
    }
  });
  return pages;
}

TEST(CaptureSupport, IsThere) {
  auto supported = check_capture_support();
  EXPECT_TRUE(supported) << supported.error().message;
}

TEST(DirtyTracker, ReportsAllPagesFirstAndThenExactlyTheWrittenOnes) {
  TargetProcess target(kPages, write_on_command);
  write_pages(target, {3, 4, 5}, 1);
  auto tracker = DirtyTracker::attach(target.pid(), target.blocks());
  ASSERT_TRUE(tracker) << tracker.error().message;
  PageSet all({kPages});
  auto scanned = tracker->scan(all);
  ASSERT_TRUE(scanned) << scanned.error().message;
  EXPECT_EQ(all.count(), kPages);  // also the pages that were never touched

  std::mt19937 random(1);
  for (int round = 0; round < 100; ++round) {
    std::vector<std::uint32_t> pages;
    for (std::size_t n = random() % 64; n > 0; --n) pages.push_back(random() % kPages);
    write_pages(target, pages, static_cast<std::uint8_t>(round));
    PageSet written({kPages});
    ASSERT_TRUE(tracker->scan(written));
    std::sort(pages.begin(), pages.end());
    pages.erase(std::unique(pages.begin(), pages.end()), pages.end());
    ASSERT_EQ(pages_of(written), pages) << "round " << round;
  }
  EXPECT_EQ(target.finish(), 0);
}

// Documented: such writers have to be refused, or have logs of their own.
TEST(DirtyTracker, DoesNotSeeWritesThroughOtherMappings) {
  TargetProcess target(kPages, write_on_command);
  auto tracker = DirtyTracker::attach(target.pid(), target.blocks());
  ASSERT_TRUE(tracker) << tracker.error().message;
  PageSet pages({kPages});
  ASSERT_TRUE(tracker->scan(pages));
  pages.clear();
  target.memory().bytes()[0] = std::byte{1};
  ASSERT_TRUE(tracker->scan(pages));
  EXPECT_TRUE(pages.empty());
}

int write_with_threads(TargetView view) {
  std::vector<std::jthread> threads;
  for (unsigned seed = 0; seed < 3; ++seed) {
    threads.emplace_back([view, seed] {
      std::mt19937 random(seed);
      while (!view.control.stop) {
        // Threads keep to bytes of their own, and mostly to few pages.
        std::uint64_t page = random() % (random() % 4 == 0 ? kPages : kPages / 8);
        view.memory[page * kPageSize + 3 * (random() % 1000) + seed] =
            static_cast<std::byte>(random());
        ++view.control.progress;
      }
    });
  }
  threads.clear();
  if (::write(view.answers, "k", 1) != 1) return 1;
  char end = 0;
  while (::read(view.commands, &end, 1) > 0) {
  }
  return 0;
}

TEST(DirtyTracker, KeepsUpWithThreadsThatWriteAllTheTime) {
  TargetProcess target(kPages, write_with_threads);
  auto tracker = DirtyTracker::attach(target.pid(), target.blocks());
  ASSERT_TRUE(tracker) << tracker.error().message;
  std::vector<std::byte> copy(kPages * kPageSize, std::byte{0xee});
  PageStore store({{copy, {}}});
  PageLedger ledger({target.memory().bytes()}, {});
  auto send_what_was_written = [&] {
    PageSet written = ledger.empty_set();
    ASSERT_TRUE(tracker->scan(written));
    ledger.note_scan(written);
    ledger.begin_round();
    while (auto batch = ledger.next_batch()) {
      ASSERT_TRUE(store.apply(batch->header, batch->payload));
    }
  };
  for (int round = 0; round < 20; ++round) {
    target.await_progress(1000);
    send_what_was_written();
  }
  // The guest is stopped: its threads have ended. It lives on until its pipe is closed.
  target.control().stop = true;
  char ended = 0;
  ASSERT_EQ(::read(target.answers(), &ended, 1), 1);
  send_what_was_written();
  EXPECT_EQ(store.missing_pages(), 0u);
  EXPECT_TRUE(std::equal(copy.begin(), copy.end(), target.memory().bytes().begin()));
}

TEST(DirtyTracker, LeavesNoDescriptorBehind) {
  TargetProcess target(kPages, write_on_command);
  std::size_t before = target.open_descriptors();
  {
    auto tracker = DirtyTracker::attach(target.pid(), target.blocks());
    ASSERT_TRUE(tracker) << tracker.error().message;
    EXPECT_EQ(target.open_descriptors(), before);
  }
  auto again = DirtyTracker::attach(target.pid(), target.blocks());
  EXPECT_TRUE(again) << again.error().message;
}

TEST(DirtyTracker, RefusesWhatSomethingElseTracks) {
  TargetProcess target(kPages, write_on_command);
  auto first = DirtyTracker::attach(target.pid(), target.blocks());
  ASSERT_TRUE(first) << first.error().message;
  auto second = DirtyTracker::attach(target.pid(), target.blocks());
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, errc::device_or_resource_busy);
  PageSet pages({kPages});
  EXPECT_TRUE(first->scan(pages));
}

TEST(DirtyTracker, RefusesPrivateAndUnmappedMemory) {
  TargetProcess target(kPages, write_on_command);
  alignas(kPageSize) static std::byte own[2 * kPageSize];  // the child has it at the same place
  auto refused =
      DirtyTracker::attach(target.pid(), {{reinterpret_cast<std::uint64_t>(own), 2 * kPageSize}});
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message.find("share=on"), std::string::npos) << refused.error().message;
  auto block = target.blocks()[0];
  block.size += std::uint64_t{1} << 40;
  EXPECT_FALSE(DirtyTracker::attach(target.pid(), {block}));
  EXPECT_FALSE(DirtyTracker::attach(target.pid(), {{kPageSize - 1, kPageSize}}));
}

TEST(DirtyTracker, SaysThatThereIsNoSuchProcess) {
  TargetProcess target(kPages, write_on_command);
  pid_t pid = target.pid();
  auto blocks = target.blocks();
  auto tracker = DirtyTracker::attach(pid, blocks);
  ASSERT_TRUE(tracker) << tracker.error().message;
  target.kill();
  PageSet pages({kPages});
  auto scanned = tracker->scan(pages);
  ASSERT_FALSE(scanned);
  EXPECT_EQ(scanned.error().code, errc::no_such_process);
  auto attached = DirtyTracker::attach(pid, blocks);
  ASSERT_FALSE(attached);
  EXPECT_EQ(attached.error().code, errc::no_such_process);
}

TEST(DirtyTracker, RefusesAProcessUnderADebugger) {
  TargetProcess target(kPages, write_on_command);
  ASSERT_EQ(::ptrace(PTRACE_SEIZE, target.pid(), nullptr, nullptr), 0);
  auto refused = DirtyTracker::attach(target.pid(), target.blocks());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, errc::operation_not_permitted);
  EXPECT_NE(refused.error().message.find("debugger"), std::string::npos);
}

TEST(DirtyTracker, TracksAProcessWithoutPrivileges) {
  TargetProcess target(kPages, [](TargetView view) {
    if (::syscall(SYS_setresgid, 65534, 65534, 65534) != 0) return 1;
    if (::syscall(SYS_setresuid, 65534, 65534, 65534) != 0) return 1;
    return write_on_command(view);
  });
  write_pages(target, {1}, 1);  // it has changed its user
  auto tracker = DirtyTracker::attach(target.pid(), target.blocks());
  ASSERT_TRUE(tracker) << tracker.error().message;
  PageSet pages({kPages});
  ASSERT_TRUE(tracker->scan(pages));
  pages.clear();
  write_pages(target, {7}, 1);
  ASSERT_TRUE(tracker->scan(pages));
  EXPECT_EQ(pages_of(pages), std::vector<std::uint32_t>{7});
  EXPECT_EQ(target.finish(), 0);
}

TEST(DirtyTracker, TracksAProcessThatMayNotCallUserfaultfd) {
  TargetProcess target(kPages, [](TargetView view) {
    sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_userfaultfd, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    sock_fprog program{std::size(code), code};
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return 1;
    if (::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) return 1;
    return write_on_command(view);
  });
  write_pages(target, {1}, 1);  // it has its filter
  auto tracker = DirtyTracker::attach(target.pid(), target.blocks());
  ASSERT_TRUE(tracker) << tracker.error().message;
  write_pages(target, {2}, 1);
  EXPECT_EQ(target.finish(), 0);
}

TEST(DirtyTracker, AStoppedProcessStaysStopped) {
  TargetProcess target(kPages, write_on_command);
  ::kill(target.pid(), SIGSTOP);
  int status = 0;
  ASSERT_EQ(::waitpid(target.pid(), &status, WUNTRACED), target.pid());
  ASSERT_TRUE(WIFSTOPPED(status));
  auto tracker = DirtyTracker::attach(target.pid(), target.blocks());
  ASSERT_TRUE(tracker) << tracker.error().message;
  target.await_untraced();
  target.await_state('T');
  ::kill(target.pid(), SIGCONT);
  write_pages(target, {1}, 1);
  EXPECT_EQ(target.finish(), 0);
}

}  // namespace
}  // namespace homeport::migration
