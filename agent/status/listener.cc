#include "agent/status/listener.h"

#include "agent/status/endpoint.h"

#include <fmt/format.h>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>

#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>

namespace homeport::agent {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;
using boost::system::errc::errc_t;
using policy::Result;

std::string path_of(const StatusEndpoint& endpoint) {
  return reinterpret_cast<const sockaddr_un*>(endpoint.data())->sun_path;
}

/// Makes way for a new socket at `path`: removes one that nobody listens on any more.
Result<void> remove_stale_socket(const std::string& path) {
  struct stat info {};
  if (::lstat(path.c_str(), &info) != 0) {
    if (errno == ENOENT) return {};
    return policy::errno_error(fmt::format("Cannot look at {}", path));
  }
  if (!S_ISSOCK(info.st_mode)) {
    return policy::make_error(
        errc_t::file_exists,
        fmt::format("{} exists and is not a socket; remove it or choose another path.", path));
  }
  asio::io_context context;
  asio::local::stream_protocol::socket probe(context);
  error_code ec;
  probe.connect(asio::local::stream_protocol::endpoint(path), ec);
  if (!ec) {
    return policy::make_error(
        errc_t::address_in_use,
        fmt::format("Another program serves the status on {}; stop it or choose another path.",
                    path));
  }
  if (::unlink(path.c_str()) != 0) {
    return policy::errno_error(fmt::format("Cannot remove the old socket {}", path));
  }
  return {};
}

}  // namespace

Result<StatusListener> StatusListener::open(const asio::any_io_executor& executor,
                                            const std::string& address) {
  auto endpoint = parse_status_endpoint(address);
  if (!endpoint) return endpoint.error();
  StatusListener listener(executor);
  const bool is_unix = endpoint->protocol().family() == AF_UNIX;
  if (is_unix) {
    auto removed = remove_stale_socket(path_of(*endpoint));
    if (!removed) return removed.error();
  }
  error_code ec;
  listener.acceptor_.open(endpoint->protocol(), ec);
  if (!ec && !is_unix) listener.acceptor_.set_option(asio::socket_base::reuse_address(true), ec);
  if (!ec) listener.acceptor_.bind(*endpoint, ec);
  if (!ec && is_unix) {
    listener.unix_path_ = path_of(*endpoint);
    if (::chmod(listener.unix_path_.c_str(), 0660) != 0)
      ec.assign(errno, boost::system::system_category());
  }
  if (!ec) listener.acceptor_.listen(asio::socket_base::max_listen_connections, ec);
  if (ec) {
    return policy::Error{
        ec, fmt::format("Cannot listen for status requests on {}: {}; choose another address.",
                        address, ec.message())};
  }
  return listener;
}

void StatusListener::close() {
  if (!acceptor_.is_open()) return;
  error_code ignored;
  acceptor_.close(ignored);
  if (is_unix()) ::unlink(unix_path_.c_str());
}

std::optional<std::uint16_t> StatusListener::port() const {
  error_code ec;
  const StatusEndpoint bound = acceptor_.local_endpoint(ec);
  if (ec || is_unix()) return std::nullopt;
  asio::ip::tcp::endpoint endpoint;
  std::memcpy(endpoint.data(), bound.data(), bound.size());
  return endpoint.port();
}

}  // namespace homeport::agent
