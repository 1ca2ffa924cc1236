// Finds pages that hold nothing but zeros.
#pragma once

#include "migration/memory/page_set.h"

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace homeport::migration {

/// True when all kPageSize bytes at `page` are zero. Pages that are not mostly differ in their
/// first bytes; for the rest the page is compared with itself, shifted, by the C library's
/// vectorised memcmp.
inline bool is_zero_page(const std::byte* page) {
  std::uint64_t start[8];
  std::memcpy(start, page, sizeof start);
  std::uint64_t any = 0;
  for (std::uint64_t word : start) any |= word;
  return any == 0 && std::memcmp(page, page + sizeof start, kPageSize - sizeof start) == 0;
}

}  // namespace homeport::migration
