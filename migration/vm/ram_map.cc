#include "migration/vm/ram_map.h"

#include <fmt/format.h>

#include <string_view>

namespace homeport::migration {

namespace errc = boost::system::errc;
using policy::make_error;
using policy::Result;

namespace {

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

std::vector<SharedMapping> shared_mappings(const std::vector<Mapping>& mappings) {
  std::vector<SharedMapping> joined;
  for (const Mapping& mapping : mappings) {
    if (!mapping.shared || !mapping.writable || !mapping.path.starts_with('/')) continue;
    std::string_view path = mapping.path;
    constexpr std::string_view deleted = " (deleted)";
    if (path.ends_with(deleted)) path.remove_suffix(deleted.size());
    const std::uint64_t size = mapping.end - mapping.start;
    if (!joined.empty()) {
      SharedMapping& before = joined.back();
      if (before.path == path && before.address + before.size == mapping.start &&
          before.offset + before.size == mapping.offset) {
        before.size += size;
        continue;
      }
    }
    joined.push_back({mapping.start, size, mapping.offset, size, std::string(path)});
  }
  return joined;
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
