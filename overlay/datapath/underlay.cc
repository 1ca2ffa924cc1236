#include "overlay/datapath/underlay.h"

#include "overlay/datapath/underlay_hook.h"
#include "overlay/link/tap.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

namespace homeport::overlay {

Underlay::Underlay(const EbpfOptions& options, EbpfObject& object, std::uint32_t program_id)
    : object_(object), program_id_(program_id) {
  if (!options.fast_receive) return;
  if (options.local_vtep_v4) vteps_.emplace_back(*options.local_vtep_v4);
  if (options.local_vtep_v6) vteps_.emplace_back(*options.local_vtep_v6);
}

Result<std::set<std::uint32_t>> Underlay::wanted() const {
  return underlay_hook::devices_of(vteps_);
}

std::vector<std::string> Underlay::keep(const std::map<std::uint32_t, std::string>& names,
                                        std::vector<std::string>& problems) {
  std::vector<std::string> mended;
  auto note = [&](const policy::Error& error) { problems.push_back(error.message + "."); };
  auto devices = wanted();
  auto found = underlay_hook::list(object_.directory());
  if (!devices || !found) {
    note(devices ? found.error() : devices.error());
    return mended;
  }
  std::optional<EbpfObject::LongWay> long_way;
  for (const std::uint32_t ifindex : *devices) {
    const std::uint32_t present = found->contains(ifindex) ? found->at(ifindex) : 0;
    if (present == program_id_) continue;
    if (left_.contains(ifindex) && names.contains(ifindex)) {
      mended.push_back(fmt::format("the program that receives at {} was {}", names.at(ifindex),
                                   present == 0 ? "missing" : "replaced"));
    }
    // What is on its way through the VXLAN device nobody has counted as that so far. No frame may
    // take the short way before it has come out.
    if (present == 0 && !long_way) long_way.emplace(object_.fast_off());
    if (auto done = underlay_hook::attach(object_.directory(), ifindex, object_.from_underlay_fd());
        !done) {
      note(done.error());
    }
  }
  if (long_way) {
    if (auto waited = wait_for_frames_in_flight(); !waited) note(waited.error());
  }
  for (const auto& [ifindex, id] : *found) {
    if (devices->contains(ifindex)) continue;
    if (auto gone = underlay_hook::detach(object_.directory(), ifindex); !gone) note(gone.error());
  }
  left_ = std::move(*devices);
  return mended;
}

Result<bool> Underlay::untouched() const {
  auto devices = wanted();
  if (!devices) return devices.error();
  auto found = underlay_hook::list(object_.directory());
  if (!found) return found.error();
  return std::ranges::equal(*devices, *found, [&](std::uint32_t ifindex, const auto& present) {
    return present.first == ifindex && present.second == program_id_;
  });
}

}  // namespace homeport::overlay
