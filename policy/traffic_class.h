// Classes of traffic: what is sent to a host may take different ways there, by what it needs.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>

namespace homeport::policy {

enum class TrafficClass : std::uint8_t {
  best_effort,  ///< "default" in text: what is in no other, some of both
  interactive,  ///< small exchanges: latency and loss first
  bulk,         ///< bandwidth first, away from interactive's interface where that is worth it
};
/// In the order in which they choose their ways: bulk keeps away from what interactive has chosen.
inline constexpr std::array kTrafficClasses = {TrafficClass::interactive, TrafficClass::best_effort,
                                               TrafficClass::bulk};

constexpr std::string_view to_string(TrafficClass traffic_class) {
  switch (traffic_class) {
    case TrafficClass::best_effort:
      return "default";
    case TrafficClass::interactive:
      return "interactive";
    case TrafficClass::bulk:
      return "bulk";
  }
  return "unknown";
}

/// nullopt: it is the name of none.
constexpr std::optional<TrafficClass> parse_traffic_class(std::string_view text) {
  for (const TrafficClass each : kTrafficClasses) {
    if (to_string(each) == text) return each;
  }
  return std::nullopt;
}

/// The code points of the IP header by which a packet says its class itself, whatever sends it:
/// AF21, CS4, CS5, Voice-Admit and EF of interactive traffic, lower effort and CS1 of bulk (RFC
/// 4594, RFC 5865, RFC 8622).
inline constexpr std::array<std::pair<std::uint8_t, TrafficClass>, 7> kCodePoints = {
    {{18, TrafficClass::interactive},
     {32, TrafficClass::interactive},
     {40, TrafficClass::interactive},
     {44, TrafficClass::interactive},
     {46, TrafficClass::interactive},
     {1, TrafficClass::bulk},
     {8, TrafficClass::bulk}}};

}  // namespace homeport::policy
