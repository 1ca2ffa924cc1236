// Answers to packets that do not fit the tunnel: path MTU signals (RFC 1191, RFC 8201) in the name
// of the destination, as the eBPF datapath gives them (overlay/datapath/ebpf/too_big.h). A switch
// cannot make a packet: a flow hands it to the agent. Pure.
#pragma once

#include "policy/address.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace homeport::overlay::ovs {

/// What a flow tells of a packet that it hands over: whom to answer, what would fit, and where that
/// goes on.
struct TooBigTag {
  policy::MacAddress sender;  ///< The port's.
  std::uint16_t mtu = 0;      ///< Of its network, in bytes of an IP packet.
  std::uint8_t table = 0;     ///< Which takes parts of it.
  bool operator==(const TooBigTag&) const = default;
};

/// The tag as userdata of the action controller(): "02.00.00.00.00.01.05.96.e2".
std::string write_tag(const TooBigTag& tag);
/// Read back from the bytes that come with the packet; nullopt: it is no such tag.
std::optional<TooBigTag> read_tag(std::string_view bytes);

/// The frame that answers `frame`, of which there were `length` bytes. nullopt where it fits, or
/// none is allowed: to errors, later fragments, groups over IPv4, anything but IP, IPv4 that may be
/// fragmented or has options. At least 1280 bytes of `frame` are looked at and quoted.
std::optional<std::string> answer_too_big(std::string_view frame, std::size_t length,
                                          const TooBigTag& tag);

}  // namespace homeport::overlay::ovs
