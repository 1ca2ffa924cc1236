#include "agent/status/endpoint.h"

#include <fmt/format.h>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/url/authority_view.hpp>
#include <boost/url/parse.hpp>

#include <sys/un.h>

#include <charconv>
#include <string>

namespace homeport::agent {
namespace {

using boost::system::errc::errc_t;

// A generic endpoint is constructible from anything, so that the error has to be named as one.
policy::Result<StatusEndpoint> bad_endpoint(std::string_view text, std::string_view why) {
  return {boost::system::in_place_error,
          policy::make_error(errc_t::invalid_argument,
                             fmt::format("Status address \"{}\" {}; use a loopback address such as "
                                         "127.0.0.1:8480 or [::1]:8480, or unix:/PATH.",
                                         text, why))};
}

}  // namespace

policy::Result<StatusEndpoint> parse_status_endpoint(std::string_view text) {
  static constexpr std::string_view unix_prefix = "unix:";
  if (text.starts_with(unix_prefix)) {
    std::string_view path = text.substr(unix_prefix.size());
    if (!path.starts_with('/')) return bad_endpoint(text, "does not name an absolute path");
    if (path.size() >= sizeof(sockaddr_un::sun_path)) {
      return bad_endpoint(text, fmt::format("is longer than {} bytes, the limit of unix(7)",
                                            sizeof(sockaddr_un::sun_path) - 1));
    }
    return StatusEndpoint(boost::asio::local::stream_protocol::endpoint(path));
  }

  auto authority = boost::urls::parse_authority(boost::core::string_view(text));
  if (authority.has_error() || authority->has_userinfo()) {
    return bad_endpoint(text, "is not ADDRESS:PORT");
  }
  std::string digits(authority->port());
  std::uint16_t port = 0;
  auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (error != std::errc() || end != digits.data() + digits.size()) {
    return bad_endpoint(text, "does not end with a port number");
  }
  boost::system::error_code ec;
  auto address = boost::asio::ip::make_address(std::string(authority->host_address()), ec);
  if (ec) return bad_endpoint(text, "does not begin with an IP address");
  if (!address.is_loopback()) return bad_endpoint(text, "is not loopback");
  return StatusEndpoint(boost::asio::ip::tcp::endpoint(address, port));
}

}  // namespace homeport::agent
