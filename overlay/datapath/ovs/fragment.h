// IPv4 packets that do not fit the tunnel and may be fragmented (RFC 791), cut into what does fit.
// A switch cannot do that: a flow hands them to the agent, which hands back the parts. Pure.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace homeport::overlay::ovs {

/// Into more parts than that nothing is cut: the longest packet in parts of 576 bytes.
inline constexpr std::size_t kMostFragments = 128;

/// The Ethernet frames into which `frame` is cut so that no IP packet is longer than `mtu` bytes,
/// in order. nullopt where it must not be cut, need not be or cannot be: anything but IPv4, not all
/// of it there, malformed, with a wrong header checksum (which new ones would hide).
std::optional<std::vector<std::string>> cut(std::string_view frame, std::size_t mtu);

}  // namespace homeport::overlay::ovs
