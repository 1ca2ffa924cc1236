#include "overlay/datapath/probe_sender.h"

#include "overlay/datapath/probe_frame.h"

#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/socket.h>
#include <boost/asio/ip/udp.hpp>

#include <array>
#include <cerrno>
#include <cstring>
#include <string>

namespace homeport::overlay {

namespace {

constexpr std::uint32_t kLongestPacket = 65535;

policy::Error failed(const ProbeAsk& ask, int error) {
  return policy::errno_error(
      fmt::format("A probe of {} bytes cannot be sent from {} to {}", ask.size,
                  ask.pair.local.to_string(), ask.pair.remote.to_string()),
      error);
}

bool set(const UniqueFd& fd, int level, int name, int value) {
  return ::setsockopt(fd.get(), level, name, &value, sizeof(value)) == 0;
}

/// Says by which of the host's addresses the message goes out: for `control` to hold.
template <class Info>
void put_source(msghdr& message, int level, int type, const Info& info) {
  message.msg_controllen = CMSG_SPACE(sizeof(info));
  cmsghdr* item = CMSG_FIRSTHDR(&message);
  *item = {CMSG_LEN(sizeof(info)), level, type};
  std::memcpy(CMSG_DATA(item), &info, sizeof(info));
}

}  // namespace

policy::Result<int> ProbeSender::socket(bool v6) {
  UniqueFd& kept = v6 ? v6_ : v4_;
  if (kept) return kept.get();
  UniqueFd fd(::socket(v6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  // Never cut, and not by what was once learned of the path either, which is what is asked; without
  // a checksum, like all that goes through the tunnel. Nothing is received here: answers come to
  // the datapath.
  const bool ready =
      fd && set(fd, SOL_SOCKET, SO_RCVBUF, 0) &&
      (v6 ? set(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_PROBE) &&
                set(fd, IPPROTO_IPV6, IPV6_DONTFRAG, 1) && set(fd, SOL_UDP, UDP_NO_CHECK6_TX, 1)
          : set(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE) &&
                set(fd, SOL_SOCKET, SO_NO_CHECK, 1));
  if (!ready) return policy::errno_error("A socket to send probes by cannot be opened");
  kept = std::move(fd);
  return kept.get();
}

policy::Result<void> ProbeSender::send(const ProbeAsk& ask) {
  const policy::IpAddress &local = ask.pair.local, &remote = ask.pair.remote;
  if (local.is_v6() != remote.is_v6()) return failed(ask, EAFNOSUPPORT);
  if (ask.size > kLongestPacket) return failed(ask, EMSGSIZE);
  auto fd = socket(local.is_v6());
  if (!fd) return fd.error();

  boost::asio::ip::udp::endpoint to(remote, udp_port_);
  std::string datagram = probe_datagram(ask, std::chrono::steady_clock::now());
  iovec payload{datagram.data(), datagram.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(in6_pktinfo))> control{};
  msghdr message{};
  message.msg_name = to.data();
  message.msg_namelen = static_cast<socklen_t>(to.size());
  message.msg_iov = &payload;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  if (local.is_v6()) {
    in6_pktinfo info{};
    std::memcpy(&info.ipi6_addr, local.to_v6().to_bytes().data(), sizeof(info.ipi6_addr));
    put_source(message, IPPROTO_IPV6, IPV6_PKTINFO, info);
  } else {
    in_pktinfo info{};
    info.ipi_spec_dst.s_addr = htonl(local.to_v4().to_uint());
    put_source(message, IPPROTO_IP, IP_PKTINFO, info);
  }
  if (::sendmsg(*fd, &message, MSG_DONTWAIT) < 0) return failed(ask, errno);
  return {};
}

}  // namespace homeport::overlay
