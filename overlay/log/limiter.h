// Keeps one place in the code from filling the log: a burst of lines in each period, and how many
// were left out when it is over.
#pragma once

#include "overlay/log/line.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <tuple>
#include <vector>

namespace homeport::overlay::log {

struct Limit {
  std::size_t burst = 50;           ///< lines of one place in a period
  std::chrono::seconds period{60};  ///< from the first of them
};

/// No I/O and no clock: the time is passed in. Used by one thread at a time.
class Limiter {
 public:
  using Time = std::chrono::steady_clock::time_point;

  explicit Limiter(Limit limit = {}) : limit_(limit) {}

  /// Whether the line may be written at `now`. Lines about different tasks have a burst each, as
  /// long as there is room to tell them apart: a controller cannot make this grow.
  bool admit(const Line& line, Time now);

  struct LeftOut {
    Line first;  ///< that was left out
    std::uint64_t lines = 0;
  };
  /// What was left out in periods that are over by `now` and have not been told of.
  std::vector<LeftOut> over(Time now);

  static constexpr std::size_t kMostTasks = 500;

 private:
  using Key = std::tuple<std::string_view, std::uint32_t, std::string>;  // file, line, task
  struct Window {
    Time began;
    std::size_t written = 0;
    LeftOut left_out{};
  };
  void end_windows(Time now);

  Limit limit_;
  std::map<Key, Window> windows_;
  std::deque<Key> in_order_;  ///< of their begin, and so of their end
  std::vector<LeftOut> untold_;
};

}  // namespace homeport::overlay::log
