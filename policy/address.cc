#include "policy/address.h"

#include <fmt/format.h>

#include <charconv>

namespace homeport::policy {

std::string to_string(const Endpoint& endpoint) {
  const std::string address = endpoint.address().to_string();
  return endpoint.address().is_v6() ? fmt::format("[{}]:{}", address, endpoint.port())
                                    : fmt::format("{}:{}", address, endpoint.port());
}

std::optional<Endpoint> parse_endpoint(std::string_view text) {
  const auto colon = text.rfind(':');
  if (colon == text.npos) return std::nullopt;
  std::string_view host = text.substr(0, colon);
  const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  boost::system::error_code bad_address;
  const auto address = boost::asio::ip::make_address(std::string(host), bad_address);
  if (bad_address || address.is_v6() != bracketed) return std::nullopt;
  std::uint16_t port = 0;
  const char* const last = text.data() + text.size();
  const auto [end, bad_port] = std::from_chars(text.data() + colon + 1, last, port);
  if (bad_port != std::errc() || end != last || port == 0) return std::nullopt;
  return Endpoint(address, port);
}

std::optional<IpAddress> parse_address(std::string_view text) {
  boost::system::error_code error;
  auto address = boost::asio::ip::make_address(std::string(text), error);
  if (error || text.find('%') != text.npos) return std::nullopt;
  return address;
}

bool is_unicast_beyond_link(const IpAddress& address) {
  if (address.is_unspecified() || address.is_loopback() || address.is_multicast()) return false;
  if (address.is_v6()) return !address.to_v6().is_link_local() && !address.to_v6().is_v4_mapped();
  const auto bytes = address.to_v4().to_bytes();
  return bytes[0] != 0 && bytes[0] < 240 && !(bytes[0] == 169 && bytes[1] == 254);
}

}  // namespace homeport::policy
