// What the other agent of a move says beyond what its encoding vouches for. Pure: no I/O.
#pragma once

#include "migration/move/move.pb.h"
#include "migration/vm/ram_map.h"
#include "policy/error.h"

#include <boost/asio/ip/tcp.hpp>

#include <span>
#include <vector>

namespace homeport::migration {

/// Where the destination takes lanes; errc::bad_message if one of them is no address and port.
policy::Result<std::vector<boost::asio::ip::tcp::endpoint>> lane_endpoints_of(
    const Prepared& prepared);

/// The blocks of `mine` in the order in which `request` names those of the source: each of them
/// once, with the same size, or errc::invalid_argument.
policy::Result<std::vector<RamBlock>> matching_blocks(const Prepare& request,
                                                      std::span<const RamBlock> mine);

}  // namespace homeport::migration
