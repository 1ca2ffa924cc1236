#include "agent/cli/output.h"

#include "policy/near_matches.h"
#include "policy/text.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>

#include <algorithm>
#include <array>
#include <utility>

namespace homeport::agent {
std::string for_terminal(std::string_view text) {
  return policy::printable(text, text.size());
}

void Table::add(std::vector<std::string> cells) {
  cells.resize(columns_.size());
  for (std::string& cell : cells) cell = cell.empty() ? "-" : for_terminal(cell);
  rows_.push_back(std::move(cells));
}

std::string Table::to_string() const {
  std::vector<std::size_t> widths;
  for (std::size_t i = 0; i < columns_.size(); ++i) {
    std::size_t width = columns_[i].heading.size();
    for (const auto& row : rows_) width = std::max(width, row[i].size());
    widths.push_back(width);
  }
  std::string text;
  auto add_line = [&](auto cell_of) {
    std::string line;
    for (std::size_t i = 0; i < columns_.size(); ++i) {
      if (i != 0) line += "  ";
      line += columns_[i].number ? fmt::format("{:>{}}", cell_of(i), widths[i])
                                 : fmt::format("{:<{}}", cell_of(i), widths[i]);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  };
  add_line([&](std::size_t i) { return columns_[i].heading; });
  for (const auto& row : rows_) add_line([&](std::size_t i) { return row[i]; });
  return text;
}

std::string format_bytes(std::uint64_t bytes) {
  if (bytes < 1024) return fmt::format("{} B", bytes);
  static constexpr std::array units = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  double amount = static_cast<double>(bytes) / 1024;
  std::size_t unit = 0;
  // 1023.95 would be rounded to 1024.0.
  while (amount >= 1023.95 && unit + 1 < units.size()) {
    amount /= 1024;
    ++unit;
  }
  return fmt::format("{:.1f} {}", amount, units[unit]);
}

std::string format_duration(std::chrono::milliseconds duration) {
  std::int64_t ms = std::max<std::int64_t>(duration.count(), 0);
  if (ms < 1'000) return fmt::format("{} ms", ms);
  if (ms < 59'950) return fmt::format("{:.1f} s", static_cast<double>(ms) / 1e3);
  std::int64_t seconds = (ms + 500) / 1000;
  if (seconds < 3'600) return fmt::format("{} min {:02} s", seconds / 60, seconds % 60);
  return fmt::format("{} h {:02} min", seconds / 3'600, seconds % 3'600 / 60);
}

std::string counted(std::uint64_t count, std::string_view noun) {
  return fmt::format("{} {}{}", count, noun, count == 1 ? "" : "s");
}

std::string unknown_name(std::string_view what, std::string_view name,
                         const std::vector<std::string>& known) {
  if (known.empty())
    return fmt::format("There is no {} \"{}\"; there is none at all yet.", what, name);
  std::vector<std::string> shown(known.begin(),
                                 known.begin() + std::min<std::ptrdiff_t>(10, std::ssize(known)));
  std::string list = fmt::format("Known: {}{}.", fmt::join(shown, ", "),
                                 shown.size() < known.size() ? ", ..." : "");
  std::vector<std::string> near = policy::near_matches(name, known);
  if (near.empty()) return fmt::format("There is no {} \"{}\". {}", what, name, list);
  return fmt::format("There is no {} \"{}\"; did you mean {}? {}", what, name,
                     fmt::join(near, " or "), list);
}

std::string join(const std::vector<std::string>& texts, std::string_view separator) {
  return fmt::format("{}", fmt::join(texts, separator));
}

boost::json::array json_array(const std::vector<std::string>& texts) {
  return boost::json::array(texts.begin(), texts.end());
}

std::string removed_text(bool as_json, const std::string& name, std::string_view described) {
  if (!as_json) return fmt::format("Removed {}.\n", described);
  return boost::json::serialize(boost::json::object{{"removed", name}}) + "\n";
}

}  // namespace homeport::agent
