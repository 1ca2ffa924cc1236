// Bytes of packets, in network order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace homeport::overlay::ovs {

inline constexpr std::size_t kEthernet = 14;

inline unsigned byte(std::string_view bytes, std::size_t at) {
  return static_cast<std::uint8_t>(bytes[at]);
}

inline unsigned read16(std::string_view bytes, std::size_t at) {
  return byte(bytes, at) << 8 | byte(bytes, at + 1);
}

inline std::string be16(std::size_t value) {
  return {static_cast<char>(value >> 8), static_cast<char>(value)};
}

/// The Internet checksum (RFC 1071); zero over what has a right one in it.
inline std::string checksum(std::string_view bytes) {
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i + 1 < bytes.size(); i += 2) sum += read16(bytes, i);
  if (bytes.size() % 2) sum += byte(bytes, bytes.size() - 1) << 8;
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return be16(~sum & 0xffff);
}

}  // namespace homeport::overlay::ovs
