// How fast a network device is, as its driver tells it (ethtool(8)).
#pragma once

#include "policy/error.h"

#include <cstdint>
#include <string>

namespace homeport::overlay {

/// In bits per second; 0: not known, as of a device without carrier and of most that are no
/// hardware. Of a bond or bridge it is that of its members. Acts in the network namespace of the
/// calling thread. The error names the device: errc::no_such_device if there is none.
policy::Result<std::uint64_t> link_speed(const std::string& name);

}  // namespace homeport::overlay
