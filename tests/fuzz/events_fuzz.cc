// What the command line makes of the text of server-sent events.
#include "agent/cli/event_text.h"
#include "tests/fuzz/fuzz.h"

#include <optional>
#include <string>
#include <vector>

namespace homeport::agent {
namespace {

using fuzz::require;

/// What comes of `text` in pieces of that size; nullopt: it is refused.
std::optional<std::vector<ServerEvent>> read(std::string_view text, std::size_t size) {
  EventText reader;
  std::vector<ServerEvent> all;
  for (; !text.empty(); text.remove_prefix(std::min(size, text.size()))) {
    auto events = reader.take(text.substr(0, size));
    if (!events) return std::nullopt;
    for (ServerEvent& event : *events) all.push_back(std::move(event));
  }
  return all;
}

}  // namespace
}  // namespace homeport::agent

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace homeport::agent;
  const std::string_view text = homeport::fuzz::as_text(data, size);
  const auto whole = read(text, std::max<std::size_t>(size, 1));
  for (const std::size_t piece : {1, 5}) {
    const auto pieces = read(text, piece);
    require(whole.has_value() == pieces.has_value(), "pieces do not matter");
    if (!whole) continue;
    require(whole->size() == pieces->size(), "pieces do not matter");
    for (std::size_t i = 0; i < whole->size(); ++i) {
      const ServerEvent& event = (*whole)[i];
      require(event.name == (*pieces)[i].name && event.data == (*pieces)[i].data,
              "pieces do not matter");
      require(!event.name.empty(), "an event has a name");
      require(event.name.find('\n') == std::string::npos, "a name is a line");
      require(event.data.size() <= EventText::kLongest, "an event is bounded");
    }
  }
  return 0;
}
