// What somebody else has changed in the maps: the difference between what the datapath left there
// and what it finds, in words. Pure.
#pragma once

#include "overlay/datapath/map_image.h"

#include <string>
#include <vector>

namespace homeport::overlay {

/// "the address 02:00:00:00:00:05 of network 7 was missing", "... was changed", "... was added":
/// at most kToldOfTampering of them, then one that counts the rest. Empty when nothing differs.
std::vector<std::string> tampering(const MapImage& left, const MapImage& found);

inline constexpr std::size_t kToldOfTampering = 8;

}  // namespace homeport::overlay
