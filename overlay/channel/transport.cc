#include "overlay/channel/transport.h"

// Not <netinet/tcp.h>, whose tcp_info is that of old kernels.
#include <linux/tcp.h>

#include <netinet/in.h>
#include <sys/socket.h>

#include <fmt/format.h>

#include <linux/pkt_sched.h>

#include <array>
#include <cstring>

namespace homeport::overlay {

using policy::Result;

namespace {

/// Lower effort (RFC 8622): what the outer header of bulk's frames says, hp_dscp() in
/// overlay/datapath/ebpf/traffic_class.h.
constexpr int kBulkDscp = 1;
/// A burst of one batch of guest memory.
constexpr int kMostUnsent = 1 << 20;

Result<void> set(int socket, int level, int name, int value) {
  if (setsockopt(socket, level, name, &value, sizeof value) == 0) return {};
  return policy::errno_error("cannot set an option of a lane's socket");
}

}  // namespace

Result<TransportFigures> transport_figures(int socket) {
  tcp_info info{};
  socklen_t size = sizeof info;
  if (getsockopt(socket, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) {
    return policy::errno_error("cannot look at a connection");
  }
  TransportFigures figures;
  figures.acknowledged = info.tcpi_bytes_acked;
  figures.queued =
      std::uint64_t{info.tcpi_notsent_bytes} + std::uint64_t{info.tcpi_unacked} * info.tcpi_snd_mss;
  figures.busy = std::chrono::microseconds(info.tcpi_busy_time);
  figures.held_up_by_peer = std::chrono::microseconds(info.tcpi_rwnd_limited);
  figures.bytes_per_second = info.tcpi_delivery_rate;
  figures.sender_limited = info.tcpi_delivery_rate_app_limited != 0;
  figures.received = info.tcpi_bytes_received;
  figures.since_acknowledged = std::chrono::milliseconds(info.tcpi_last_ack_recv);
  figures.since_received = std::chrono::milliseconds(info.tcpi_last_data_recv);
  return figures;
}

Result<void> mark_as_bulk(int socket, bool ipv6) {
  constexpr int kTrafficClass = kBulkDscp << 2;
  auto marked = ipv6 ? set(socket, IPPROTO_IPV6, IPV6_TCLASS, kTrafficClass)
                     : set(socket, IPPROTO_IP, IP_TOS, kTrafficClass);
  if (!marked) return marked;
  // After it: IP_TOS sets a priority of its own.
  return set(socket, SOL_SOCKET, SO_PRIORITY, TC_PRIO_BULK);
}

Result<void> keep_little_unsent(int socket) {
  return set(socket, IPPROTO_TCP, TCP_NOTSENT_LOWAT, kMostUnsent);
}

Result<std::string> congestion_control(int socket) {
  std::array<char, 16> name{};  // TCP_CA_NAME_MAX of the kernel, with the zero
  socklen_t size = name.size();
  if (getsockopt(socket, IPPROTO_TCP, TCP_CONGESTION, name.data(), &size) != 0) {
    return policy::errno_error("cannot look at the congestion control of a connection");
  }
  return std::string(name.data(), strnlen(name.data(), size));
}

Result<void> use_congestion_control(int socket, const std::string& name) {
  const auto size = static_cast<socklen_t>(name.size());
  if (setsockopt(socket, IPPROTO_TCP, TCP_CONGESTION, name.data(), size) == 0) return {};
  return policy::errno_error(fmt::format("cannot use the congestion control {}", name));
}

}  // namespace homeport::overlay
