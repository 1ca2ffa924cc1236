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

}  // namespace homeport::policy
