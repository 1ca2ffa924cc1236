// A connection of the status server: TCP or unix socket, with deadlines.
#pragma once

#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/beast/core/basic_stream.hpp>

namespace homeport::agent {

using StatusStream = boost::beast::basic_stream<boost::asio::generic::stream_protocol>;

}  // namespace homeport::agent
