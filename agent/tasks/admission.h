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

/// Whether a task says that this move is to come to `host`; the error as admit()'s.
policy::Result<void> check_task_of(const Contents& contents, const std::string& host,
                                   const migration::Prepare& request);

/// The rows that `request` tells of; what is no UUID is left out.
KnownRows rows_of(const migration::Prepare& request);

/// admit(), tried again for a moment while the database here may lag behind the source's, and until
/// everything about the application and its networks has been read, by the rows that are told.
boost::asio::awaitable<policy::Result<std::vector<migration::PortSpec>>> admit_when_known(
    ControlDatabase& database, std::string host, std::uint32_t mtu_limit, std::string source,
    const migration::Prepare& request);

}  // namespace homeport::agent
