#include "policy/path/path.h"

#include <fmt/format.h>

namespace homeport::policy {

std::string to_string(const PathId& path) {
  std::string text = fmt::format("{} - {}", path.first.to_string(), path.second.to_string());
  if (!path.relay.empty()) text += " through " + path.relay;
  return text;
}

bool share_an_end(const PathId& one, const PathId& other) {
  return one.first == other.first || one.second == other.second;
}

}  // namespace homeport::policy
