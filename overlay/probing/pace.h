// How often ways are asked for there being so many of them: what the budgets allow.
#pragma once

#include "overlay/probing/probe_settings.h"
#include "policy/path/path.h"

#include <cstdint>

namespace homeport::overlay {

struct ProbePace {
  policy::Micros slow{}, dead{}, watched{}, flowing{}, mtu{};
};

/// Ways that share the budgets.
struct ProbeLoad {
  std::uint64_t settled = 0;  ///< that carry, in use or not
  std::uint64_t dead = 0;
  std::uint64_t watched = 0;  ///< with frames flowing
  std::uint64_t flowing = 0;  ///< likewise, and not watched
  std::uint64_t mtus = 0;     ///< bytes: of all settled ways together
};

ProbePace pace(const ProbeLoad& load, const ProbeSettings& settings);

}  // namespace homeport::overlay
