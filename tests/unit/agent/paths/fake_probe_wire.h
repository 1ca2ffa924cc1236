// The kernel edge of probing: a wire on which the test says which ways carry.
#pragma once

#include "overlay/datapath/probe_wire.h"
#include "overlay/link/unique_fd.h"

#include <sys/timerfd.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <system_error>
#include <utility>
#include <vector>

namespace homeport::agent::test {

/// What is true of the ways; outlives the wires that are made of it.
struct FakeUnderlay {
  using Micros = std::chrono::microseconds;

  std::map<overlay::ProbePair, Micros> carrying;  ///< with their round-trip times
  std::optional<boost::system::errc::errc_t> refuses = {};
  bool tells = true;  ///< otherwise heard() and used() fail
  std::vector<overlay::WayUsed> used = {};
  std::map<overlay::ProbePair, int> asked = {};  ///< how often
  int wires = 0;                                 ///< that there are now
  int told = 0;                                  ///< how often used() was asked
};

class FakeProbeWire final : public overlay::ProbeWire {
 public:
  explicit FakeProbeWire(FakeUnderlay& underlay)
      : underlay_(underlay), some_(::timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)) {
    if (!some_) throw std::system_error(errno, std::generic_category(), "timerfd_create");
    ++underlay_.wires;
  }
  ~FakeProbeWire() override { --underlay_.wires; }

  policy::Result<void> ask(const overlay::ProbeAsk& ask) override {
    ++underlay_.asked[ask.pair];
    if (underlay_.refuses) return policy::make_error(*underlay_.refuses, "The fake wire refuses");
    auto carries = underlay_.carrying.find(ask.pair);
    if (carries == underlay_.carrying.end()) return {};
    const auto now = std::chrono::steady_clock::now();
    const auto received = now + carries->second;
    answers_.emplace(received, overlay::ProbeAnswer{ask.pair, ask.token, now, received, ask.size});
    wait_for_next();
    return {};
  }

  int answers_fd() const override { return some_.get(); }

  void take_answers(const std::function<void(const overlay::ProbeAnswer&)>& take) override {
    std::uint64_t count = 0;
    (void)!::read(some_.get(), &count, sizeof(count));
    const auto now = std::chrono::steady_clock::now();
    while (!answers_.empty() && answers_.begin()->first <= now) {
      take(answers_.extract(answers_.begin()).mapped());
    }
    wait_for_next();
  }

  policy::Result<std::vector<overlay::ProbesHeard>> heard() override {
    if (!underlay_.tells) return cannot();
    return std::vector<overlay::ProbesHeard>{};
  }
  policy::Result<std::vector<overlay::WayUsed>> used() override {
    ++underlay_.told;
    if (!underlay_.tells) return cannot();
    return underlay_.used;
  }

 private:
  static policy::Error cannot() {
    return policy::make_error(boost::system::errc::io_error, "The fake wire tells nothing");
  }

  /// The descriptor is readable when the first answer is there.
  void wait_for_next() {
    itimerspec when{};
    if (!answers_.empty()) {
      const auto time = answers_.begin()->first.time_since_epoch();
      const auto seconds = std::chrono::floor<std::chrono::seconds>(time);
      when.it_value.tv_sec = seconds.count();
      when.it_value.tv_nsec = std::chrono::nanoseconds(time - seconds).count();
    }
    ::timerfd_settime(some_.get(), TFD_TIMER_ABSTIME, &when, nullptr);
  }

  FakeUnderlay& underlay_;
  overlay::UniqueFd some_;
  std::multimap<overlay::ProbeTime, overlay::ProbeAnswer> answers_;  ///< by when they come
};

}  // namespace homeport::agent::test
