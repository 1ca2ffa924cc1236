// How often ways are asked for there being so many of them: what the budgets allow.
#pragma once

#include "overlay/datapath/probe_wire.h"
#include "overlay/probing/probe_settings.h"
#include "policy/path/path.h"

#include <cstdint>

namespace homeport::overlay {

struct ProbePace {
  policy::Micros slow{}, dead{}, watched{}, closely{}, flowing{}, mtu{};
};

/// Ways that share the budgets.
struct ProbeLoad {
  std::uint64_t settled = 0;  ///< that carry, in use or not
  std::uint64_t dead = 0;
  std::uint64_t watched = 0;  ///< bytes of one ask of each with frames flowing, and its answer
  std::uint64_t flowing = 0;  ///< likewise, of those that are not watched
  std::uint64_t mtus = 0;     ///< bytes: of all settled ways together
};

/// Of the wire, of an ask of the smallest size.
std::uint64_t ask_bytes(const ProbePair& pair);

/// Bytes/s of what is asked closely, and of the answers, on top of watching.
std::uint64_t closely_budget(const ProbeSettings& settings);

ProbePace pace(const ProbeLoad& load, const ProbeSettings& settings);

}  // namespace homeport::overlay
