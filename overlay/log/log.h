// The log: sentences for a person with fields for a machine, on standard error.
//
//   log::warn({{"task", id}, {"application", name}}, "{} does not answer: {}", peer, reason);
//
//   text: [2026-01-31 12:00:00.000] [homeportd] [warning] hostB does not answer: ... host=hostA ...
//   json: {"time":"2026-01-31T12:00:00.000+00:00","level":"warning","message":"hostB does ...",...}
//
// Fields: `host` in every line, `task`, `application`, `peer`, and others where they help. What
// comes from elsewhere may be in both sentence and fields: control characters and what is not UTF-8
// become '?'. A place in the code that speaks again and again is cut off (limiter.h), and how many
// lines were left out is told when the period is over.
#pragma once

#include "overlay/log/limiter.h"
#include "overlay/log/line.h"

#include <fmt/format.h>

#include <array>
#include <chrono>
#include <concepts>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <source_location>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace spdlog {
class logger;
namespace sinks {
class sink;
}
}  // namespace spdlog

namespace homeport::overlay::log {

enum class Format { text, json };

struct Settings {
  std::string program = "homeportd";
  std::string host{};  ///< a field of every line, unless empty
  Level level = Level::info;
  Format format = Format::text;
  /// Lines begin with their syslog priority instead of the time, as systemd reads it: sd-daemon(3).
  bool for_journal = false;
  Limit limit{};
  std::shared_ptr<spdlog::sinks::sink> sink{};  ///< standard error if there is none
  std::function<Limiter::Time()> clock = std::chrono::steady_clock::now;
};

/// Since the program was started.
struct Totals {
  std::array<std::uint64_t, kLevels.size()> lines{};  ///< written, by level
  std::uint64_t left_out = 0;
};

/// May be used from any thread.
class Log {
 public:
  explicit Log(Settings settings);
  ~Log();

  bool writes(Level level) const { return level >= settings_.level; }
  void write(Line line);
  /// Tells what was left out in periods that are over. Every line that is written does so too.
  void tell_left_out();
  Totals totals() const;

 private:
  void put(Line line);
  void tell_left_out_now();

  const Settings settings_;
  std::shared_ptr<spdlog::logger> logger_;
  mutable std::mutex mutex_;
  Limiter limiter_;
  Totals totals_;
};

/// The program's log. Until it is set up: text on standard error.
Log& program_log();
/// Once, before other threads use the log.
void set_up(Settings settings);
/// Whether standard error is the system's journal: sd-daemon(3).
bool stderr_is_journal();

/// A format string that knows where it stands.
template <class... Arguments>
struct Sentence {
  template <std::convertible_to<std::string_view> Text>
  consteval Sentence(const Text& said, std::source_location where = std::source_location::current())
      : text(said), place{where.file_name(), where.line()} {}
  fmt::format_string<Arguments...> text;
  Place place;
};

template <Level level>
struct Writer {
  template <class... Arguments>
  void operator()(const About& about, Sentence<std::type_identity_t<Arguments>...> sentence,
                  Arguments&&... arguments) const {
    Log& log = program_log();
    if (!log.writes(level)) return;
    log.write({level, sentence.place, about,
               fmt::format(sentence.text, std::forward<Arguments>(arguments)...)});
  }
  template <class... Arguments>
  void operator()(Sentence<std::type_identity_t<Arguments>...> sentence,
                  Arguments&&... arguments) const {
    Log& log = program_log();
    if (!log.writes(level)) return;
    log.write({level, sentence.place, About(),
               fmt::format(sentence.text, std::forward<Arguments>(arguments)...)});
  }
};

inline constexpr Writer<Level::debug> debug;
inline constexpr Writer<Level::info> info;
inline constexpr Writer<Level::warn> warn;
inline constexpr Writer<Level::error> error;

}  // namespace homeport::overlay::log
