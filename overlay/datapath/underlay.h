// Keeps hp_from_underlay at the devices of the underlay that have the host's VTEPs.
#pragma once

#include "overlay/datapath/ebpf_object.h"

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace homeport::overlay {

class Underlay {
 public:
  /// `program_id`: of the loaded hp_from_underlay. `object` must outlive it.
  Underlay(const EbpfOptions& options, EbpfObject& object, std::uint32_t program_id);

  /// Puts the program where it belongs, and takes it away elsewhere. Goes on where that cannot be
  /// done: a sentence for each in `problems`. Returns what was found different from what the last
  /// call left, which somebody else has changed: one clause each. `names`: of all devices by
  /// ifindex. Waits for the frames in flight when a device gets the program.
  std::vector<std::string> keep(const std::map<std::uint32_t, std::string>& names,
                                std::vector<std::string>& problems);
  /// Whether the program is at all devices where it belongs, and nowhere else.
  Result<bool> untouched() const;

 private:
  Result<std::set<std::uint32_t>> wanted() const;

  std::vector<policy::IpAddress> vteps_;
  EbpfObject& object_;
  const std::uint32_t program_id_;
  std::set<std::uint32_t> left_;  ///< by the last keep()
};

}  // namespace homeport::overlay
