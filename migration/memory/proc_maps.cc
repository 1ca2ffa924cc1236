#include "migration/memory/proc_maps.h"

#include <fmt/format.h>

#include <charconv>
#include <fstream>
#include <sstream>

namespace homeport::migration {
namespace {

// start-end perms offset dev inode path
bool parse_line(std::string_view line, Mapping& mapping) {
  const char* end = line.data() + line.size();
  auto start_parsed = std::from_chars(line.data(), end, mapping.start, 16);
  if (start_parsed.ec != std::errc{} || start_parsed.ptr == end || *start_parsed.ptr != '-') {
    return false;
  }
  auto end_parsed = std::from_chars(start_parsed.ptr + 1, end, mapping.end, 16);
  if (end_parsed.ec != std::errc{} || end - end_parsed.ptr < 5) return false;
  mapping.shared = end_parsed.ptr[4] == 's';
  std::size_t path = line.find_first_of("/[");
  if (path != std::string_view::npos) mapping.path = line.substr(path);
  return true;
}

}  // namespace

std::vector<Mapping> parse_maps(std::string_view text) {
  std::vector<Mapping> mappings;
  while (!text.empty()) {
    std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    Mapping mapping;
    if (parse_line(line, mapping)) mappings.push_back(std::move(mapping));
  }
  return mappings;
}

policy::Result<std::vector<Mapping>> read_maps(pid_t pid) {
  std::string text = read_proc_file(fmt::format("/proc/{}/maps", pid));
  if (text.empty()) {
    return policy::make_error(
        boost::system::errc::no_such_process,
        fmt::format("the memory map of process {} cannot be read: it has ended, or tracing it is "
                    "not permitted",
                    pid));
  }
  return parse_maps(text);
}

std::string read_proc_file(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

}  // namespace homeport::migration
