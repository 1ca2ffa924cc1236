#include "agent/cli/progress.h"

#include "agent/cli/output.h"

#include <fmt/format.h>

#include <algorithm>

namespace homeport::agent {
namespace {

constexpr std::chrono::seconds kPlainInterval{1};
constexpr std::uint64_t kBarWidth = 20;
/// ECMA-48: to the first column, and erase to the end of the line.
constexpr char kRedraw[] = "\r\x1b[K";

std::chrono::milliseconds ms(std::uint64_t count) {
  return std::chrono::milliseconds(static_cast<std::int64_t>(count));
}

std::string route(const TaskSnapshot& task) {
  if (task.destination.empty()) return task.kind + " " + task.application;
  return fmt::format("{} {} -> {}", task.application, task.source, task.destination);
}

std::string summary(const TaskSnapshot& task) {
  std::string because = task.error.empty() ? "" : ": " + task.error;
  if (!because.ends_with('.')) because += '.';
  if (task.state == "succeeded" && task.kind == "move") {
    std::string text =
        fmt::format("{} moved from {} to {}", task.application, task.source, task.destination);
    if (task.total_ms) text += fmt::format(" in {}", format_duration(ms(*task.total_ms)));
    if (task.ram_bytes > 0) {  // of a network device nothing is sent
      text += fmt::format("; {} sent for {} of memory in {}", format_bytes(task.bytes_sent),
                          format_bytes(task.ram_bytes), counted(task.rounds, "round"));
    }
    if (task.downtime_ms) {
      text += fmt::format("; stopped for {}", format_duration(ms(*task.downtime_ms)));
    }
    return text + ".";
  }
  if (task.state == "succeeded") return fmt::format("{} {} is done.", task.kind, task.application);
  if (task.state == "rolled-back") {
    return fmt::format("The move of {} was rolled back, it runs on {}{}", task.application,
                       task.source, because);
  }
  if (task.state == "cancelled") {
    return fmt::format("The {} of {} was cancelled{}", task.kind, task.application, because);
  }
  if (task.state == "in-doubt") {
    return fmt::format(
        "The {} of {} is in doubt, and it is held until that is settled{} See "
        "`homeport task resolve {}`.",
        task.kind, task.application, because, task.id);
  }
  return fmt::format("The {} of {} failed{}", task.kind, task.application, because);
}

}  // namespace

std::string progress_line(const TaskSnapshot& task) {
  std::string line = route(task) + "  " + (task.phase.empty() ? task.state : task.phase);
  if (task.bytes_total > 0) {
    // More than was planned may be sent when pages are written again: never more than full.
    std::uint64_t sent = std::min(task.bytes_sent, task.bytes_total);
    double share = static_cast<double>(sent) / static_cast<double>(task.bytes_total);
    auto filled = static_cast<std::size_t>(share * kBarWidth);
    line += fmt::format("  [{:.<{}}]  {:2.0f}%  {} of {}", std::string(filled, '#'), kBarWidth,
                        share * 100, format_bytes(task.bytes_sent), format_bytes(task.bytes_total));
  }
  if (task.rate > 0) line += fmt::format("  {}/s", format_bytes(task.rate));
  if (task.eta_ms) line += fmt::format("  {} left", format_duration(ms(*task.eta_ms)));
  return for_terminal(line);
}

std::string task_summary(const TaskSnapshot& task) {
  return for_terminal(summary(task));
}

std::string ProgressPrinter::update(const TaskSnapshot& task, Clock::time_point now) {
  std::string line = progress_line(task);
  if (line == drawn_) return "";
  if (interactive_) {
    drawn_ = line;
    return kRedraw + line;
  }
  std::string phase = task.state + task.phase;
  if (printed_ && phase == phase_ && now - *printed_ < kPlainInterval) return "";
  drawn_ = line;
  phase_ = phase;
  printed_ = now;
  return line + "\n";
}

std::string ProgressPrinter::notice(const std::string& text) {
  bool redraw = interactive_ && !drawn_.empty();
  drawn_.clear();
  return (redraw ? kRedraw : "") + text + "\n";
}

std::string ProgressPrinter::finish() {
  bool open = interactive_ && !drawn_.empty();
  drawn_.clear();
  return open ? "\n" : "";
}

}  // namespace homeport::agent
