#include "tests/lab/wait.h"

#include <csignal>
#include <thread>

#include "tests/lab/failure.h"

namespace homeport::lab {
namespace {

volatile std::sig_atomic_t interrupted = 0;

// Short against what is waited for (processes start in tens of milliseconds), long enough to leave
// the processors to an emulated guest.
constexpr auto kPoll = 5ms;

}  // namespace

void end_waits_on_signals() {
  struct sigaction action {};
  action.sa_handler = [](int) { interrupted = 1; };
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

void throw_if_interrupted() {
  if (interrupted == 0) return;
  interrupted = 0;  // once: clean-up waits, too
  throw Interrupted();
}

void wait_until(const std::function<bool()>& condition, Clock::duration timeout,
                const std::string& what, const std::function<std::string()>& evidence) {
  const auto deadline = Clock::now() + timeout;
  while (!condition()) {
    throw_if_interrupted();
    if (Clock::now() > deadline) {
      auto seconds = std::chrono::duration<double>(timeout).count();
      throw LabFailure("waited " + std::to_string(seconds) + " s in vain for " + what +
                       (evidence ? "\n" + evidence() : ""));
    }
    std::this_thread::sleep_for(kPoll);
  }
}

void let_pass(Clock::duration time) {
  const auto end = Clock::now() + time;
  wait_until([&] { return Clock::now() > end; }, time + 10s, "time to pass");
}

}  // namespace homeport::lab
