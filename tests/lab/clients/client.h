// What the client programs share: an address from the command line, an orderly end on SIGTERM,
// and one JSON line at a time on standard output.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <sys/signalfd.h>
#include <sys/socket.h>

#include <csignal>
#include <cstdint>
#include <cstdlib>

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
