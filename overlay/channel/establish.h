// How a TCP connection becomes a channel: TLS, who is it, may it, Hello. The same for both ends.
#pragma once

#include "overlay/channel/connection.h"

#include <memory>

namespace homeport::overlay {

/// Notices a dead peer within `dead_peer` (at least 1 s) and sends without delay.
policy::Result<void> set_tcp_options(boost::asio::ip::tcp::socket& socket,
                                     std::chrono::milliseconds dead_peer);

/// The connecting end, over a connection that stands.
boost::asio::awaitable<policy::Result<Channel>> establish_client(
    std::shared_ptr<Connection> connection, TlsContext tls, ConnectOptions options,
    PeerCheck check);

/// The accepting end, for channels of one purpose. A peer that is refused is told why, if it has
/// shown a good certificate.
boost::asio::awaitable<policy::Result<Channel>> establish_server(
    std::shared_ptr<Connection> connection, TlsContext tls, Purpose purpose, Timeouts timeouts,
    PeerCheck check);

}  // namespace homeport::overlay
