// Statements as bytes (negotiation.proto). What is decoded is within the bounds below; whether it
// makes sense to the receiver is for the negotiator to see.
#pragma once

#include "overlay/channel/protocol.h"
#include "overlay/negotiation/relay_statement.h"
#include "overlay/negotiation/statement.h"
#include "policy/error.h"

#include <cstddef>
#include <span>
#include <string>

namespace homeport::overlay {

/// What this build speaks. New fields that an older peer may ignore need no new version.
inline constexpr ProtocolVersions kNegotiationVersions{.oldest = 1, .newest = 1};

/// Longer statements are not looked at; none with kMostEnds and kMostPaths is longer.
inline constexpr std::size_t kLongestStatement = 32 << 10;  // bytes

/// Likewise of those about relaying, within their bounds.
inline constexpr std::size_t kLongestRelayStatement = 128 << 10;  // bytes

inline constexpr std::size_t kLongestInterface = 15;  ///< IFNAMSIZ - 1
inline constexpr std::size_t kMostLabels = 8;         ///< of an end
inline constexpr std::size_t kLongestName = 63;       ///< of labels and hosts
inline constexpr std::size_t kLongestRefusal = 128;   ///< bytes
inline constexpr policy::Micros kLongestRtt{60'000'000};
inline constexpr policy::Micros kOldestReport{86'400'000'000};
inline constexpr std::uint64_t kMostBandwidth = 1'000'000'000'000'000;  ///< bit/s
inline constexpr std::uint32_t kMostMtu = 65'535;
inline constexpr std::uint32_t kMostCost = 65'535;

std::string encode(const PathStatement& statement);

/// Errors: message_size, bad_message, protocol_not_supported; the sentence says what is wrong.
policy::Result<PathStatement> decode(std::span<const std::byte> bytes);

std::string encode(const RelayStatement& statement);
/// Errors: likewise.
policy::Result<RelayStatement> decode_relay(std::span<const std::byte> bytes);

}  // namespace homeport::overlay
