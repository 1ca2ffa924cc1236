#include "agent/cli/arguments.h"

#include "policy/path/end_text.h"

#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

namespace homeport::agent {
namespace {

/// A check that accepts what `accepts` does and says what is wanted otherwise.
CLI::Validator make_check(const std::string& type, const std::string& wanted,
                          bool (*accepts)(const std::string&)) {
  return CLI::Validator(
      [=](std::string& text) { return accepts(text) ? "" : "\"" + text + "\" is not " + wanted; },
      type);
}

}  // namespace

const CLI::Validator kIsGiven =
    make_check("", "a name", [](const std::string& text) { return !text.empty(); });
const CLI::Validator kIsIpAddress =
    make_check("ADDRESS", "an IPv4 or IPv6 address",
               [](const std::string& text) { return policy::parse_address(text).has_value(); });
const CLI::Validator kIsMacAddress =
    make_check("MAC", "a MAC address such as 02:00:00:00:00:01",
               [](const std::string& text) { return policy::MacAddress::parse(text).has_value(); });
const CLI::Validator kIsSubnet =
    make_check("PREFIX", "a prefix without host bits such as 10.1.0.0/24 or fd01::/64",
               [](const std::string& text) { return Subnet::parse(text).has_value(); });
const CLI::Validator kIsEndpoint =
    make_check("ADDRESS:PORT", "an address and a port such as 192.0.2.1:6650 or [2001:db8::1]:6650",
               [](const std::string& text) { return parse_endpoint(text).has_value(); });
const CLI::Validator kIsKeyValue =
    make_check("KEY=VALUE", "KEY=VALUE", [](const std::string& text) {
      auto equals = text.find('=');
      return equals != std::string::npos && equals != 0;
    });
const CLI::Validator kIsPathEnd(
    [](std::string& text) {
      auto end = policy::parse_end(text);
      return end ? std::string() : end.error().message;
    },
    "END");
const CLI::Validator kIsPorts(
    [](std::string& text) {
      auto ports = policy::parse_ports(text);
      return ports ? std::string() : ports.error().message;
    },
    "PORTS");
const CLI::Validator kIsLabel =
    make_check("LABEL", "a label of interfaces: 1 to 63 bytes without a space",
               [](const std::string& text) { return policy::is_label(text); });
const CLI::Validator kIsTrafficClass = make_check(
    "CLASS", "interactive, default or bulk",
    [](const std::string& text) { return policy::parse_traffic_class(text).has_value(); });

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
