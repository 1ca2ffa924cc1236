#include "tests/bench/scale/memory_datapath.h"

#include <map>
#include <set>
#include <utility>

namespace homeport::bench {

using overlay::DesiredState;
using policy::Result;

void MemoryDatapath::find_devices(const std::vector<overlay::Port>& ports) {
  for (const overlay::Port& port : ports) {
    const auto index = static_cast<std::uint32_t>(devices_.size() + 1);
    devices_.try_emplace(port.device, overlay::PortDevice{index, false});
  }
}

Result<void> MemoryDatapath::apply(const DesiredState& desired) {
  ++applied_;
  find_devices(desired.ports);
  auto [image, problems] = overlay::compile(desired, devices_, image_);
  for (const auto& [key, value] : overlay::difference(image_.addresses, image.addresses).updates) {
    written_(key, value);
  }
  image_ = std::move(image);
  if (problems.empty()) return {};
  return policy::make_error(boost::system::errc::invalid_argument, problems.front());
}

Result<bool> MemoryDatapath::update(const overlay::StateChange& change) {
  find_devices(change.ports);
  auto patch = overlay::patch_of(image_, change, devices_, devices_);
  if (!patch) return false;
  ++updated_;
  overlay::apply_patch(image_, *patch);
  for (const auto& [key, value] : patch->addresses.updates) written_(key, value);
  return true;
}

Result<DesiredState> MemoryDatapath::read_back() {
  std::map<std::uint32_t, std::string> names;
  std::set<std::uint32_t> attached;
  for (const auto& [name, device] : devices_) {
    names[device.ifindex] = name;
    attached.insert(device.ifindex);
  }
  return overlay::decompile(image_, names, attached);
}

Result<void> MemoryDatapath::set_path(const overlay::PathEntry& entry) {
  image_.paths[overlay::path_key(entry.vtep, entry.traffic_class)] = overlay::path_value(entry, 0);
  return {};
}

Result<void> MemoryDatapath::set_address(const overlay::AddressEntry&) {
  return policy::make_error(boost::system::errc::operation_not_supported,
                            "a simulated host moves no guests");
}

Result<overlay::PortCounters> MemoryDatapath::counters(const std::string&) {
  return overlay::PortCounters{};
}

}  // namespace homeport::bench
