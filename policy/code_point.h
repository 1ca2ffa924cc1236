// The code points (DSCP) that classes of traffic have in the outer header, for whoever carries it.
#pragma once

#include "policy/traffic_class.h"

#include <cstdint>

namespace homeport::policy {

/// AF21, low-latency data, for interactive traffic (RFC 4594), lower effort for bulk (RFC 8622):
/// routers that know of neither treat them like all other. The same as hp_dscp() of the eBPF
/// programs.
constexpr std::uint8_t outer_code_point(TrafficClass traffic_class) {
  switch (traffic_class) {
    case TrafficClass::interactive:
      return 18;
    case TrafficClass::bulk:
      return 1;
    case TrafficClass::best_effort:
      break;
  }
  return 0;
}

}  // namespace homeport::policy
