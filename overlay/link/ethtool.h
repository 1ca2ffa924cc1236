// How fast a network device is, and whether it has a carrier, as its driver tells it (ethtool(8)).
#pragma once

#include "policy/error.h"

#include <cstdint>
#include <string>

namespace homeport::overlay {

/// In bits per second; 0: not known, as of a device without carrier and of most that are no
/// hardware. Of a bond or bridge it is that of its members. Acts in the network namespace of the
/// calling thread. The error names the device: errc::no_such_device if there is none.
policy::Result<std::uint64_t> link_speed(const std::string& name);

/// Whether it is up and has a carrier, now. The kernel's events (monitor.h) may come up to a second
/// later: it holds back all but the first of a second, of whatever devices there are
/// (net/core/link_watch.c). A driver that cannot tell says yes. Errors: as link_speed().
policy::Result<bool> has_carrier(const std::string& name);

}  // namespace homeport::overlay
