// Frames as bytes, for what sockets do not send.
#pragma once

#include "policy/address.h"

#include <boost/asio/ip/address.hpp>

#include <cstdint>
#include <string>

namespace homeport::overlay {

inline std::string bytes_of(const policy::MacAddress& mac) {
  return {reinterpret_cast<const char*>(mac.bytes.data()), mac.bytes.size()};
}

inline std::string bytes_of(const policy::IpAddress& ip) {
  if (ip.is_v4()) {
    auto bytes = ip.to_v4().to_bytes();
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  auto bytes = ip.to_v6().to_bytes();
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

inline std::string be16(unsigned value) {
  return {static_cast<char>(value >> 8), static_cast<char>(value)};
}

inline unsigned read16(const std::string& bytes, std::size_t at) {
  return static_cast<unsigned>(static_cast<std::uint8_t>(bytes.at(at)) << 8 |
                               static_cast<std::uint8_t>(bytes.at(at + 1)));
}

/// The Internet checksum (RFC 1071) of a string of even length: 0 when it contains a right one.
inline unsigned internet_checksum(const std::string& bytes) {
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i + 1 < bytes.size(); i += 2) sum += read16(bytes, i);
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return ~sum & 0xffff;
}

/// The same over an IPv6 frame's ICMPv6 message and pseudo-header; 0 when right.
inline unsigned icmp6_checksum(const std::string& frame) {
  const std::string message = frame.substr(54);
  return internet_checksum(frame.substr(22, 32) + be16(0) +
                           be16(static_cast<unsigned>(message.size())) + be16(0) + be16(58) +
                           message);
}

inline constexpr policy::MacAddress kBroadcast = {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};

inline std::string ethernet(const policy::MacAddress& to, const policy::MacAddress& from,
                            unsigned type, const std::string& payload) {
  return bytes_of(to) + bytes_of(from) + be16(type) + payload;
}

enum class Arp { request = 1, reply = 2 };

inline std::string arp(Arp operation, const policy::MacAddress& sender,
                       const policy::IpAddress& sender_ip, const policy::IpAddress& target_ip,
                       const policy::MacAddress& to = kBroadcast) {
  return ethernet(to, sender, 0x0806,
                  be16(1) + be16(0x0800) + std::string("\6\4", 2) +
                      be16(static_cast<unsigned>(operation)) + bytes_of(sender) +
                      bytes_of(sender_ip) + std::string(6, '\0') + bytes_of(target_ip));
}

/// RARP as virtual machine monitors announce a guest with it; `named` is the MAC address inside.
inline std::string rarp(const policy::MacAddress& sender, const policy::MacAddress& named,
                        const std::string& ip = std::string(4, '\0')) {
  return ethernet(kBroadcast, sender, 0x8035,
                  be16(1) + be16(0x0800) + std::string("\6\4", 2) + be16(3) + bytes_of(named) + ip +
                      bytes_of(named) + ip);
}

/// An ICMPv6 message of neighbor discovery, its checksum right.
inline std::string neighbor_discovery(const policy::MacAddress& to, const policy::MacAddress& from,
                                      const policy::IpAddress& source,
                                      const policy::IpAddress& destination, unsigned char type,
                                      const policy::IpAddress& target,
                                      const std::string& options = {}) {
  std::string message =
      std::string(1, static_cast<char>(type)) + std::string(7, '\0') + bytes_of(target) + options;
  std::string frame =
      ethernet(to, from, 0x86dd,
               std::string("\x60\0\0\0", 4) + be16(static_cast<unsigned>(message.size())) +
                   std::string("\x3a\xff", 2) + bytes_of(source) + bytes_of(destination) + message);
  const unsigned checksum = icmp6_checksum(frame);
  frame[56] = static_cast<char>(checksum >> 8);
  frame[57] = static_cast<char>(checksum);
  return frame;
}

inline constexpr policy::MacAddress kAllNodes = {{0x33, 0x33, 0, 0, 0, 1}};

/// An unsolicited neighbor advertisement of `target` at `named`, with the override flag.
inline std::string advertisement(const policy::MacAddress& sender, const policy::MacAddress& named,
                                 const policy::IpAddress& source, const policy::IpAddress& target) {
  const auto all_nodes = boost::asio::ip::make_address("ff02::1");
  std::string frame = neighbor_discovery(kAllNodes, sender, source, all_nodes, 136, target,
                                         std::string("\2\1", 2) + bytes_of(named));
  frame[58] = 0x20;
  frame[56] = frame[57] = 0;
  const unsigned checksum = icmp6_checksum(frame);
  frame[56] = static_cast<char>(checksum >> 8);
  frame[57] = static_cast<char>(checksum);
  return frame;
}

/// An IPv4 frame with its header's checksum filled in, which a host's own stack looks at.
inline std::string with_header_checksum(std::string frame) {
  frame.replace(24, 2, be16(internet_checksum(frame.substr(14, 20))));
  return frame;
}

/// An IPv4 or IPv6 frame of `length` bytes with a TCP or UDP header; its checksums are not filled.
inline std::string transport_frame(const policy::MacAddress& to, const policy::MacAddress& from,
                                   const policy::IpAddress& source,
                                   const policy::IpAddress& destination, unsigned char protocol,
                                   std::size_t length, bool dont_fragment = true) {
  std::string ip;
  if (source.is_v4()) {
    ip = std::string("\x45\0", 2) + be16(static_cast<unsigned>(length - 14)) + be16(1) +
         be16(dont_fragment ? 0x4000 : 0) + "\x40" + static_cast<char>(protocol) + be16(0) +
         bytes_of(source) + bytes_of(destination);
  } else {
    ip = std::string("\x60\0\0\0", 4) + be16(static_cast<unsigned>(length - 54)) +
         static_cast<char>(protocol) + "\x40" + bytes_of(source) + bytes_of(destination);
  }
  std::string frame = ethernet(to, from, source.is_v4() ? 0x0800 : 0x86dd, ip);
  std::string transport(20, '\0');
  transport[12] = 0x50;  // TCP: five words of header.
  frame += be16(4000) + be16(5000) + transport.substr(4);
  frame.resize(length, 'x');
  return frame;
}

}  // namespace homeport::overlay
