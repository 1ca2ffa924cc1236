// What is outside of a frame in the tunnel.
#pragma once

#include "tests/unit/overlay/datapath/fabric.h"
#include "tests/unit/overlay/datapath/frames.h"

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>

namespace homeport::overlay {

/// What the outer header of a tunnel's packet says.
struct Outer {
  policy::IpAddress from, to;
  unsigned dscp = 0;
};

inline policy::IpAddress address_at(const std::string& frame, std::size_t at, bool v6) {
  if (!v6) return boost::asio::ip::address_v4(read16(frame, at) << 16 | read16(frame, at + 2));
  boost::asio::ip::address_v6::bytes_type bytes;
  std::copy_n(frame.begin() + static_cast<std::ptrdiff_t>(at), bytes.size(), bytes.begin());
  return boost::asio::ip::address_v6(bytes);
}

/// nullopt: it is no packet of the tunnel, or does not have `payload` in it.
inline std::optional<Outer> outer_of(const std::string& frame, const std::string& payload) {
  if (frame.size() < 62 || frame.find(payload) == std::string::npos) return std::nullopt;
  const bool v6 = read16(frame, 12) == 0x86dd;
  if (!v6 && read16(frame, 12) != 0x0800) return std::nullopt;
  if (read16(frame, (v6 ? 54 : 34) + 2) != kUdpPort) return std::nullopt;
  const unsigned traffic_class = v6 ? read16(frame, 14) >> 4 : read16(frame, 14);
  return Outer{address_at(frame, v6 ? 22 : 26, v6), address_at(frame, v6 ? 38 : 30, v6),
               (traffic_class & 0xff) >> 2};
}

}  // namespace homeport::overlay
