// The value types of the virtual network, in the field's own terms.
#pragma once

#include <boost/asio/ip/address.hpp>
#include <boost/asio/ip/tcp.hpp>

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace homeport::policy {

using IpAddress = boost::asio::ip::address;

/// An address and a TCP port, written as in a URL: 192.0.2.1:6641, [2001:db8::1]:6641.
using Endpoint = boost::asio::ip::tcp::endpoint;
std::string to_string(const Endpoint& endpoint);
/// nullopt for anything else; port 0 and names of hosts are something else.
std::optional<Endpoint> parse_endpoint(std::string_view text);

/// Without a zone (RFC 4007), which means something on one host only; nullopt for anything else.
std::optional<IpAddress> parse_address(std::string_view text);

/// Whether it can be one host's address for those beyond its link: not one of a group or of
/// everybody, nor of the link, the host itself or nobody (RFC 6890), nor IPv4 written as IPv6.
bool is_unicast_beyond_link(const IpAddress& address);

/// VXLAN network identifier (RFC 7348). Networks have those from 1 on; bit 23 is the mark on
/// forwarded frames, and those between are the labels of relayed paths (overlay/datapath).
using Vni = std::uint32_t;
inline constexpr Vni kVniForwardedBit = 1u << 23;
inline constexpr Vni kVniMax = 0x6fffff;

/// How many times an application's bindings have been written by a move or a roll-back. The
/// highest generation is the true one (compare RFC 7432, section 15: MAC mobility).
using Generation = std::uint64_t;
/// A row with a greater one is refused: the next one has to fit into OVSDB's integer. Counting
/// does not get here.
inline constexpr Generation kGenerationMax = Generation{1} << 62;

/// A 48-bit IEEE 802 MAC address.
struct MacAddress {
  std::array<std::uint8_t, 6> bytes{};

  auto operator<=>(const MacAddress&) const = default;
  bool multicast() const { return (bytes[0] & 1) != 0; }

  /// Six pairs of hexadecimal digits with colons; nullopt for anything else.
  static std::optional<MacAddress> parse(std::string_view text);
  std::string to_string() const;
};

inline std::optional<MacAddress> MacAddress::parse(std::string_view text) {
  if (text.size() != 17) return std::nullopt;
  auto nibble = [](char c) -> int {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
  };
  MacAddress mac;
  for (std::size_t i = 0; i < 6; ++i) {
    int high = nibble(text[3 * i]);
    int low = nibble(text[3 * i + 1]);
    if (high < 0 || low < 0 || (i < 5 && text[3 * i + 2] != ':')) return std::nullopt;
    mac.bytes[i] = static_cast<std::uint8_t>(high << 4 | low);
  }
  return mac;
}

inline std::string MacAddress::to_string() const {
  static constexpr char digits[] = "0123456789abcdef";
  std::string text;
  for (std::uint8_t byte : bytes) {
    if (!text.empty()) text += ':';
    text += digits[byte >> 4];
    text += digits[byte & 15];
  }
  return text;
}

}  // namespace homeport::policy
