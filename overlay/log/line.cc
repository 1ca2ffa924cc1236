#include "overlay/log/line.h"

#include "policy/text.h"

#include <boost/json/serialize.hpp>
#include <boost/json/string.hpp>

#include <algorithm>

namespace homeport::overlay::log {

namespace {

constexpr std::size_t kLongestText = 4096;   // bytes
constexpr std::size_t kLongestValue = 1024;  // bytes

/// logfmt: quoted where a reader would not see its end otherwise.
std::string quoted(std::string_view value) {
  const bool plain = !value.empty() && value.find_first_of(" =\"\\") == std::string_view::npos;
  if (plain) return std::string(value);
  std::string text = "\"";
  for (char c : value) {
    if (c == '"' || c == '\\') text += '\\';
    text += c;
  }
  return text + '"';
}

std::string json_string(std::string_view text) {
  return boost::json::serialize(boost::json::string(text));
}

}  // namespace

std::string_view to_string(Level level) {
  switch (level) {
    case Level::trace:
      return "trace";
    case Level::debug:
      return "debug";
    case Level::info:
      return "info";
    case Level::warn:
      return "warn";
    case Level::error:
      return "error";
  }
  return "unknown";
}

Level level_from(std::string_view word) {
  const auto* found =
      std::ranges::find_if(kLevels, [&](Level level) { return to_string(level) == word; });
  return found == kLevels.end() ? Level::info : *found;
}

About About::with(Field field) const {
  About more = *this;
  more.fields_.push_back(std::move(field));
  return more;
}

std::string_view About::task() const {
  auto found = std::ranges::find(fields_, "task", &Field::key);
  return found == fields_.end() ? std::string_view() : std::string_view(found->value);
}

std::string render_text(const Line& line) {
  std::string text = policy::printable(line.text, kLongestText);
  for (const auto& [key, value] : line.about.fields()) {
    text += ' ' + key + '=' + quoted(policy::printable(value, kLongestValue));
  }
  return text;
}

std::string render_json(const Line& line) {
  std::string text = "\"message\":" + json_string(policy::printable(line.text, kLongestText));
  for (const auto& [key, value] : line.about.fields()) {
    text += ',' + json_string(key) + ':' + json_string(policy::printable(value, kLongestValue));
  }
  return text;
}

}  // namespace homeport::overlay::log
