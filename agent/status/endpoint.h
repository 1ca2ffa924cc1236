// Where the status server listens and where the command line asks it: one notation for both.
#pragma once

#include "policy/error.h"

#include <boost/asio/generic/stream_protocol.hpp>

#include <string_view>

namespace homeport::agent {

using StatusEndpoint = boost::asio::generic::stream_protocol::endpoint;

/// Parses "127.0.0.1:8480", "[::1]:8480" or "unix:/run/homeport/status.sock". An address that is
/// not loopback is refused: the status of a host is for programs on that host.
policy::Result<StatusEndpoint> parse_status_endpoint(std::string_view text);

}  // namespace homeport::agent
