// Numbered datagrams to a lab guest and back:
//   homeport_lab_datagrams ADDRESS PORT PER_SECOND RECORD_FILE
//
// Sends by an absolute clock. A JSON line every 100 ms; on SIGTERM it stops sending, waits until
// every datagram is answered or none has been for two seconds, and writes a RecordHeader and one
// Record per datagram to RECORD_FILE.
#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <thread>

#include "tests/lab/clients/client.h"
#include "tests/lab/clients/record.h"
#include "tests/lab/clock.h"
#include "tests/lab/pattern.h"

namespace homeport::lab {
namespace {

constexpr std::size_t kDatagramBytes = 64;
constexpr std::uint64_t kQuietNs = 2'000'000'000;

struct Free {
  void operator()(void* memory) const { std::free(memory); }
};

class Datagrams {
 public:
  explicit Datagrams(const Endpoint& guest)
      // calloc, not a vector: pages nobody touches cost nothing.
      : records_(static_cast<Record*>(std::calloc(kMost, sizeof(Record)))),
        socket_(connected_socket(guest)) {
    const timeval patience{0, 100'000};
    setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  }

  void run(int signal, std::uint64_t per_second) {
    std::thread sender([&] { send_all(1'000'000'000 / per_second); });
    std::thread receiver([&] { receive_all(); });
    while (!end_asked(signal, 100)) print();
    ending_ = true;
    sender.join();
    sender_ended_ = true;
    receiver.join();
    print();
  }

  bool write(const char* file) const {
    std::FILE* out = std::fopen(file, "wb");
    if (out == nullptr) return false;
    const RecordHeader header{sent_, duplicated_, reordered_, unreachable_};
    bool good = std::fwrite(&header, sizeof header, 1, out) == 1 &&
                std::fwrite(records_.get(), sizeof(Record), sent_, out) == sent_;
    return std::fclose(out) == 0 && good;
  }

 private:
  static constexpr std::uint64_t kMost = 1u << 24;  // as many as the guest remembers

  void send_all(std::uint64_t interval) {
    run_first();
    std::uint8_t bytes[kDatagramBytes] = {};
    std::uint64_t next = now_ns();
    while (!ending_ && sent_ < kMost) {
      sleep_until_ns(next);
      DatagramHeader header;
      header.number = sent_;
      std::memcpy(bytes, &header, sizeof header);
      records_.get()[sent_].sent = now_ns();
      // An error, such as no route for a moment, is a datagram that is not answered: lost.
      if (send(socket_, bytes, sizeof bytes, 0) < 0) ++send_errors_;
      ++sent_;
      next += interval;
    }
  }

  void receive_all() {
    run_first();
    std::uint8_t bytes[2048];
    std::uint64_t last = now_ns(), end = 0;  // end: one above the highest number
    while (!sender_ended_ || (answered_ < sent_ && now_ns() - last < kQuietNs)) {
      DatagramHeader header;
      const ssize_t got = recv(socket_, bytes, sizeof bytes, 0);
      const std::uint64_t now = now_ns();
      if (got < static_cast<ssize_t>(sizeof header)) {
        if (got < 0) unreachable_ += take_unreachable(socket_);
        if (!sender_ended_) last = now;
        continue;
      }
      std::memcpy(&header, bytes, sizeof header);
      if (header.magic != DatagramHeader::kMagic || header.number >= sent_ + 1) continue;
      last = now;
      Record& record = records_.get()[header.number];
      if (record.answered != 0) {
        ++duplicated_;
        continue;
      }
      record.answered = now;
      if (header.number + 1 < end) ++reordered_;
      end = std::max(end, header.number + 1);
      ++answered_;
    }
  }

  void print() {
    std::printf("{\"sent\":%llu,\"answered\":%llu,\"send_errors\":%llu}\n",
                static_cast<unsigned long long>(sent_), static_cast<unsigned long long>(answered_),
                static_cast<unsigned long long>(send_errors_));
    std::fflush(stdout);
  }

  std::unique_ptr<Record, Free> records_;
  int socket_;
  std::atomic<std::uint64_t> sent_{0}, answered_{0}, send_errors_{0};
  std::uint64_t duplicated_ = 0, reordered_ = 0, unreachable_ = 0;
  std::atomic<bool> ending_{false}, sender_ended_{false};
};

}  // namespace
}  // namespace homeport::lab

int main(int argc, char** argv) {
  using namespace homeport::lab;
  if (argc != 5) return 2;
  const int signal = end_signal();
  Datagrams datagrams(endpoint(argv[1], static_cast<std::uint16_t>(std::atoi(argv[2]))));
  datagrams.run(signal, static_cast<unsigned>(std::atoi(argv[3])));
  return datagrams.write(argv[4]) ? 0 : 1;
}
