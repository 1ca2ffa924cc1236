// A one-way flow of numbered datagrams, and what became of it:
//   homeport_lab_flow send ADDRESS PORT PER_SECOND
//   homeport_lab_flow receive PORT RECORD_FILE [NAMESPACE...]
//
// The receiver listens in each of the network namespaces (by name, as in ip-netns(8); without any,
// in its own), the places where an application may be, so that it sees the flow whole while the
// application moves. Both print a JSON line every 100 ms and, on SIGTERM, a last one. The receiver
// ends when nothing has come for a while, and writes a RecordHeader and one FlowRecord per number
// to RECORD_FILE ("-": none).
//
// What the last lines say; times are of CLOCK_MONOTONIC, so both must be on one machine:
//   send     sent, send_errors; unreachable: ICMP errors of that kind that came back;
//            longest_gap_us: between two datagrams, the flow's own unrest
//   receive  received: distinct numbers; missing: numbers below the highest that never came;
//            duplicated; reordered: came after a higher number at the same place; switches: how
//            often the flow changed its place from one number to the next; places: received at
//            each; socket_drops: lost in the receiver itself; longest_gap_us: between two
//            datagrams; transit_median_us, transit_longest_us: from sending to receiving;
//            gaps: the longest ones, with when they began
#include <fcntl.h>
#include <linux/sock_diag.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/lab/clients/client.h"
#include "tests/lab/clients/record.h"
#include "tests/lab/clock.h"
#include "tests/lab/pattern.h"

namespace homeport::lab {
namespace {

using ull = unsigned long long;

constexpr std::size_t kDatagramBytes = 64;
constexpr std::uint64_t kMost = 1u << 25;  // 56 minutes at 10,000 a second
constexpr std::uint64_t kQuietNs = 500'000'000;

struct FlowHeader {
  DatagramHeader header;
  std::uint64_t sent = 0;
};

/// Datagrams are sent by an absolute clock: after a delay they are more frequent, not fewer.
class Sender {
 public:
  explicit Sender(const Endpoint& to) : socket_(connected_socket(to)) {}

