// A channel to a host that listens at several addresses.
#pragma once

#include "overlay/channel/channel.h"

#include <vector>

namespace homeport::overlay {

/// connect() to the first of `endpoints` that answers, in their order; `options.endpoint` is not
/// looked at. The error is that of the last, or host_unreachable where there is none.
boost::asio::awaitable<policy::Result<Channel>> connect_any(
    TlsContext tls, std::vector<boost::asio::ip::tcp::endpoint> endpoints, ConnectOptions options,
    PeerCheck check);

}  // namespace homeport::overlay
