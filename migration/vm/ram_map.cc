#include "migration/vm/ram_map.h"

#include <fmt/format.h>

#include <charconv>
#include <optional>

namespace homeport::migration {

namespace errc = boost::system::errc;
using policy::make_error;
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

struct MapsLine {
  SharedMapping mapping;
  bool shared_writable = false;
};

// start-end perms offset device inode   path
std::optional<MapsLine> parse_line(std::string_view line) {
  MapsLine parsed;
  auto start = take_hex(line, '-');
  if (!start) return std::nullopt;
  auto end = take_hex(line, ' ');
  if (!end || *end <= *start) return std::nullopt;
  std::string_view permissions = take_word(line);
  auto offset = take_hex(line, ' ');
  if (permissions.size() != 4 || !offset) return std::nullopt;
  take_word(line);  // device
  take_word(line);  // inode
  std::size_t path = line.find_first_not_of(' ');
  if (path != std::string_view::npos) line.remove_prefix(path);
  constexpr std::string_view deleted = " (deleted)";
  if (line.ends_with(deleted)) line.remove_suffix(deleted.size());

  parsed.mapping = {*start, *end - *start, *offset, *end - *start, std::string(line)};
  parsed.shared_writable = permissions[1] == 'w' && permissions[3] == 's' && line.starts_with('/');
  return parsed;
}

bool is_backing(const SharedMapping& mapping, const std::string& id, const std::string& mem_path) {
  if (mapping.path == mem_path) return true;
  // Given a directory, QEMU makes qemu_back_mem.<backend>.<random> in it and unlinks that.
  std::string_view path = mapping.path;
  if (!path.starts_with(mem_path)) return false;
  path.remove_prefix(mem_path.size());
  while (path.starts_with('/')) path.remove_prefix(1);
  return path.starts_with("qemu_back_mem.") && path.find(id + ".") != std::string_view::npos;
}

}  // namespace

Result<std::vector<SharedMapping>> parse_shared_mappings(std::string_view maps) {
  std::vector<SharedMapping> mappings;
  while (!maps.empty()) {
    std::string_view line = maps.substr(0, maps.find('\n'));
    maps.remove_prefix(std::min(maps.size(), line.size() + 1));
    if (line.empty()) continue;
    auto parsed = parse_line(line);
    if (!parsed) {
      return make_error(errc::bad_message,
                        fmt::format("cannot read the memory map line \"{}\"", line));
    }
    if (!parsed->shared_writable) continue;
    SharedMapping& mapping = parsed->mapping;
    if (!mappings.empty()) {
      SharedMapping& before = mappings.back();
      if (before.path == mapping.path && before.address + before.size == mapping.address &&
          before.offset + before.size == mapping.offset) {
        before.size += mapping.size;
        continue;
      }
    }
    mappings.push_back(std::move(mapping));
  }
  return mappings;
}

Result<RamBlock> find_ram_block(const std::vector<SharedMapping>& mappings, const std::string& id,
                                std::uint64_t size, const std::string& mem_path) {
  const SharedMapping* found = nullptr;
  std::string others;
  for (const SharedMapping& mapping : mappings) {
    if (!is_backing(mapping, id, mem_path)) continue;
    if (mapping.size != size) {
      others += fmt::format(" {:#x} ({} bytes)", mapping.address, mapping.size);
    } else if (found) {
      return make_error(errc::not_supported,
                        fmt::format("the RAM \"{}\" ({}) is mapped more than once", id, mem_path));
    } else {
      found = &mapping;
    }
  }
  if (!found) {
    return make_error(
        errc::no_such_file_or_directory,
        fmt::format("the VM's process has no shared mapping of {} with the {} bytes of its RAM "
                    "\"{}\"{}",
                    mem_path, size, id, others.empty() ? "" : "; there are:" + others));
  }
  return RamBlock{id, found->address, size, found->offset};
}

}  // namespace homeport::migration
