// Whether a move that another host announces is what the control database says should happen.
#pragma once

#include "agent/control/database.h"
#include "migration/move/edges.h"
#include "migration/move/move.pb.h"

#include <boost/asio/awaitable.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace homeport::agent {

/// The ports to make for `request` of `source` on `host`, or why it is refused: the application
/// must be at `source` by the generation named, have exactly these ports, be described by this
/// profile and size, and a task must ask for this very move. The error's code is
/// errc::resource_unavailable_try_again where the database may only lag behind.
policy::Result<std::vector<migration::PortSpec>> admit(const Contents& contents,
                                                       const std::string& host,
                                                       std::uint32_t mtu_limit,
                                                       const std::string& source,
                                                       const migration::Prepare& request);

/// admit(), tried again for a moment while the database here may lag behind the source's, and until
/// everything about the networks of the application has been read.
boost::asio::awaitable<policy::Result<std::vector<migration::PortSpec>>> admit_when_known(
    const ControlDatabase& database, std::string host, std::uint32_t mtu_limit, std::string source,
    const migration::Prepare& request);

}  // namespace homeport::agent