  void run(int signal, std::uint64_t per_second) {
    std::thread sender([&] { send_all(1'000'000'000 / per_second); });
    while (!end_asked(signal, 100)) print();
    ending_ = true;
    sender.join();
    // An error about the last one is under way for a moment.
    const std::uint64_t until = now_ns() + kQuietNs;
    while (now_ns() < until) {
      unreachable_ += take_unreachable(socket_);
      sleep_until_ns(now_ns() + 10'000'000);
    }
    print();
  }

 private:
  void send_all(std::uint64_t interval) {
    run_first();
    std::uint8_t bytes[kDatagramBytes] = {};
    std::uint64_t next = now_ns(), last = next;
    for (; !ending_ && sent_ < kMost; ++sent_, next += interval) {
      sleep_until_ns(next);
      FlowHeader header;
      header.header.number = sent_;
      header.sent = now_ns();
      longest_gap_ = std::max<std::uint64_t>(longest_gap_, header.sent - last);
      last = header.sent;
      std::memcpy(bytes, &header, sizeof header);
      if (send(socket_, bytes, sizeof bytes, 0) >= 0) continue;
      // It may be the error of an earlier one that is told now.
      unreachable_ += take_unreachable(socket_);
      if (send(socket_, bytes, sizeof bytes, 0) < 0) ++send_errors_;
    }
  }

  void print() const {
    std::printf(
        "{\"sent\":%llu,\"send_errors\":%llu,\"unreachable\":%llu,\"longest_gap_us\":%llu}\n",
        static_cast<ull>(sent_), static_cast<ull>(send_errors_), static_cast<ull>(unreachable_),
        static_cast<ull>(longest_gap_ / 1000));
    std::fflush(stdout);
  }

  int socket_;
  std::atomic<std::uint64_t> sent_{0}, send_errors_{0}, unreachable_{0}, longest_gap_{0};
  std::atomic<bool> ending_{false};
};

[[noreturn]] void fail(const std::string& what) {
  std::perror(what.c_str());
  std::exit(1);
}

/// Ends up in the namespace.
int listen_in(const char* name, std::uint16_t port) {
  if (name != nullptr) {
    const int inside = open((std::string("/run/netns/") + name).c_str(), O_RDONLY | O_CLOEXEC);
    if (inside < 0 || setns(inside, CLONE_NEWNET) != 0) fail(std::string("namespace ") + name);
    close(inside);
  }
  const int made = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  const int off = 0, room = 16 << 20;
  setsockopt(made, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
  setsockopt(made, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
  sockaddr_in6 any{};
  any.sin6_family = AF_INET6;
  any.sin6_port = htons(port);
  if (bind(made, reinterpret_cast<const sockaddr*>(&any), sizeof any) != 0) fail("bind");
  return made;
}

struct Gap {
  std::uint64_t from = 0, length = 0;
};

struct Overtaken {
  std::uint64_t number = 0, by = 0;  ///< by: the highest number that had come
  std::size_t place = 0;
};

class Receiver {
 public:
  Receiver(std::uint16_t port, char** names, std::size_t count)
      : places_(std::max<std::size_t>(count, 1)),
        // calloc, not a vector: pages nobody touches cost nothing.
        records_(static_cast<FlowRecord*>(std::calloc(kMost, sizeof(FlowRecord)))) {
    for (std::size_t i = 0; i < places_.size(); ++i) {
      places_[i].socket = listen_in(count == 0 ? nullptr : names[i], port);
    }
  }

  void run(int signal) {
    std::thread receiver([&] { receive_all(); });
    while (!end_asked(signal, 100)) print(false);
    ending_ = true;
    receiver.join();
    print(true);
  }

  bool write(const std::string& file) const {
    if (file == "-") return true;
    std::FILE* out = std::fopen(file.c_str(), "wb");
    if (out == nullptr) return false;
    const RecordHeader header{end_, duplicated_, reordered_, 0};
    bool good = std::fwrite(&header, sizeof header, 1, out) == 1 &&
                std::fwrite(records_.get(), sizeof(FlowRecord), end_, out) == end_;
    return std::fclose(out) == 0 && good;
  }

 private:
  static constexpr std::size_t kBatch = 64, kGaps = 32, kOvertaken = 4096;

  struct Free {
    void operator()(void* memory) const { std::free(memory); }
  };
  struct Place {
    int socket = -1;
    std::uint64_t received = 0, end = 0;  ///< end: one above the highest number
  };

  void receive_all() {
    run_first();
    std::vector<pollfd> waiting;
    for (const Place& place : places_) waiting.push_back({place.socket, POLLIN, 0});
    std::uint64_t last = now_ns();
    while (!ending_ || now_ns() - last < kQuietNs) {
      if (poll(waiting.data(), waiting.size(), 100) <= 0) continue;
      for (std::size_t i = 0; i < places_.size(); ++i) {
        if (waiting[i].revents != 0 && drain(i)) last = now_ns();
      }
    }
  }

  bool drain(std::size_t place) {
    static std::array<std::array<std::uint8_t, 256>, kBatch> bytes;
    static std::array<iovec, kBatch> pieces;
    static std::array<mmsghdr, kBatch> messages;
    for (std::size_t i = 0; i < kBatch; ++i) {
      pieces[i] = {bytes[i].data(), bytes[i].size()};
      messages[i] = {};
      messages[i].msg_hdr.msg_iov = &pieces[i];
      messages[i].msg_hdr.msg_iovlen = 1;
    }
    const int got = recvmmsg(places_[place].socket, messages.data(), kBatch, 0, nullptr);
    const std::uint64_t now = now_ns();
    for (int i = 0; i < got; ++i) {
      const auto at = static_cast<std::size_t>(i);
      if (messages[at].msg_len >= sizeof(FlowHeader)) take(place, bytes[at].data(), now);
    }
    return got > 0;
  }

  void take(std::size_t at, const std::uint8_t* bytes, std::uint64_t now) {
    FlowHeader flow;
    std::memcpy(&flow, bytes, sizeof flow);
    const std::uint64_t number = flow.header.number;
    if (flow.header.magic != DatagramHeader::kMagic || number >= kMost) return;
    FlowRecord& record = records_.get()[number];
    if (record.received != 0) {
      ++duplicated_;
      return;
    }
    record = {flow.sent, now, at};
    Place& place = places_[at];
    if (number + 1 < place.end) {
      ++reordered_;
      if (overtaken_.size() < kOvertaken) overtaken_.push_back({number, place.end - 1, at});
    }
    place.end = std::max(place.end, number + 1);
    ++place.received;
    end_ = std::max<std::uint64_t>(end_, number + 1);
    if (received_++ > 0) note_gap({last_, now - last_});
    last_ = now;
  }

  /// Keeps the longest, in no order.
  void note_gap(Gap gap) {
    auto least = std::min_element(gaps_.begin(), gaps_.end(),
                                  [](const Gap& a, const Gap& b) { return a.length < b.length; });
    if (gap.length > least->length) *least = gap;
  }

  std::uint64_t socket_drops() const {
    std::uint64_t drops = 0;
    for (const Place& place : places_) {
      std::uint32_t info[SK_MEMINFO_VARS] = {};
      socklen_t size = sizeof info;
      getsockopt(place.socket, SOL_SOCKET, SO_MEMINFO, info, &size);
      drops += info[SK_MEMINFO_DROPS];
    }
    return drops;
  }

  void print(bool last) const {
    if (!last) {
      std::printf("{\"received\":%llu}\n", static_cast<ull>(received_));
      std::fflush(stdout);
      return;
    }
    std::uint64_t switches = 0;
    std::vector<std::uint64_t> transits;
    const FlowRecord* before = nullptr;
    for (std::uint64_t i = 0; i < end_; ++i) {
      const FlowRecord& record = records_.get()[i];
      if (record.received == 0) continue;
      transits.push_back(record.received - record.sent);
      if (before != nullptr && before->place != record.place) ++switches;
      before = &record;
    }
    std::sort(transits.begin(), transits.end());
    auto gaps = gaps_;
    std::sort(gaps.begin(), gaps.end(),
              [](const Gap& a, const Gap& b) { return a.length > b.length; });
    std::printf(
        "{\"received\":%llu,\"missing\":%llu,\"duplicated\":%llu,\"reordered\":%llu,"
        "\"switches\":%llu,\"socket_drops\":%llu,\"longest_gap_us\":%llu,"
        "\"transit_median_us\":%llu,\"transit_longest_us\":%llu,\"places\":[",
        static_cast<ull>(received_), static_cast<ull>(end_ - received_),
        static_cast<ull>(duplicated_), static_cast<ull>(reordered_), static_cast<ull>(switches),
        static_cast<ull>(socket_drops()), static_cast<ull>(gaps.front().length / 1000),
        transits.empty() ? 0 : static_cast<ull>(transits[transits.size() / 2] / 1000),
        transits.empty() ? 0 : static_cast<ull>(transits.back() / 1000));
    for (std::size_t i = 0; i < places_.size(); ++i) {
      std::printf("%s%llu", i == 0 ? "" : ",", static_cast<ull>(places_[i].received));
    }
    std::printf("],\"gaps\":[");
    for (std::size_t i = 0; i < gaps.size() && gaps[i].length > 0; ++i) {
      std::printf("%s{\"from_ns\":%llu,\"us\":%llu}", i == 0 ? "" : ",",
                  static_cast<ull>(gaps[i].from), static_cast<ull>(gaps[i].length / 1000));
    }
    std::printf("],\"overtaken\":[");
    for (std::size_t i = 0; i < overtaken_.size(); ++i) {
      std::printf("%s[%llu,%llu,%zu]", i == 0 ? "" : ",", static_cast<ull>(overtaken_[i].number),
                  static_cast<ull>(overtaken_[i].by), overtaken_[i].place);
    }
    std::printf("]}\n");
    std::fflush(stdout);
  }

  std::vector<Place> places_;
  std::unique_ptr<FlowRecord, Free> records_;
  std::array<Gap, kGaps> gaps_{};
  std::vector<Overtaken> overtaken_;
  std::uint64_t last_ = 0, duplicated_ = 0, reordered_ = 0;
  std::atomic<std::uint64_t> received_{0}, end_{0};
  std::atomic<bool> ending_{false};
};

int run(int argc, char** argv) {
  const std::string what = argc > 1 ? argv[1] : "";
  const int signal = end_signal();
  if (what == "send" && argc == 5) {
    Sender sender(endpoint(argv[2], static_cast<std::uint16_t>(std::atoi(argv[3]))));
    sender.run(signal, static_cast<unsigned>(std::atoi(argv[4])));
    return 0;
  }
  if (what == "receive" && argc >= 4) {
    Receiver receiver(static_cast<std::uint16_t>(std::atoi(argv[2])), argv + 4,
                      static_cast<std::size_t>(argc - 4));
    receiver.run(signal);
    return receiver.write(argv[3]) ? 0 : 1;
  }
  return 2;
}

}  // namespace
}  // namespace homeport::lab

int main(int argc, char** argv) {
  return homeport::lab::run(argc, argv);
}
