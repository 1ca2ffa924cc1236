// The network below: this host's interfaces, and what of it the virtual network may use.
#pragma once

#include "agent/control/records.h"
#include "overlay/link/monitor.h"
#include "policy/address.h"
#include "policy/error.h"

#include <cstdint>
#include <string>
#include <vector>

namespace homeport::agent {

/// The largest packet that fits into the tunnel over the interface that has `vtep`. The error says
/// that no interface has that address.
policy::Result<std::uint32_t> tunnel_mtu_of(const policy::IpAddress& vtep);

/// This host's rows of the Interface table: every address but loopback and link-local ones. The
/// devices of applications have none on this side; those that have may be of kind tun all the same,
/// as a bridge of a userspace switch is.
policy::Result<std::vector<Interface>> interfaces_of(const std::string& host);

/// Whether that call may tell something else than `interfaces` after the event.
bool may_change(const std::vector<Interface>& interfaces, const overlay::LinkEvent& event);

}  // namespace homeport::agent
