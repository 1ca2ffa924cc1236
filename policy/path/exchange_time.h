// How long a typical unit of a class takes over a path: the figure that paths are compared by.
//
//   time = travel + repeats + sending
//   travel   the round-trip time and its variation
//   repeats  the share of exchanges that lose a packet, times what a lost packet costs the class
//   sending  the unit's bytes over the bandwidth; loss takes away from that what it takes from TCP
//
// In integers only: two hosts that are built otherwise still find the same figure.
#pragma once

#include "policy/path/path.h"
#include "policy/path/quality.h"

#include <cstdint>

namespace homeport::policy {

struct ExchangeTime {
  Micros travel{};
  Micros repeats{};
  Micros sending{};
  std::uint64_t bandwidth = 0;     ///< bit/s it was computed with, before loss takes from it
  bool bandwidth_assumed = false;  ///< nobody knows the bandwidth, nor a speed

  Micros total() const { return travel + repeats + sending; }
  bool operator==(const ExchangeTime&) const = default;
};

/// What is assumed of a path of which neither the bandwidth nor the speed of an interface is known.
inline constexpr std::uint64_t kAssumedBandwidth = 100'000'000;  // bit/s

/// For a path whose round-trip time is known. `speed`: of the slower of its interfaces, bit/s; 0:
/// not known. Of two directions the worse one counts.
ExchangeTime exchange_time(TrafficClass traffic, const PathQuality& quality, std::uint64_t speed);

}  // namespace homeport::policy
