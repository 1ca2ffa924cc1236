// Packets of a transport as bytes, with all that may stand before its header.
#pragma once

#include "tests/unit/overlay/datapath/frames.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace homeport::overlay {

struct Transport {
  bool v6 = false;
  std::uint8_t protocol = 17;
  unsigned dscp = 0;
  std::uint16_t from = 40000, to = 9;
  unsigned offset = 0;  ///< of a later fragment, in units of 8 bytes
  bool more_fragments = false;
  std::size_t options = 0;                    ///< IPv4, bytes
  std::vector<std::uint8_t> extensions = {};  ///< IPv6, of what kind each is
  std::optional<std::size_t> header = {};     ///< bytes of the transport's that there are
  std::optional<std::size_t> counted = {};    ///< of the payload in the IP header; none: all
  std::string data = {};
};

inline std::string describe(const Transport& packet) {
  return fmt::format(
      "IPv{}, protocol {}, DSCP {}, ports {} to {}, offset {}, more {}, options {}, "
      "extensions {}, header {}",
      packet.v6 ? 6 : 4, packet.protocol, packet.dscp, packet.from, packet.to, packet.offset,
      packet.more_fragments, packet.options, packet.extensions, packet.header.value_or(20));
}

/// Without checksums.
inline std::string frame_of(const Transport& packet, const policy::MacAddress& to,
                            const policy::MacAddress& from, const policy::IpAddress& source,
                            const policy::IpAddress& destination) {
  std::string header = be16(packet.from) + be16(packet.to);
  if (packet.protocol == 17) {
    header += be16(static_cast<unsigned>(8 + packet.data.size())) + be16(0);
  } else {
    header += std::string(8, '\0') + std::string("\x50\x10\x01\x00\0\0\0\0", 8);
    if (packet.protocol == 132) header.resize(12);
  }
  if (packet.header) header.resize(*packet.header);
  std::string payload = header + packet.data;
  const unsigned fragment = packet.offset << 3 | (packet.more_fragments ? 1 : 0);
  if (!packet.v6) {
    const std::size_t counted = packet.counted.value_or(payload.size());
    const std::size_t before = 20 + packet.options;
    const std::string ip = std::string(1, static_cast<char>(0x40 | before / 4)) +
                           static_cast<char>(packet.dscp << 2) +
                           be16(static_cast<unsigned>(before + counted)) + be16(1) +
                           be16(packet.offset | (packet.more_fragments ? 0x2000 : 0)) + "\x40" +
                           static_cast<char>(packet.protocol) + be16(0) + bytes_of(source) +
                           bytes_of(destination) + std::string(packet.options, '\1');
    return ethernet(to, from, 0x0800, ip + payload);
  }
  std::vector<std::uint8_t> kinds = packet.extensions;
  if (fragment != 0) kinds.push_back(44);
  std::size_t before = 0;
  std::uint8_t next = packet.protocol;
  for (auto kind = kinds.rbegin(); kind != kinds.rend(); ++kind) {
    // 8 bytes each; authentication counts 4 of them as one, without the first two.
    std::string extension(8, '\0');
    extension[0] = static_cast<char>(next);
    if (*kind == 44) extension.replace(2, 2, be16(fragment));
    if (*kind == 0 || *kind == 60) extension.replace(2, 2, "\1\4", 2);  // padding
    payload = extension + payload;
    before += extension.size();
    next = *kind;
  }
  const std::size_t counted = packet.counted ? before + *packet.counted : payload.size();
  const unsigned first = 0x6000 | packet.dscp << 6;
  return ethernet(to, from, 0x86dd,
                  be16(first) + be16(0) + be16(static_cast<unsigned>(counted)) +
                      static_cast<char>(next) + "\x40" + bytes_of(source) + bytes_of(destination) +
                      payload);
}

}  // namespace homeport::overlay
