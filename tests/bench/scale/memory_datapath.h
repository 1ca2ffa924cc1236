// The kernel edge of a simulated host: a datapath whose maps are in memory. What goes into them is
// decided by the same code as for the kernel's.
#pragma once

#include "overlay/datapath/datapath.h"
#include "overlay/datapath/map_patch.h"

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace homeport::bench {

class MemoryDatapath final : public overlay::Datapath {
 public:
  /// Called for each address that is written.
  using Written = std::function<void(const hp_address_key&, const hp_address&)>;
  explicit MemoryDatapath(Written written) : written_(std::move(written)) {}

  policy::Result<void> apply(const overlay::DesiredState& desired) override;
  policy::Result<bool> update(const overlay::StateChange& change) override;
  policy::Result<bool> untouched() override { return true; }
  const std::vector<std::string>& mended() const override { return mended_; }
  policy::Result<overlay::DesiredState> read_back() override;
  policy::Result<void> set_address(const overlay::AddressEntry& entry) override;
  policy::Result<void> set_path(const overlay::PathEntry& entry) override;
  policy::Result<overlay::PortCounters> counters(const std::string& device) override;
  policy::Result<overlay::TotalCounters> counters() override { return overlay::TotalCounters{}; }

  std::uint64_t applied() const { return applied_; }  ///< Whole states.
  std::uint64_t updated() const { return updated_; }  ///< Changes of one.

 private:
  /// Every port has a device.
  void find_devices(const std::vector<overlay::Port>& ports);

  Written written_;
  overlay::MapImage image_;
  overlay::PortDevices devices_;
  std::vector<std::string> mended_;
  std::uint64_t applied_ = 0, updated_ = 0;
};

}  // namespace homeport::bench
