// What the fuzz targets share. Each <name>_fuzz.cc defines LLVMFuzzerTestOneInput, which libFuzzer
// calls with inputs of its own making (the preset "fuzz") and replay.cc with the files of
// corpus/<name> (the unit tests).
//
// A target hands its input to a parser as it would come from outside, and requires what the parser
// promises: a clear error or a value within its bounds, never a crash.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace homeport::fuzz {

/// Ends the program where a promise is broken.
inline void require(bool kept, std::string_view promise) {
  if (kept) return;
  std::fprintf(stderr, "not kept: %.*s\n", static_cast<int>(promise.size()), promise.data());
  std::abort();
}

inline std::string_view as_text(const std::uint8_t* data, std::size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

inline std::span<const std::byte> as_bytes(const std::uint8_t* data, std::size_t size) {
  return std::as_bytes(std::span(data, size));
}

}  // namespace homeport::fuzz
