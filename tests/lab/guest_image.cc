#include "tests/lab/guest_image.h"

#include <cstdlib>
#include <fstream>
#include <vector>

#include "tests/lab/failure.h"
#include "tests/lab/pattern.h"
#include "tests/lab/process.h"

namespace homeport::lab {

GuestImage prepare_guest_image() {
  const char* chosen = std::getenv("HOMEPORT_CACHE_DIR");
  const char* home = std::getenv("HOME");
  const std::filesystem::path cache =
      chosen != nullptr
          ? std::filesystem::path(chosen)
          : std::filesystem::path(home != nullptr ? home : "/root") / ".cache/homeport";
  const auto lines = words(run_checked(
      {HOMEPORT_LAB_SOURCE_DIR "/guest/build-image", HOMEPORT_LAB_GUEST, cache.string()}, {},
      300s));
  if (lines.size() != 2) throw LabFailure("guest/build-image did not name a kernel and an initrd");
  return {lines[0], lines[1]};
}

void write_pattern_disk(const std::filesystem::path& file, std::uint64_t mib) {
  std::ofstream out(file, std::ios::binary | std::ios::trunc);
  std::vector<std::uint64_t> words(kPageBytes / sizeof(std::uint64_t));
  for (std::uint64_t page = 0; page < mib * 1024 * 1024 / kPageBytes; ++page) {
    fill_page(page, 0, words.data());
    out.write(reinterpret_cast<const char*>(words.data()), kPageBytes);
  }
  out.close();
  if (!out) throw LabFailure("cannot write " + file.string());
}

}  // namespace homeport::lab
