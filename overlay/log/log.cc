#include "overlay/log/log.h"

#include <spdlog/logger.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_sinks.h>

#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>

namespace homeport::overlay::log {

namespace {

/// "%*" in a pattern: "<4>", the priority of syslog(3).
class Priority final : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& message, const std::tm&,
              spdlog::memory_buf_t& into) override {
    const char number = message.level >= spdlog::level::err    ? '3'
                        : message.level == spdlog::level::warn ? '4'
                        : message.level == spdlog::level::info ? '6'
                                                               : '7';
    for (char c : {'<', number, '>'}) into.push_back(c);
  }
  std::unique_ptr<custom_flag_formatter> clone() const override {
    return std::make_unique<Priority>();
  }
};

std::string pattern_of(const Settings& settings) {
  const std::string start = settings.for_journal ? "%*" : "";
  if (settings.format == Format::json) {
    return start + R"({"time":"%Y-%m-%dT%H:%M:%S.%e%z","level":"%l",%v})";
  }
  return settings.for_journal ? start + "%v" : "[%Y-%m-%d %H:%M:%S.%e] [%n] [%l] %v";
}

std::shared_ptr<spdlog::logger> make_logger(const Settings& settings) {
  auto sink = settings.sink ? settings.sink : std::make_shared<spdlog::sinks::stderr_sink_mt>();
  auto formatter = std::make_unique<spdlog::pattern_formatter>();
  formatter->add_flag<Priority>('*').set_pattern(pattern_of(settings));
  sink->set_formatter(std::move(formatter));
  auto logger = std::make_shared<spdlog::logger>(settings.program, std::move(sink));
  logger->set_level(spdlog::level::trace);  // which lines are written is decided before
  logger->flush_on(spdlog::level::trace);
  return logger;
}

std::unique_ptr<Log>& the_log() {
  static auto log = std::make_unique<Log>(Settings{});
  return log;
}

}  // namespace

Log::Log(Settings settings)
    : settings_(std::move(settings)), logger_(make_logger(settings_)), limiter_(settings_.limit) {}

Log::~Log() = default;

void Log::write(Line line) {
  if (!writes(line.level)) return;
  std::lock_guard lock(mutex_);
  tell_left_out_now();
  if (limiter_.admit(line, settings_.clock())) {
    put(std::move(line));
  } else {
    ++totals_.left_out;
  }
}

void Log::put(Line line) {
  ++totals_.lines[static_cast<std::size_t>(line.level)];
  if (!settings_.host.empty()) line.about = line.about.with({"host", settings_.host});
  const std::string text = settings_.format == Format::json ? render_json(line) : render_text(line);
  logger_->log(static_cast<spdlog::level::level_enum>(line.level), spdlog::string_view_t(text));
}

void Log::tell_left_out_now() {
  for (auto& [first, lines] : limiter_.over(settings_.clock())) {
    first.text = fmt::format("{} lines were left out, of which the first: {}", lines, first.text);
    first.about = first.about.with({"left_out", std::to_string(lines)});
    put(std::move(first));
  }
}

void Log::tell_left_out() {
  std::lock_guard lock(mutex_);
  tell_left_out_now();
}

Totals Log::totals() const {
  std::lock_guard lock(mutex_);
  return totals_;
}

Log& program_log() {
  return *the_log();
}

void set_up(Settings settings) {
  the_log() = std::make_unique<Log>(std::move(settings));
}

bool stderr_is_journal() {
  const char* journal = std::getenv("JOURNAL_STREAM");
  struct stat info {};
  if (journal == nullptr || ::fstat(STDERR_FILENO, &info) != 0) return false;
  return fmt::format("{}:{}", info.st_dev, info.st_ino) == journal;
}

}  // namespace homeport::overlay::log
