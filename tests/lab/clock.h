// The clock that the lab's programs measure and pace themselves by, in guests too.
#pragma once

#include <time.h>

#include <cstdint>

namespace homeport::lab {

/// Nanoseconds of CLOCK_MONOTONIC.
inline std::uint64_t now_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 +
         static_cast<std::uint64_t>(now.tv_nsec);
}

inline void sleep_until_ns(std::uint64_t time) {
  timespec until{static_cast<time_t>(time / 1'000'000'000),
                 static_cast<long>(time % 1'000'000'000)};
  clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, nullptr);
}

}  // namespace homeport::lab
