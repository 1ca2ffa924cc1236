// That a process whose memory is captured runs on as if nothing had been, whatever it is doing and
// whatever becomes of the agent. Needs root and Linux 6.7.
#include "migration/memory/dirty_tracker.h"
#include "target_process.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <bit>
#include <random>
#include <thread>

namespace homeport::migration {
namespace {

constexpr std::uint64_t kPages = 64;
constexpr int kCycles = 50;

// Work whose result depends on every step, in integer and floating-point registers.
struct Sum {
  std::uint64_t steps = 0;
  std::uint64_t bits = 1;
  double value = 1;

  void step() {
    ++steps;
    bits = std::rotl(bits * 6364136223846793005u + steps, 7);
    value = value * 1.0000001 + static_cast<double>(bits >> 40) * 1e-9;
    if (value > 1e6) value = 1;
  }
  bool right() const {
    Sum again;
    while (again.steps < steps) again.step();
    return again.bits == bits && again.value == value;
  }
};

void compute_some(Sum& sum, TargetView& view) {
  for (int i = 0; i < 1000; ++i) sum.step();
  view.memory[(sum.steps / 1000 % kPages) * kPageSize] = static_cast<std::byte>(sum.bits);
  ++view.control.progress;
}

int compute(TargetView view) {
  Sum sum;
  while (!view.control.stop) compute_some(sum, view);
  return sum.right() ? 0 : 1;
}

// Without signal handlers no call may ever be interrupted.
int wait_in_calls(TargetView view) {
  int ends[2];
  if (::pipe(ends) != 0) return 1;
  while (!view.control.stop) {
    timespec begin{};
    timespec end{};
    ::clock_gettime(CLOCK_MONOTONIC, &begin);
    // Both are restarted by different means: the second by way of restart_syscall(2).
    timespec limit{0, 2'000'000};
    pollfd silent{ends[0], POLLIN, 0};
    if (::ppoll(&silent, 1, &limit, nullptr) != 0) return 2;
    if (::poll(&silent, 1, 2) != 0) return 3;
    timespec nap{0, 2'000'000};
    if (::clock_nanosleep(CLOCK_MONOTONIC, 0, &nap, nullptr) != 0) return 4;
    ::clock_gettime(CLOCK_MONOTONIC, &end);
    double spent = static_cast<double>(end.tv_sec - begin.tv_sec) +
                   1e-9 * static_cast<double>(end.tv_nsec - begin.tv_nsec);
    if (spent < 0.006) return 5;
    view.memory[0] = std::byte{1};
    ++view.control.progress;
  }
  return 0;
}

std::atomic<std::uint64_t> g_alarms{0};
thread_local Sum g_alarm_sum;

// Timer signals at a high rate, threads that compute and threads that pass numbers through pipes:
// nothing may be lost, doubled or changed.
int signals_and_calls(TargetView view) {
  struct sigaction action {};
  action.sa_handler = [](int) {
    ++g_alarms;
    for (int i = 0; i < 100; ++i) g_alarm_sum.step();
  };
  action.sa_flags = SA_RESTART;
  ::sigaction(SIGALRM, &action, nullptr);
  itimerval timer{{0, 300}, {0, 300}};
  ::setitimer(ITIMER_REAL, &timer, nullptr);

  int ends[2];
  if (::pipe(ends) != 0) return 1;
  std::atomic<int> fault{0};
  std::jthread computing([&] {
    if (compute(view) != 0) fault = 2;
    if (!g_alarm_sum.right()) fault = 3;
  });
  std::jthread counting([&] {
    for (std::uint64_t number = 0; !view.control.stop; ++number) {
      if (::write(ends[1], &number, sizeof number) != sizeof number) fault = 4;
    }
    ::close(ends[1]);
  });
  std::uint64_t expected = 0;
  std::uint64_t number = 0;
  ssize_t size;
  while ((size = ::read(ends[0], &number, sizeof number)) == sizeof number) {
    if (number != expected++) fault = 5;
    view.memory[number % kPages * kPageSize] = static_cast<std::byte>(number);
  }
  if (size != 0) fault = 6;
  computing.join();
  counting.join();
  timer = {};
  ::setitimer(ITIMER_REAL, &timer, nullptr);
  if (!g_alarm_sum.right()) fault = 7;
  return g_alarms > 0 ? fault.load() : 8;
}

struct Case {
  const char* name;
  int (*workload)(TargetView);
};
void PrintTo(const Case& value, std::ostream* out) {
  *out << value.name;
}

class RunsOn : public testing::TestWithParam<Case> {};

INSTANTIATE_TEST_SUITE_P(Injection, RunsOn,
                         testing::Values(Case{"Computing", compute},
                                         Case{"WaitingInCalls", wait_in_calls},
                                         Case{"SignalsAndCalls", signals_and_calls}),
                         [](const auto& info) { return info.param.name; });

TEST_P(RunsOn, WhileItIsTrackedAgainAndAgain) {
  TargetProcess target(kPages, GetParam().workload);
  target.await_progress();
  std::size_t descriptors = target.open_descriptors();
  for (int cycle = 0; cycle < kCycles; ++cycle) {
    auto tracker = DirtyTracker::attach(target.pid(), target.blocks());
    ASSERT_TRUE(tracker) << tracker.error().message;
    PageSet pages({kPages});
    ASSERT_TRUE(tracker->scan(pages));
    ASSERT_EQ(pages.count(), kPages);
    target.await_progress(2);
    pages.clear();
    ASSERT_TRUE(tracker->scan(pages));
    EXPECT_FALSE(pages.empty());
  }
  target.await_progress(2);
  EXPECT_EQ(target.open_descriptors(), descriptors);
  EXPECT_EQ(target.finish(), 0);
}

// Attaches for as long as it lives.
[[noreturn]] void be_an_agent(const TargetProcess& target) {
  for (;;) {
    auto tracker = DirtyTracker::attach(target.pid(), target.blocks());
    if (!tracker) continue;  // the helper of an agent killed before may still be at work
    PageSet pages({kPages});
    if (!tracker->scan(pages)) ::_exit(1);
  }
}

TEST_P(RunsOn, WhenTheAgentIsKilledAtAnyInstant) {
  TargetProcess target(kPages, GetParam().workload);
  target.await_progress();
  std::size_t descriptors = target.open_descriptors();
  std::mt19937 random(7);
  for (int cycle = 0; cycle < kCycles; ++cycle) {
    pid_t agent = ::fork();
    if (agent == 0) be_an_agent(target);
    // Every other time in the middle of the injection, else at a random instant.
    bool in_the_middle = cycle % 2 == 0;
    if (in_the_middle) target.await_traced();
    for (std::size_t looks = random() % 300; !in_the_middle && looks > 0; --looks) target.traced();
    ::kill(agent, SIGKILL);
    int status = 0;
    ASSERT_EQ(::waitpid(agent, &status, 0), agent);
    ASSERT_TRUE(WIFSIGNALED(status));
    target.await_progress(1);
  }
  target.await_untraced();
  // The helper of the last one killed may only begin now: it ends within milliseconds.
  auto tracker = DirtyTracker::attach(target.pid(), target.blocks());
  for (int again = 0; !tracker && again < 10; ++again) {
    target.await_untraced();
    tracker = DirtyTracker::attach(target.pid(), target.blocks());
  }
  EXPECT_TRUE(tracker) << tracker.error().message;
  target.await_progress(2);
  EXPECT_EQ(target.open_descriptors(), descriptors);
  EXPECT_EQ(target.finish(), 0);
}

// A stop from the terminal or a service manager while the helper works must take effect, but only
// after the registers are back.
TEST(Injection, LetsStopSignalsTakeEffect) {
  TargetProcess target(kPages, compute);
  std::jthread stopping([&](const std::stop_token& token) {
    while (!token.stop_requested()) {
      ::kill(target.pid(), SIGSTOP);
      ::kill(target.pid(), SIGCONT);
    }
  });
  for (int cycle = 0; cycle < kCycles; ++cycle) {
    auto tracker = DirtyTracker::attach(target.pid(), target.blocks());
    ASSERT_TRUE(tracker) << tracker.error().message;
  }
  stopping.request_stop();
  stopping.join();
  target.await_untraced();
  ::kill(target.pid(), SIGCONT);
  target.await_progress(2);
  EXPECT_EQ(target.finish(), 0);
}

}  // namespace
}  // namespace homeport::migration
