#include "overlay/channel/frame.h"

#include <boost/endian/conversion.hpp>

#include <fmt/format.h>

namespace homeport::overlay {

using boost::system::errc::bad_message;
using boost::system::errc::message_size;

policy::Result<FramePrefix> parse_frame_prefix(std::span<const std::byte> bytes,
                                               const FrameLimits& limits) {
  if (bytes.size() < kFramePrefixSize) {
    return policy::make_error(bad_message, fmt::format("a frame begins with {} bytes, got {}",
                                                       kFramePrefixSize, bytes.size()));
  }
  const auto* data = reinterpret_cast<const unsigned char*>(bytes.data());
  FramePrefix prefix{boost::endian::load_big_u32(data), boost::endian::load_big_u32(data + 4)};
  if (prefix.header_size > limits.header) {
    return policy::make_error(message_size,
                              fmt::format("a frame's header of {} bytes is over the limit of {}",
                                          prefix.header_size, limits.header));
  }
  if (prefix.payload_size > 0 && limits.payload == 0) {
    return policy::make_error(bad_message, fmt::format("a frame carries {} bytes of payload where "
                                                       "none belongs",
                                                       prefix.payload_size));
  }
  if (prefix.payload_size > limits.payload) {
    return policy::make_error(message_size,
                              fmt::format("a frame's payload of {} bytes is over the limit of {}",
                                          prefix.payload_size, limits.payload));
  }
  return prefix;
}

std::array<std::byte, kFramePrefixSize> encode_frame_prefix(const FramePrefix& prefix) {
  std::array<std::byte, kFramePrefixSize> bytes;
  auto* data = reinterpret_cast<unsigned char*>(bytes.data());
  boost::endian::store_big_u32(data, prefix.header_size);
  boost::endian::store_big_u32(data + 4, prefix.payload_size);
  return bytes;
}

}  // namespace homeport::overlay
