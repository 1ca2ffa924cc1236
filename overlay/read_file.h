// Small files as text: configuration, launch profiles, the journal of moves, those of /proc.
#pragma once

#include "policy/error.h"

#include <fmt/format.h>

#include <array>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

namespace homeport::overlay {

/// What a file below /proc says; as much as could be read where its process ends meanwhile. Never
/// throws, as stream iterators do then.
inline std::string read_proc(const std::filesystem::path& file) {
  std::ifstream stream(file);
  std::string text;
  std::array<char, 4096> piece;
  while (stream.read(piece.data(), piece.size()) || stream.gcount() > 0) {
    text.append(piece.data(), static_cast<std::size_t>(stream.gcount()));
  }
  return text;
}

/// All of `file`; an error says "cannot read <what> <file>: why". Never throws, not even where the
/// file turns out to be a directory, as stream iterators do.
inline policy::Result<std::string> read_file(const std::filesystem::path& file,
                                             std::string_view what) {
  constexpr std::size_t kMost = std::size_t{1} << 20;
  errno = 0;
  std::ifstream stream(file);
  std::string text;
  std::array<char, 4096> piece;
  while (text.size() <= kMost && (stream.read(piece.data(), piece.size()) || stream.gcount() > 0)) {
    text.append(piece.data(), static_cast<std::size_t>(stream.gcount()));
  }
  if (!stream.is_open() || stream.bad()) {
    return policy::errno_error(fmt::format("cannot read {} {}", what, file.string()),
                               errno ? errno : EIO);
  }
  if (text.size() > kMost) {
    return policy::make_error(
        boost::system::errc::file_too_large,
        fmt::format("cannot read {} {}: it is larger than 1 MiB", what, file.string()));
  }
  return text;
}

}  // namespace homeport::overlay
