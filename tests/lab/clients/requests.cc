// Small requests to a lab guest, each on a connection of its own:
//   homeport_lab_requests ADDRESS PORT PER_SECOND
//
// One at a time: connect, a line, its answer, the end. A JSON line every 100 ms, and a last one on
// SIGTERM: requests that were answered; failed: refused, reset, unreachable, ended early or not
// answered in 10 s, of which `error` is the first; longest_ms: of a request that was answered (a
// lost SYN costs a second).
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <string>
#include <thread>

#include "tests/lab/clients/client.h"
#include "tests/lab/clock.h"

namespace homeport::lab {
namespace {

class Requests {
 public:
  explicit Requests(const Endpoint& to) : to_(to) {}

  void run(int signal, std::uint64_t per_second) {
    std::thread asker([&] { ask_all(1'000'000'000 / per_second); });
    while (!end_asked(signal, 100)) print();
    ending_ = true;
    asker.join();
    print();
  }

 private:
  void ask_all(std::uint64_t interval) {
    std::uint64_t next = now_ns();
    while (!ending_) {
      sleep_until_ns(next);
      const std::uint64_t began = now_ns();
      const std::string problem = ask();
      if (problem.empty()) {
        ++answered_;
        longest_ = std::max<std::uint64_t>(longest_, now_ns() - began);
      } else {
        ++failed_;
        const std::lock_guard lock(mutex_);
        if (error_.empty()) error_ = problem;
      }
      // Not made up for: it is the one after the other that is asked for.
      next = std::max(next + interval, now_ns());
    }
  }

  std::string ask() const {
    const int connection = socket(to_.address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const timeval patience{10, 0};
    setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(connection, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    const std::string problem = converse(connection);
    close(connection);
    return problem;
  }

  std::string converse(int connection) const {
    constexpr char kRequest[] = "status\n";
    auto error = [](const char* what) { return std::string(what) + ": " + std::strerror(errno); };
    if (connect(connection, reinterpret_cast<const sockaddr*>(&to_.address), to_.length) != 0) {
      return error("connect");
    }
    if (send(connection, kRequest, sizeof kRequest - 1, MSG_NOSIGNAL) < 0) return error("send");
    char answer[4096];
    while (true) {
      const ssize_t got = recv(connection, answer, sizeof answer, 0);
      if (got < 0) return error("receive");
      if (got == 0) return "ended early";
      if (answer[got - 1] == '\n') return {};
    }
  }

  void print() {
    const std::lock_guard lock(mutex_);
    std::printf("{\"answered\":%llu,\"failed\":%llu,\"longest_ms\":%llu,\"error\":\"%s\"}\n",
                static_cast<unsigned long long>(answered_),
                static_cast<unsigned long long>(failed_),
                static_cast<unsigned long long>(longest_ / 1'000'000), error_.c_str());
    std::fflush(stdout);
  }

  const Endpoint to_;
  std::atomic<std::uint64_t> answered_{0}, failed_{0}, longest_{0};
  std::atomic<bool> ending_{false};
  std::mutex mutex_;  // of error_ and of the output
  std::string error_;
};

}  // namespace
}  // namespace homeport::lab

int main(int argc, char** argv) {
  using namespace homeport::lab;
  if (argc != 4) return 2;
  const int signal = end_signal();
  Requests requests(endpoint(argv[1], static_cast<std::uint16_t>(std::atoi(argv[2]))));
  requests.run(signal, static_cast<unsigned>(std::atoi(argv[3])));
  return 0;
}
