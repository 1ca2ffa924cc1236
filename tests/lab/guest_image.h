// The guest's kernel and initial RAM disk.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace homeport::lab {

struct GuestImage {
  std::filesystem::path kernel;
  std::filesystem::path initrd;
};

/// Kernel from the distribution's linux-image-cloud-amd64 family (downloaded once, unpacked, not
/// installed) and an initramfs of busybox and `worker`, both kept in the cache directory
/// ($HOMEPORT_CACHE_DIR, else ~/.cache/homeport). Throws LabFailure with the script's own words.
GuestImage prepare_guest_image();

/// Writes a disk image for the guest's O_DIRECT reader: `mib` MiB in which every 4 KiB page can be
/// told from every other.
void write_pattern_disk(const std::filesystem::path& file, std::uint64_t mib);

}  // namespace homeport::lab
