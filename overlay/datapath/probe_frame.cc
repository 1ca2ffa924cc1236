#include "overlay/datapath/probe_frame.h"

#include "overlay/datapath/datapath.h"
#include "overlay/datapath/ebpf/probe.h"

#include <boost/endian/conversion.hpp>

#include <algorithm>
#include <array>
#include <cstring>

namespace homeport::overlay {

namespace {

using boost::endian::big_to_native;
using boost::endian::native_to_big;

constexpr std::size_t kEthernet = 14, kProtocolAt = 12;
constexpr std::uint32_t kLongestPacket = 65535;
static_assert(sizeof(hp_probe) == 32);

template <std::size_t Size>
std::string text(const std::array<std::uint8_t, Size>& bytes) {
  return {bytes.begin(), bytes.end()};
}

std::string protocol() {
  constexpr std::array<std::uint8_t, 2> bytes{HP_PROBE_PROTOCOL >> 8, HP_PROBE_PROTOCOL & 0xff};
  return text(bytes);
}

}  // namespace

std::string probe_frame(const ProbeAsk& ask, ProbeTime sent) {
  constexpr std::array<std::uint8_t, 6> to HP_PROBE_ASK_MAC;
  std::string frame = text(to) + text(kRouterMac.bytes) + protocol();
  hp_probe probe{};
  probe.magic = native_to_big(HP_PROBE_MAGIC);
  probe.token = native_to_big(ask.token);
  probe.sent = native_to_big(
      static_cast<std::uint64_t>(std::chrono::nanoseconds(sent.time_since_epoch()).count()));
  frame.append(reinterpret_cast<const char*>(&probe), sizeof(probe));
  const std::uint32_t outside = outer_bytes(ask.pair.local.is_v6());
  const std::uint32_t size = std::clamp(ask.size, outside, kLongestPacket);
  frame.resize(std::max<std::size_t>(frame.size(), size - outside), '\0');
  return frame;
}

std::string probe_datagram(const ProbeAsk& ask, ProbeTime sent) {
  // The one flag says that there is a network, which is 0 like all the rest.
  return std::string("\x08\0\0\0\0\0\0\0", 8) + probe_frame(ask, sent);
}

std::optional<ProbeSaid> read_probe(std::string_view frame) {
  hp_probe probe{};
  if (frame.size() < kEthernet + sizeof(probe) || frame.substr(kProtocolAt, 2) != protocol()) {
    return std::nullopt;
  }
  std::memcpy(&probe, frame.data() + kEthernet, sizeof(probe));
  if (probe.magic != native_to_big(HP_PROBE_MAGIC)) return std::nullopt;
  ProbeSaid said{big_to_native(probe.token), probe_time(big_to_native(probe.sent)), {}};
  if (probe.heard != 0) said.heard = big_to_native(probe.heard);
  return said;
}

}  // namespace homeport::overlay
