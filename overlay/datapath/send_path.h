// Lets the programs send past the VXLAN device (ebpf/send.h) where the kernel has nothing on its
// own way out that would be got round, and gives them what they need for it.
#pragma once

#include "overlay/datapath/ebpf_object.h"

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace homeport::overlay {

class SendPath {
 public:
  /// `object` must outlive it.
  SendPath(const EbpfOptions& options, EbpfObject& object);

  /// Switches the short way on, or off while the kernel has IPsec policies for what it sends or
  /// something about it cannot be read or set: a sentence for that in `problems`. Returns what was
  /// found different from what the last call left, which somebody else has changed: one clause
  /// each.
  std::vector<std::string> keep(std::vector<std::string>& problems);
  /// Whether keep() would change nothing.
  Result<bool> untouched() const;

 private:
  struct Settings {
    bool fast = false;
    std::uint16_t first_port = 0, ports = 0;  ///< outer source ports
    bool operator==(const Settings&) const = default;
  };
  Result<Settings> wanted() const;

  const bool fast_;
  /// Settings of the kernel that make it answer the programs where packets go.
  std::vector<std::filesystem::path> forwarding_;
  EbpfObject& object_;
  Settings left_;  ///< by the last keep()
};

}  // namespace homeport::overlay
