// How hot a page is, and in what order pages are sent: the coldest first, the hottest last. A page
// that is sent late in a round is less likely to be written again before the switch, and one that
// is written before its turn comes need not be sent in that round at all (compare P. Svärd et al.,
// CloudCom 2011, doi 10.1109/cloudcom.2011.82).
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

namespace homeport::migration {

/// In how many scans since the first a page was reported written; stays at the largest value.
using HeatCount = std::uint8_t;

inline constexpr std::size_t kHeatClasses = 5;

/// 0 for pages never reported again, then one class per doubling: 1; 2-3; 4-7; 8 and more. Few
/// classes, so that neighbours mostly share one and travel in one batch.
constexpr std::size_t heat_class(HeatCount reports) {
  std::size_t width = static_cast<std::size_t>(std::bit_width(reports));
  return width < kHeatClasses ? width : kHeatClasses - 1;
}

}  // namespace homeport::migration
