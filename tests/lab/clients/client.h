// What the client programs share: an address from the command line, a datagram socket that is told
// of ICMP errors, an orderly end on SIGTERM, and one JSON line at a time on standard output.
#pragma once

#include <arpa/inet.h>
#include <linux/errqueue.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <sched.h>
#include <sys/signalfd.h>
#include <sys/socket.h>

#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace homeport::lab {

struct Endpoint {
  sockaddr_storage address{};
  socklen_t length = 0;
};

/// `text` is a numeric IPv4 or IPv6 address. Ends the program when it is neither.
inline Endpoint endpoint(const char* text, std::uint16_t port) {
  Endpoint result;
  auto* four = reinterpret_cast<sockaddr_in*>(&result.address);
  auto* six = reinterpret_cast<sockaddr_in6*>(&result.address);
  if (inet_pton(AF_INET, text, &four->sin_addr) == 1) {
    four->sin_family = AF_INET;
    four->sin_port = htons(port);
    result.length = sizeof *four;
  } else if (inet_pton(AF_INET6, text, &six->sin6_addr) == 1) {
    six->sin6_family = AF_INET6;
    six->sin6_port = htons(port);
    result.length = sizeof *six;
  } else {
    std::exit(2);
  }
  return result;
}

/// A datagram socket that is connected, with room for seconds of answers. Ends the program on
/// error.
inline int connected_socket(const Endpoint& to) {
  const int made = socket(to.address.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  const int room = 16 << 20, on = 1;
  setsockopt(made, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
  if (to.address.ss_family == AF_INET) {
    setsockopt(made, IPPROTO_IP, IP_RECVERR, &on, sizeof on);
  } else {
    setsockopt(made, IPPROTO_IPV6, IPV6_RECVERR, &on, sizeof on);
  }
  if (connect(made, reinterpret_cast<const sockaddr*>(&to.address), to.length) != 0) {
    std::perror("connect");
    std::exit(1);
  }
  return made;
}

/// How many "unreachable" of ICMP have come back to such a socket since the last call (ip(7),
/// IP_RECVERR).
inline std::uint64_t take_unreachable(int socket) {
  std::uint64_t count = 0;
  while (true) {
    alignas(cmsghdr) char control[512];
    msghdr message{};
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    if (recvmsg(socket, &message, MSG_ERRQUEUE | MSG_DONTWAIT) < 0) return count;
    for (cmsghdr* part = CMSG_FIRSTHDR(&message); part != nullptr;
         part = CMSG_NXTHDR(&message, part)) {
      const bool four = part->cmsg_level == IPPROTO_IP && part->cmsg_type == IP_RECVERR;
      const bool six = part->cmsg_level == IPPROTO_IPV6 && part->cmsg_type == IPV6_RECVERR;
      if (!four && !six) continue;
      sock_extended_err error{};
      std::memcpy(&error, CMSG_DATA(part), sizeof error);
      count += (error.ee_origin == SO_EE_ORIGIN_ICMP && error.ee_type == ICMP_DEST_UNREACH &&
                error.ee_code != ICMP_FRAG_NEEDED) ||
               (error.ee_origin == SO_EE_ORIGIN_ICMP6 && error.ee_type == ICMP6_DST_UNREACH);
    }
  }
}

/// Readable once SIGTERM or SIGINT has come. Call before any thread is started.
inline int end_signal() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  sigprocmask(SIG_BLOCK, &signals, nullptr);
  return signalfd(-1, &signals, SFD_CLOEXEC);
}

/// True when the end was asked for within `milliseconds`.
inline bool end_asked(int signal, int milliseconds) {
  pollfd waiting{signal, POLLIN, 0};
  return poll(&waiting, 1, milliseconds) > 0;
}

/// A measuring client must not wait for a processor that an emulated guest keeps busy.
inline void run_first() {
  sched_param priority{};
  priority.sched_priority = 10;
  sched_setscheduler(0, SCHED_FIFO, &priority);
}

}  // namespace homeport::lab
