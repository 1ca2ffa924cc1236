#include "agent/cli/event_text.h"

#include <fmt/format.h>

#include <utility>

namespace homeport::agent {

policy::Result<std::vector<ServerEvent>> EventText::take(std::string_view piece) {
  std::vector<ServerEvent> events;
  while (!piece.empty()) {
    const std::size_t end = piece.find('\n');
    rest_ += piece.substr(0, end);
    if (rest_.size() + event_.data.size() > kLongest) {
      return policy::make_error(boost::system::errc::message_size,
                                fmt::format("An event is longer than {} bytes.", kLongest));
    }
    if (end == piece.npos) break;
    piece.remove_prefix(end + 1);
    std::string line = std::exchange(rest_, {});
    if (line.ends_with('\r')) line.pop_back();
    if (!line.empty()) {
      field(line);
      continue;
    }
    if (event_.name.empty()) event_.name = "message";
    if (has_data_) events.push_back(std::move(event_));
    event_ = {};
    has_data_ = false;
  }
  return events;
}

void EventText::field(std::string_view line) {
  const std::size_t colon = line.find(':');
  const std::string_view name = line.substr(0, colon);
  std::string_view value = colon == line.npos ? std::string_view() : line.substr(colon + 1);
  if (value.starts_with(' ')) value.remove_prefix(1);
  if (name == "event") event_.name = value;
  if (name != "data") return;
  if (std::exchange(has_data_, true)) event_.data += '\n';
  event_.data += value;
}

}  // namespace homeport::agent
