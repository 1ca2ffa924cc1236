// One long TCP connection to a lab guest: homeport_lab_stream ADDRESS PORT KIB_PER_SECOND
//
// Sends a deterministic stream, which the guest checks, and checks every byte of its echo. A JSON
// line every 100 ms; on SIGTERM it ends its side of the stream, waits for the last echo, and
// prints the verdict.
#include <netinet/tcp.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <string>
#include <thread>

#include "tests/lab/clients/client.h"
#include "tests/lab/clock.h"
#include "tests/lab/pattern.h"

namespace homeport::lab {
namespace {

class Stream {
 public:
  Stream(const Endpoint& guest, std::uint64_t bytes_per_second)
      : seed_(mix(now_ns())), bytes_per_second_(bytes_per_second) {
    socket_ = socket(guest.address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(socket_, reinterpret_cast<const sockaddr*>(&guest.address), guest.length) != 0) {
      fail("connect");
    }
    const int on = 1;
    setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  }
  ~Stream() { close(socket_); }

  void run(int signal) {
    std::thread sender([this] { send_all(); });
    std::thread receiver([this] { receive_all(); });
    while (!ended_ && !end_asked(signal, 100)) print(false);
    ending_ = true;
    sender.join();
    receiver.join();
    print(true);
  }

  bool survived() const { return error_.empty() && checked_ == sent_ && mismatches_ == 0; }

 private:
  static constexpr std::size_t kPiece = 4096;

  void fail(const char* what) {
    const std::string text = std::string(what) + ": " + std::strerror(errno);
    const std::lock_guard lock(mutex_);
    if (error_.empty()) error_ = text;
    ended_ = true;
  }

  void send_all() {
    std::uint8_t buffer[kPiece];
    StreamHeader header;
    header.seed = seed_;
    if (!ended_ && send(socket_, &header, sizeof header, MSG_NOSIGNAL) < 0) fail("send");
    std::uint64_t next = now_ns();
    while (!ending_ && !ended_) {
      fill_stream(seed_, sent_, buffer, kPiece);
      std::size_t done = 0;
      while (done < kPiece) {
        const ssize_t sent = send(socket_, buffer + done, kPiece - done, MSG_NOSIGNAL);
        if (sent < 0) return fail("send");
        done += static_cast<std::size_t>(sent);
        sent_ += static_cast<std::uint64_t>(sent);
      }
      next = std::max(next + kPiece * 1'000'000'000 / bytes_per_second_, now_ns() - 50'000'000);
      sleep_until_ns(next);
    }
    shutdown(socket_, SHUT_WR);
  }

  void receive_all() {
    std::uint8_t buffer[16384];
    while (true) {
      const ssize_t got = recv(socket_, buffer, sizeof buffer, 0);
      if (got < 0) return fail("receive");
      if (got == 0) break;
      mismatches_ += count_wrong(seed_, checked_, buffer, static_cast<std::size_t>(got));
      checked_ += static_cast<std::uint64_t>(got);
    }
    ended_ = true;
  }

  void print(bool last) {
    const std::lock_guard lock(mutex_);
    std::printf(
        "{\"sent_bytes\":%llu,\"checked_bytes\":%llu,\"mismatches\":%llu,"
        "\"ended\":%s,\"survived\":%s,\"error\":\"%s\"}\n",
        static_cast<unsigned long long>(sent_), static_cast<unsigned long long>(checked_),
        static_cast<unsigned long long>(mismatches_), last ? "true" : "false",
        last && survived() ? "true" : "false", error_.c_str());
    std::fflush(stdout);
  }

  const std::uint64_t seed_;
  const std::uint64_t bytes_per_second_;
  int socket_ = -1;
  std::atomic<std::uint64_t> sent_{0}, checked_{0}, mismatches_{0};
  std::atomic<bool> ending_{false}, ended_{false};
  std::mutex mutex_;  // of error_ and of the output
  std::string error_;
};

}  // namespace
}  // namespace homeport::lab

int main(int argc, char** argv) {
  using namespace homeport::lab;
  if (argc != 4) return 2;
  const int signal = end_signal();
  Stream stream(endpoint(argv[1], static_cast<std::uint16_t>(std::atoi(argv[2]))),
                1024ull * static_cast<unsigned>(std::atoi(argv[3])));
  stream.run(signal);
  return stream.survived() ? 0 : 1;
}
