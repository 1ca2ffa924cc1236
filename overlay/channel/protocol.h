// The protocol between agents, and how two of different versions agree.
//
// Each side's hello names the oldest and the newest version of the protocol that it speaks. The
// channel uses the newest that both do. Where there is none, the channel is refused, with both
// ranges in the reason, and whatever it was for fails before it has begun. The version of the
// software decides nothing. New fields and messages that an older peer may ignore need no new
// version; anything else does, and the older one is spoken for as long as hosts may have it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>

namespace homeport::overlay {

struct ProtocolVersions {
  std::uint32_t oldest = 0;
  std::uint32_t newest = 0;
};

/// What this build speaks. Defined in a file of its own: tests of upgrades link another one.
extern const ProtocolVersions kProtocol;

constexpr std::optional<std::uint32_t> agreed_version(const ProtocolVersions& one,
                                                      const ProtocolVersions& other) {
  const std::uint32_t newest = std::min(one.newest, other.newest);
  if (newest < std::max(one.oldest, other.oldest) || newest == 0) return std::nullopt;
  return newest;
}

}  // namespace homeport::overlay
