#include "overlay/datapath/ovs/arrivals.h"

#include "overlay/datapath/ovs/bytes.h"
#include "overlay/link/link.h"
#include "overlay/link/unique_fd.h"

#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/socket.h>
#include <boost/asio/ip/udp.hpp>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <system_error>
#include <utility>

namespace homeport::overlay::ovs {

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kVxlan = 8;
/// Of all hosts together in a second, and as many at once: they pass one thread of the agent.
constexpr double kMostInASecond = 1000;
/// For so many at once, as long as frames are with jumbo frames.
constexpr int kBuffer = 4 << 20;

policy::Error failed(const std::string& what, int error) {
  return policy::make_error(static_cast<boost::system::errc::errc_t>(error),
                            fmt::format("Packets that ovs-vswitchd leaves to the kernel, such as "
                                        "fragments, cannot be received: {}: {}",
                                        what, std::generic_category().message(error)));
}

/// Bound to the device of the VTEP: with the bridge's own port the kernel has two looks at a
/// packet.
Result<UniqueFd> open_socket(const policy::IpAddress& vtep, std::uint16_t udp_port) {
  auto addresses = list_addresses();
  if (!addresses) return addresses.error();
  auto links = list_links();
  if (!links) return links.error();
  auto at = std::ranges::find(*addresses, vtep, &LinkAddress::address);
  if (at == addresses->end()) return failed("no device has " + vtep.to_string(), EADDRNOTAVAIL);
  auto link = std::ranges::find(*links, at->link_index, &Link::index);
  if (link == links->end()) return failed("the device of the VTEP has gone", ENODEV);

  UniqueFd fd(
      ::socket(vtep.is_v6() ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return failed("socket", errno);
  if (::setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUFFORCE, &kBuffer, sizeof(kBuffer)) < 0 ||
      ::setsockopt(fd.get(), SOL_SOCKET, SO_BINDTODEVICE, link->name.data(),
                   static_cast<socklen_t>(link->name.size())) < 0) {
    return failed("setsockopt", errno);
  }
  // Tunnels may leave out the checksum over IPv6 (RFC 6935).
  const int on = 1;
  if (vtep.is_v6() && ::setsockopt(fd.get(), SOL_UDP, UDP_NO_CHECK6_RX, &on, sizeof(on)) < 0) {
    return failed("setsockopt", errno);
  }
  const boost::asio::ip::udp::endpoint own(vtep, udp_port);
  if (::bind(fd.get(), own.data(), static_cast<socklen_t>(own.size())) < 0) {
    return failed(fmt::format("UDP port {} of {}", udp_port, vtep.to_string()), errno);
  }
  return fd;
}

}  // namespace

std::optional<Encapsulated> read_vxlan(std::string_view datagram) {
  // The flag I alone says that there is a network; all others are to be ignored.
  if (datagram.size() < kVxlan + kEthernet || !(byte(datagram, 0) & 0x08)) return std::nullopt;
  const std::uint32_t key = byte(datagram, 4) << 16 | byte(datagram, 5) << 8 | byte(datagram, 6);
  return Encapsulated{key, datagram.substr(kVxlan)};
}

struct Arrivals::Shared {
  std::atomic<std::uint16_t> tunnel = 0;
  std::atomic<std::uint64_t> malformed = 0, too_many = 0;
  // Of the one thread:
  double tokens = kMostInASecond;
  Clock::time_point seen = Clock::now();

  bool may_pass() {
    const auto now = Clock::now();
    const std::chrono::duration<double> since = now - std::exchange(seen, now);
    tokens = std::min(kMostInASecond, tokens + since.count() * kMostInASecond);
    if (tokens < 1) return false;
    tokens -= 1;
    return true;
  }
};

Result<void> Arrivals::take(const policy::IpAddress& vtep, std::uint16_t udp_port,
                            std::int64_t tunnel) {
  if (!shared_) {
    auto socket = open_socket(vtep, udp_port);
    if (!socket) return socket.error();
    shared_ = std::make_shared<Shared>();
    shared_->tunnel = static_cast<std::uint16_t>(tunnel);
    bridge_.take_datagrams(
        std::move(*socket),
        [shared = shared_](std::string_view datagram) -> std::optional<vswitch::Arrival> {
          const auto packet = read_vxlan(datagram);
          if (!packet) {
            ++shared->malformed;
          } else if (!shared->may_pass()) {
            ++shared->too_many;
          } else {
            return vswitch::Arrival{shared->tunnel, packet->key, packet->frame};
          }
          return std::nullopt;
        });
  }
  shared_->tunnel = static_cast<std::uint16_t>(tunnel);
  return {};
}

void Arrivals::count(TotalCounters& totals) const {
  if (!shared_) return;
  totals.drop_malformed += shared_->malformed;
  totals.drop_too_big += shared_->too_many;
}

}  // namespace homeport::overlay::ovs
