#include "overlay/datapath/ovs/too_big.h"

#include "overlay/datapath/datapath.h"
#include "overlay/datapath/ovs/bytes.h"

#include <fmt/format.h>

#include <algorithm>

namespace homeport::overlay::ovs {

namespace {

constexpr std::size_t kIpv4 = 20, kIpv6 = 40, kIcmp = 8;
/// An answer is not to be longer than every path carries (RFC 1812, 4.3.2.3; RFC 4443, 2.4).
constexpr std::size_t kMostIpv4 = 576, kMostIpv6 = 1280;
constexpr unsigned kIpv6MinMtu = 1280;
enum Protocol {
  kHopByHop = 0,
  kIcmpV4 = 1,
  kRouting = 43,
  kFragment = 44,
  kIcmpV6 = 58,
  kAuthentication = 51,
  kOptions = 60
};

std::string text(const policy::MacAddress& mac) {
  return {reinterpret_cast<const char*>(mac.bytes.data()), mac.bytes.size()};
}

bool to_group(std::string_view frame) {
  return byte(frame, 0) & 1;
}

/// The router's link-local address, of the form that its MAC address makes (RFC 4291, appendix A):
/// who answers for a group, which cannot be a source itself (RFC 4443, 2.2).
std::string router_address() {
  std::string mac = text(kRouterMac);
  mac[0] = static_cast<char>(mac[0] ^ 2);
  return std::string("\xfe\x80\0\0\0\0\0\0", 8) + mac.substr(0, 3) + "\xff\xfe" + mac.substr(3);
}

/// To the sender, from whom it believes that it has sent to: one that was routed has left the
/// router already, and has the router's address for its source. The router speaks for groups.
std::string ethernet(std::string_view frame, const TooBigTag& tag) {
  const std::string router = text(kRouterMac);
  const bool for_another = frame.substr(6, 6) == router || to_group(frame);
  const std::string_view from = for_another ? router : frame.substr(0, 6);
  return text(tag.sender) + std::string(from) + std::string(frame.substr(12, 2));
}

std::optional<std::string> answer_v4(std::string_view frame, std::size_t length,
                                     const TooBigTag& tag) {
  const std::string_view ip = frame.substr(kEthernet);
  // Version 4 without options, and enough to tell the type of an ICMP message.
  if (ip.size() < kIpv4 + 8 || byte(ip, 0) != 0x45) return std::nullopt;
  const std::size_t packet = read16(ip, 2);
  if (packet > length - kEthernet || packet <= tag.mtu) return std::nullopt;
  const unsigned place = read16(ip, 6);
  if (!(place & 0x4000)) return std::nullopt;  // It may be fragmented.
  if (place & 0x1fff) return std::nullopt;     // A later fragment.
  if (byte(ip, 9) == kIcmpV4) {
    const unsigned type = byte(ip, kIpv4);
    if (type != 0 && type != 8) return std::nullopt;  // Echo, both ways.
  }
  // RFC 1122, 3.2.2: nobody is told that is not one host.
  const unsigned source = byte(ip, 12), destination = byte(ip, 16);
  if (source == 0 || source == 127 || source >= 224 || destination >= 224) return std::nullopt;

  const std::string_view quote = ip.substr(0, std::min(packet, kMostIpv4 - kIpv4 - kIcmp));
  std::string icmp = std::string("\3\4\0\0\0\0", 6) + be16(tag.mtu) + std::string(quote);
  icmp.replace(2, 2, checksum(icmp));
  std::string header = std::string("\x45\0", 2) + be16(kIpv4 + icmp.size()) +
                       std::string("\0\0\0\0\x40\1\0\0", 8) + std::string(ip.substr(16, 4)) +
                       std::string(ip.substr(12, 4));
  header.replace(10, 2, checksum(header));
  return ethernet(frame, tag) + header + icmp;
}

/// Whether an ICMPv6 error, or what might be one, is behind the headers.
bool may_be_error(std::string_view ip) {
  unsigned next = byte(ip, 6);
  std::size_t at = kIpv6;
  for (int headers = 0; headers < 8; ++headers) {
    if (ip.size() < at + 8) return true;
    switch (next) {
      case kIcmpV6:
        return byte(ip, at) < 128;
      case kHopByHop:
      case kRouting:
      case kOptions:
        next = byte(ip, at);
        at += byte(ip, at + 1) * 8 + 8;
        break;
      case kAuthentication:
        next = byte(ip, at);
        at += byte(ip, at + 1) * 4 + 8;
        break;
      case kFragment:
        if (read16(ip, at + 2) & 0xfff8) return false;  // Without the beginning, of anything.
        next = byte(ip, at);
        at += 8;
        break;
      default:
        return false;
    }
  }
  return true;
}

std::optional<std::string> answer_v6(std::string_view frame, std::size_t length,
                                     const TooBigTag& tag) {
  const std::string_view ip = frame.substr(kEthernet);
  if (ip.size() < kIpv6 || byte(ip, 0) >> 4 != 6) return std::nullopt;
  const std::size_t packet = kIpv6 + read16(ip, 4);
  // Every IPv6 path carries 1280 bytes: nobody can be told that one does not.
  const unsigned mtu = std::max<unsigned>(tag.mtu, kIpv6MinMtu);
  if (packet > length - kEthernet || packet <= mtu || may_be_error(ip)) return std::nullopt;
  // RFC 4443, 2.4 (e): neither the unspecified address nor a group is told. Of what is sent to a
  // group its sender is, by this message alone; of what is for one and comes to all, none is.
  const std::string_view source = ip.substr(8, 16), destination = ip.substr(24, 16);
  const bool group = byte(destination, 0) == 0xff;
  if (byte(source, 0) == 0xff || source.find_first_not_of('\0') == source.npos ||
      group != to_group(frame)) {
    return std::nullopt;
  }

  const std::string_view quote = ip.substr(0, std::min(packet, kMostIpv6 - kIpv6 - kIcmp));
  std::string icmp = std::string("\2\0\0\0\0\0", 6) + be16(mtu) + std::string(quote);
  const std::string addresses =
      (group ? router_address() : std::string(destination)) + std::string(source);
  icmp.replace(2, 2,
               checksum(addresses + std::string(2, '\0') + be16(icmp.size()) +
                        std::string(2, '\0') + be16(kIcmpV6) + icmp));
  return ethernet(frame, tag) + std::string("\x60\0\0\0", 4) + be16(icmp.size()) +
         std::string("\x3a\x40", 2) + addresses + icmp;
}

}  // namespace

std::string write_tag(const TooBigTag& tag) {
  std::string words;
  const std::string bytes = text(tag.sender) + be16(tag.mtu) + static_cast<char>(tag.table);
  for (unsigned char c : bytes) words += fmt::format("{:02x}.", c);
  words.pop_back();
  return words;
}

std::optional<TooBigTag> read_tag(std::string_view bytes) {
  TooBigTag tag;
  if (bytes.size() != tag.sender.bytes.size() + 3) return std::nullopt;
  std::copy_n(bytes.begin(), tag.sender.bytes.size(), tag.sender.bytes.begin());
  tag.mtu = static_cast<std::uint16_t>(read16(bytes, tag.sender.bytes.size()));
  tag.table = static_cast<std::uint8_t>(bytes.back());
  return tag;
}

std::optional<std::string> answer_too_big(std::string_view frame, std::size_t length,
                                          const TooBigTag& tag) {
  if (frame.size() < kEthernet || length < frame.size()) return std::nullopt;
  switch (read16(frame, 12)) {
    case 0x0800:
      if (to_group(frame)) return std::nullopt;  // RFC 1122, 3.2.2.
      return answer_v4(frame, length, tag);
    case 0x86dd:
      return answer_v6(frame, length, tag);
    default:
      return std::nullopt;
  }
}

}  // namespace homeport::overlay::ovs
