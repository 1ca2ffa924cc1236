#include "agent/cli/arguments.h"

#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <boost/url/authority_view.hpp>
#include <boost/url/parse.hpp>

#include <charconv>

namespace homeport::agent {
namespace {

bool whole_number(std::string_view digits, unsigned max, unsigned& value) {
  auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  return error == std::errc() && end == digits.data() + digits.size() && value <= max;
}

/// A check that accepts what `accepts` does and says what is wanted otherwise.
CLI::Validator make_check(const std::string& type, const std::string& wanted,
                          bool (*accepts)(const std::string&)) {
  return CLI::Validator(
      [=](std::string& text) { return accepts(text) ? "" : "\"" + text + "\" is not " + wanted; },
      type);
}

}  // namespace

const CLI::Validator kIsIpAddress =
    make_check("ADDRESS", "an IPv4 or IPv6 address", [](const std::string& text) {
      boost::system::error_code ec;
      boost::asio::ip::make_address(text, ec);
      return !ec;
    });
const CLI::Validator kIsMacAddress =
    make_check("MAC", "a MAC address such as 02:00:00:00:00:01",
               [](const std::string& text) { return policy::MacAddress::parse(text).has_value(); });
const CLI::Validator kIsSubnet =
    make_check("PREFIX", "a prefix without host bits such as 10.1.0.0/24 or fd01::/64",
               [](const std::string& text) { return parse_subnet(text).has_value(); });
const CLI::Validator kIsEndpoint =
    make_check("ADDRESS:PORT", "an address and a port such as 192.0.2.1:6650 or [2001:db8::1]:6650",
               [](const std::string& text) { return parse_endpoint(text).has_value(); });
const CLI::Validator kIsKeyValue =
    make_check("KEY=VALUE", "KEY=VALUE", [](const std::string& text) {
      auto equals = text.find('=');
      return equals != std::string::npos && equals != 0;
    });

std::optional<Subnet> parse_subnet(std::string_view text) {
  std::size_t slash = text.find('/');
  if (slash == std::string_view::npos) return std::nullopt;
  boost::system::error_code ec;
  Subnet subnet;
  subnet.address = boost::asio::ip::make_address(std::string(text.substr(0, slash)), ec);
  unsigned longest = subnet.address.is_v4() ? 32 : 128;
  if (ec || !whole_number(text.substr(slash + 1), longest, subnet.prefix_length)) {
    return std::nullopt;
  }
  using namespace boost::asio::ip;
  auto bits = static_cast<unsigned short>(subnet.prefix_length);
  bool canonical =
      subnet.address.is_v4()
          ? network_v4(subnet.address.to_v4(), bits).network() == subnet.address.to_v4()
          : network_v6(subnet.address.to_v6(), bits).network() == subnet.address.to_v6();
  if (!canonical) return std::nullopt;
  return subnet;
}

std::optional<Endpoint> parse_endpoint(std::string_view text) {
  auto authority = boost::urls::parse_authority(boost::core::string_view(text));
  if (authority.has_error() || authority->has_userinfo()) return std::nullopt;
  boost::system::error_code ec;
  auto address = boost::asio::ip::make_address(std::string(authority->host_address()), ec);
  std::string digits(authority->port());
  unsigned port = 0;
  if (ec || !whole_number(digits, 65'535, port)) return std::nullopt;
  return Endpoint(address, static_cast<std::uint16_t>(port));
}

std::vector<policy::IpAddress> to_addresses(const std::vector<std::string>& texts) {
  std::vector<policy::IpAddress> addresses;
  for (const std::string& text : texts) addresses.push_back(boost::asio::ip::make_address(text));
  return addresses;
}

StringMap to_map(const std::vector<std::string>& key_values) {
  StringMap map;
  for (const std::string& text : key_values) {
    std::size_t equals = text.find('=');
    map[text.substr(0, equals)] = text.substr(equals + 1);
  }
  return map;
}

CLI::Option* add_repeated(CLI::App& command, const std::string& name,
                          std::vector<std::string>& values, const std::string& help) {
  return command.add_option(name, values, help)->allow_extra_args(false);
}

}  // namespace homeport::agent
