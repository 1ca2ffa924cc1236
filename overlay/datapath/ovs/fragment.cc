#include "overlay/datapath/ovs/fragment.h"

#include "overlay/datapath/ovs/bytes.h"

#include <algorithm>
#include <cstdint>

namespace homeport::overlay::ovs {

namespace {

constexpr std::size_t kIpv4 = 20;
constexpr std::size_t kLongestPacket = 65535;
/// Of the third word of the header: don't fragment, more fragments, offset in units of 8 bytes.
constexpr unsigned kDont = 0x4000, kMore = 0x2000, kOffset = 0x1fff;
constexpr std::size_t kUnit = 8;

/// A whole IPv4 packet.
struct Packet {
  std::string_view header, payload;
};

std::optional<Packet> parse(std::string_view frame) {
  if (frame.size() < kEthernet + kIpv4 || read16(frame, 12) != 0x0800) return std::nullopt;
  const std::string_view ip = frame.substr(kEthernet);
  const std::size_t header = (byte(ip, 0) & 0xf) * 4, length = read16(ip, 2);
  if (byte(ip, 0) >> 4 != 4 || header < kIpv4 || length < header || length > ip.size()) {
    return std::nullopt;
  }
  if (checksum(ip.substr(0, header)) != std::string(2, '\0')) return std::nullopt;
  return Packet{ip.substr(0, header), ip.substr(header, length - header)};
}

/// Those options that every fragment has (RFC 791, 3.1: the high bit of the type), filled up to
/// whole words. nullopt: they are malformed.
std::optional<std::string> copied(std::string_view options) {
  std::string result;
  while (!options.empty() && options[0] != 0) {  // Up to the end of the list.
    std::size_t length = 1;
    if (options[0] != 1) {  // Every other but "no operation" says how long it is.
      if (options.size() < 2) return std::nullopt;
      length = byte(options, 1);
      if (length < 2 || length > options.size()) return std::nullopt;
      if (byte(options, 0) & 0x80) result += options.substr(0, length);
    }
    options.remove_prefix(length);
  }
  result.resize((result.size() + 3) / 4 * 4, '\0');
  return result;
}

/// The header with those options, for `payload`.
std::string part(std::string_view frame, std::string_view header, std::string_view options,
                 unsigned place, std::string_view payload) {
  const std::size_t length = kIpv4 + options.size();
  std::string mine(header.substr(0, kIpv4));
  mine += options;
  mine[0] = static_cast<char>(0x40 | length / 4);
  mine.replace(2, 2, be16(length + payload.size()));
  mine.replace(6, 2, be16(place));
  mine.replace(10, 2, std::string(2, '\0'));
  mine.replace(10, 2, checksum(mine));
  return std::string(frame.substr(0, kEthernet)) + mine + std::string(payload);
}

}  // namespace

std::optional<std::vector<std::string>> cut(std::string_view frame, std::size_t mtu) {
  const auto packet = parse(frame);
  if (!packet || packet->header.size() + packet->payload.size() <= mtu) return std::nullopt;
  const unsigned place = read16(packet->header, 6);
  const std::size_t before = (place & kOffset) * kUnit;
  std::string_view rest = packet->payload;
  if (place & kDont || before + rest.size() + kIpv4 > kLongestPacket) return std::nullopt;
  if (place & kMore && rest.size() % kUnit) return std::nullopt;
  std::string options(packet->header.substr(kIpv4));
  const auto later = copied(options);
  if (!later || mtu < packet->header.size() + kUnit) return std::nullopt;

  std::vector<std::string> parts;
  for (std::size_t done = 0; !rest.empty(); options = *later) {
    if (parts.size() == kMostFragments) return std::nullopt;
    const std::size_t room = mtu - kIpv4 - options.size();
    const bool last = rest.size() <= room;
    const std::size_t now = last ? rest.size() : room / kUnit * kUnit;
    const unsigned more = last ? place & kMore : kMore;
    parts.push_back(part(frame, packet->header, options,
                         static_cast<unsigned>((before + done) / kUnit) | more,
                         rest.substr(0, now)));
    rest.remove_prefix(now);
    done += now;
  }
  return parts;
}

}  // namespace homeport::overlay::ovs
