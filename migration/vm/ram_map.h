// Where a VM's RAM lies in its process.
#pragma once

#include "migration/memory/proc_maps.h"
#include "policy/error.h"

#include <cstdint>
#include <string>
#include <vector>

namespace homeport::migration {

/// One memory backend of a VM.
struct RamBlock {
  std::string id;                  ///< the backend's name in QEMU
  std::uint64_t host_address = 0;  ///< in the VM's process
  std::uint64_t size = 0;          ///< bytes
  std::uint64_t offset = 0;        ///< in the backing file
};

/// A run of shared, writable mappings that continue each other, in memory and in the file.
struct SharedMapping {
  std::uint64_t address = 0, size = 0, offset = 0;
  std::uint64_t first_size = 0;  ///< of the first mapping in the run
  std::string path;              ///< as the kernel shows it, without " (deleted)"
};

/// Those of `mappings` that are shared and writable, of a file; neighbours are joined, since write
/// tracking splits a mapping.
std::vector<SharedMapping> shared_mappings(const std::vector<Mapping>& mappings);

/// The mapping that is the RAM backend `id` of `size` bytes with QEMU's `mem_path`, which names the
/// file or the directory it was made in. The error says what was found instead.
policy::Result<RamBlock> find_ram_block(const std::vector<SharedMapping>& mappings,
                                        const std::string& id, std::uint64_t size,
                                        const std::string& mem_path);

}  // namespace homeport::migration
