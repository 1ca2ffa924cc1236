// What is in a directory, while others may change it.
#pragma once

#include <filesystem>
#include <system_error>
#include <vector>

namespace homeport::overlay {

/// Its entries, in no order. Never throws: the increment of a range-based loop over a
/// directory_iterator does when the directory goes, as those of ended processes below /proc do.
inline std::vector<std::filesystem::path> entries_of(const std::filesystem::path& directory,
                                                     std::error_code& error) {
  std::vector<std::filesystem::path> entries;
  std::filesystem::directory_iterator entry(directory, error);
  for (; !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
    entries.push_back(entry->path());
  }
  return entries;
}

}  // namespace homeport::overlay
