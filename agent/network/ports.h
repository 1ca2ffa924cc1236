// The ports of an application, as the control database describes them.
#pragma once

#include "agent/control/database.h"
#include "migration/move/edges.h"
#include "policy/error.h"

#include <cstdint>
#include <string>
#include <vector>

namespace homeport::agent {

/// One port for each binding of `application`; `mtu_limit`: see LocalView. errc::no_such_device
/// where the network of one is not in the database, errc::invalid_argument where several would
/// share a device.
policy::Result<std::vector<migration::PortSpec>> ports_of(const Contents& contents,
                                                          const std::string& application,
                                                          std::uint32_t mtu_limit);

}  // namespace homeport::agent
