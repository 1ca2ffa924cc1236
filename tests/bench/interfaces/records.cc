// Numbered records in one MPTCP connection (RFC 8684), and how steadily they come:
//   interfaces_records receive ADDRESS PORT
//   interfaces_records send ADDRESS PORT PER_SECOND
//
// Both print a JSON line every 100 ms. The receiver takes one connection and says how many whole
// records it has read and the longest time between two reads that had one; the sender how many it
// has sent and how many subflows there are beyond the first. They end on SIGTERM.
#include <linux/mptcp.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <string>
#include <thread>

#include "tests/lab/clients/client.h"
#include "tests/lab/clock.h"

#ifndef SOL_MPTCP
#define SOL_MPTCP 284
#endif

namespace homeport::lab {
namespace {

using ull = unsigned long long;

constexpr std::size_t kRecordBytes = 64;

[[noreturn]] void fail(const char* what) {
  std::perror(what);
  std::exit(1);
}

int mptcp_socket() {
  const int made = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_MPTCP);
  if (made < 0) fail("an MPTCP socket");
  const int on = 1;
  setsockopt(made, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  setsockopt(made, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return made;
}

void receive(const Endpoint& here, int signal) {
  const int listening = mptcp_socket();
  if (bind(listening, reinterpret_cast<const sockaddr*>(&here.address), here.length) != 0 ||
      listen(listening, 1) != 0) {
    fail("listen");
  }
  std::atomic<std::uint64_t> received{0}, longest_gap{0};
  std::thread([&] {
    run_first();
    const int connection = accept4(listening, nullptr, nullptr, SOCK_CLOEXEC);
    if (connection < 0) fail("accept");
    char bytes[1 << 16];
    std::uint64_t total = 0, last = 0;
    for (ssize_t got; (got = recv(connection, bytes, sizeof bytes, 0)) > 0;) {
      const std::uint64_t now = now_ns();
      total += static_cast<std::uint64_t>(got);
      const std::uint64_t records = total / kRecordBytes;
      if (records == received) continue;
      if (last != 0) longest_gap = std::max<std::uint64_t>(longest_gap, now - last);
      last = now;
      received = records;
    }
  }).detach();
  do {
    std::printf("{\"received\":%llu,\"longest_gap_us\":%llu}\n", static_cast<ull>(received),
                static_cast<ull>(longest_gap / 1000));
    std::fflush(stdout);
  } while (!end_asked(signal, 100));
  std::printf("{\"received\":%llu,\"longest_gap_us\":%llu}\n", static_cast<ull>(received),
              static_cast<ull>(longest_gap / 1000));
}

void send_to(const Endpoint& there, std::uint64_t per_second, int signal) {
  const int connection = mptcp_socket();
  if (connect(connection, reinterpret_cast<const sockaddr*>(&there.address), there.length) != 0) {
    fail("connect");
  }
  std::atomic<std::uint64_t> sent{0};
  std::thread([&] {
    run_first();
    char bytes[kRecordBytes] = {};
    // By an absolute clock: after a delay they are more frequent, not fewer.
    for (std::uint64_t next = now_ns();; next += 1'000'000'000 / per_second) {
      sleep_until_ns(next);
      const std::uint64_t number = sent;
      std::memcpy(bytes, &number, sizeof number);
      if (send(connection, bytes, sizeof bytes, MSG_NOSIGNAL) != sizeof bytes) fail("send");
      ++sent;
    }
  }).detach();
  do {
    mptcp_info info{};
    socklen_t size = sizeof info;
    // Fails where the connection has fallen back to TCP.
    if (getsockopt(connection, SOL_MPTCP, MPTCP_INFO, &info, &size) != 0) fail("MPTCP_INFO");
    std::printf("{\"sent\":%llu,\"more_subflows\":%u}\n", static_cast<ull>(sent),
                static_cast<unsigned>(info.mptcpi_subflows));
    std::fflush(stdout);
  } while (!end_asked(signal, 100));
}

int run(int argc, char** argv) {
  const std::string what = argc > 1 ? argv[1] : "";
  const int signal = end_signal();
  const bool sends = what == "send" && argc == 5;
  if (!sends && !(what == "receive" && argc == 4)) return 2;
  const Endpoint address = endpoint(argv[2], static_cast<std::uint16_t>(std::atoi(argv[3])));
  if (sends) {
    send_to(address, static_cast<unsigned>(std::atoi(argv[4])), signal);
  } else {
    receive(address, signal);
  }
  std::fflush(stdout);
  _exit(0);  // the other thread waits in a call
}

}  // namespace
}  // namespace homeport::lab

int main(int argc, char** argv) {
  return homeport::lab::run(argc, argv);
}
