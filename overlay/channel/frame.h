// The frame of a channel: a prefix of 8 bytes, a protobuf message (the header), raw payload.
//
//   0               4               8                   8 + header_size
//   +---------------+---------------+-------------------+------------------------+
//   | header_size   | payload_size  | header (protobuf) | payload (may be empty) |
//   | u32 big end.  | u32 big end.  |                   |                        |
//   +---------------+---------------+-------------------+------------------------+
//
// Pure functions over bytes: no I/O, nothing allocated on the word of a peer.
#pragma once

#include "policy/error.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace homeport::overlay {

inline constexpr std::size_t kFramePrefixSize = 8;
inline constexpr std::uint32_t kMaxFrameHeader = 1u << 20;   ///< bytes
inline constexpr std::uint32_t kMaxFramePayload = 4u << 20;  ///< bytes

struct FramePrefix {
  std::uint32_t header_size = 0;   ///< bytes of protobuf
  std::uint32_t payload_size = 0;  ///< bytes of raw payload

  bool operator==(const FramePrefix&) const = default;
};

/// The most a receiver accepts, in bytes. payload = 0: no payload is expected.
struct FrameLimits {
  std::uint32_t header = kMaxFrameHeader;
  std::uint32_t payload = kMaxFramePayload;
};

/// Reads the first kFramePrefixSize bytes of `bytes` and checks both sizes against `limits`.
/// Errors: bad_message (too few bytes, or a payload where none is expected), message_size.
policy::Result<FramePrefix> parse_frame_prefix(std::span<const std::byte> bytes,
                                               const FrameLimits& limits);

std::array<std::byte, kFramePrefixSize> encode_frame_prefix(const FramePrefix& prefix);

}  // namespace homeport::overlay
