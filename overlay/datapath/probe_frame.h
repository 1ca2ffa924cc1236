// The bytes of probes (ebpf/probe.h): what is sent, and what comes back. Pure.
#pragma once

#include "overlay/datapath/probe_wire.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace homeport::overlay {

/// Of the outer IP packet, in front of the frame in it: IP, UDP and VXLAN.
constexpr std::uint32_t outer_bytes(bool v6) {
  return (v6 ? 40 : 20) + 8 + 8;
}

/// The outer IP packet of the smallest probe.
constexpr std::uint32_t smallest_probe(bool v6) {
  return outer_bytes(v6) + 14 + 32;
}

/// The ask's frame. No longer than what an IP packet of 65,535 bytes holds.
std::string probe_frame(const ProbeAsk& ask, ProbeTime sent);
/// The payload of a UDP datagram: a VXLAN header (RFC 7348) and that frame.
std::string probe_datagram(const ProbeAsk& ask, ProbeTime sent);

/// What a probe says, of either kind.
struct ProbeSaid {
  std::uint64_t token = 0;
  ProbeTime sent{};
  std::optional<std::uint64_t> heard = {};
};
/// Of a frame, or of its first bytes; nullopt: it is no probe.
std::optional<ProbeSaid> read_probe(std::string_view frame);

/// From the clock of the kernel's programs.
inline ProbeTime probe_time(std::uint64_t nanoseconds) {
  return ProbeTime(std::chrono::nanoseconds(nanoseconds));
}

}  // namespace homeport::overlay
