#include "migration/memory/proc_maps.h"

#include "overlay/read_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>

namespace homeport::migration {

namespace errc = boost::system::errc;
using policy::Result;

namespace {

std::optional<std::uint64_t> take_hex(std::string_view& text, char end) {
  std::uint64_t number = 0;
  auto [stop, failed] = std::from_chars(text.data(), text.data() + text.size(), number, 16);
  if (failed != std::errc() || stop == text.data() + text.size() || *stop != end) {
    return std::nullopt;
  }
  text.remove_prefix(static_cast<std::size_t>(stop - text.data()) + 1);
  return number;
}

std::string_view take_word(std::string_view& text) {
  std::string_view word = text.substr(0, text.find(' '));
  text.remove_prefix(std::min(text.size(), word.size() + 1));
  return word;
}

// start-end perms offset device inode   path
std::optional<Mapping> parse_line(std::string_view line) {
  auto start = take_hex(line, '-');
  if (!start) return std::nullopt;
  auto end = take_hex(line, ' ');
  if (!end || *end <= *start) return std::nullopt;
  std::string_view permissions = take_word(line);
  auto offset = take_hex(line, ' ');
  if (permissions.size() != 4 || !offset) return std::nullopt;
  take_word(line);  // device
  take_word(line);  // inode
  line.remove_prefix(std::min(line.size(), line.find_first_not_of(' ')));
  return Mapping{*start,           *end, *offset, permissions[3] == 's', permissions[1] == 'w',
                 std::string(line)};
}

}  // namespace

Result<std::vector<Mapping>> parse_maps(std::string_view text) {
  std::vector<Mapping> mappings;
  while (!text.empty()) {
    std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    if (line.empty()) continue;
    auto mapping = parse_line(line);
    if (!mapping) {
      return policy::make_error(errc::bad_message,
                                fmt::format("cannot read the memory map line \"{}\"", line));
    }
    mappings.push_back(std::move(*mapping));
  }
  return mappings;
}

Result<std::vector<Mapping>> read_maps(pid_t pid) {
  std::string text = overlay::read_proc(fmt::format("/proc/{}/maps", pid));
  if (text.empty()) {
    return policy::make_error(
        errc::no_such_process,
        fmt::format("the memory map of process {} cannot be read: it has ended, or tracing it is "
                    "not permitted",
                    pid));
  }
  return parse_maps(text);
}

}  // namespace homeport::migration
