#include "overlay/channel/connect_any.h"

#include <fmt/format.h>

namespace homeport::overlay {

boost::asio::awaitable<policy::Result<Channel>> connect_any(
    TlsContext tls, std::vector<boost::asio::ip::tcp::endpoint> endpoints, ConnectOptions options,
    PeerCheck check) {
  policy::Error last = policy::make_error(
      boost::system::errc::host_unreachable,
      fmt::format("the control database has no control endpoint of {}", options.expected_host));
  for (const auto& endpoint : endpoints) {
    options.endpoint = endpoint;
    auto channel = co_await connect(tls, options, check);
    if (channel) co_return std::move(*channel);
    last = channel.error();
  }
  co_return last;
}

}  // namespace homeport::overlay
