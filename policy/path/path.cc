#include "policy/path/path.h"

#include <fmt/format.h>

namespace homeport::policy {

std::string_view to_string(TrafficClass traffic) {
  switch (traffic) {
    case TrafficClass::interactive:
      return "interactive";
    case TrafficClass::best_effort:
      return "default";
    case TrafficClass::bulk:
      return "bulk";
  }
  return "unknown";
}

std::optional<TrafficClass> parse_traffic_class(std::string_view text) {
  for (TrafficClass traffic : kTrafficClasses) {
    if (text == to_string(traffic)) return traffic;
  }
  return std::nullopt;
}

std::string to_string(const PathId& path) {
  std::string text = fmt::format("{} - {}", path.first.to_string(), path.second.to_string());
  if (!path.relay.empty()) text += " through " + path.relay;
  return text;
}

bool share_an_end(const PathId& one, const PathId& other) {
  return one.first == other.first || one.second == other.second;
}

}  // namespace homeport::policy
