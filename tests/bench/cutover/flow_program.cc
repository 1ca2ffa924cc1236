// The traffic of the cutover bench, a process of its own so that nothing else the bench does holds
// it up:
//   cutover_flow SENDER PLACE_A PLACE_B MAC IP PER_SECOND COMMANDS STATE_FILE RECORD_FILE
//
// SENDER, PLACE_A and PLACE_B are network namespaces with a device eth0 (names, as in ip-netns(8)).
// One thread sends numbered datagrams to IP from SENDER by an absolute clock. Another is the
// application: it takes them from its socket in the place where it is, A at first. A third
// announces it there, as a host does for its guests. COMMANDS is a FIFO with FlowCommands,
// STATE_FILE has the size of a FlowState. On SIGTERM it ends sending, waits until nothing has come
// for a second, and writes RECORD_FILE.
#include <fcntl.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/if_ether.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "tests/bench/cutover/flow_record.h"
#include "tests/lab/clients/client.h"
#include "tests/lab/clock.h"

namespace homeport::lab {
namespace {

constexpr std::uint16_t kPort = 7000;  // in namespaces where nobody else is
constexpr std::size_t kDatagramBytes = 64;
constexpr std::size_t kMost = 3'000'000;
constexpr std::uint64_t kQuietNs = 1'000'000'000;

[[noreturn]] void fail(const std::string& what) {
  std::perror(what.c_str());
  std::exit(1);
}

struct __attribute__((packed)) Announcement {
  ether_header ethernet;
  ether_arp arp;
};

/// A RARP request (RFC 903) as QEMU announces a guest, or a gratuitous ARP request (RFC 5227).
Announcement announcement(const char* mac_text, const char* ip, std::uint16_t ether_type) {
  Announcement frame{};
  unsigned char mac[ETH_ALEN];
  if (std::sscanf(mac_text, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", &mac[0], &mac[1], &mac[2], &mac[3],
                  &mac[4], &mac[5]) != ETH_ALEN) {
    fail("a MAC address");
  }
  std::memset(frame.ethernet.ether_dhost, 0xff, ETH_ALEN);
  std::memcpy(frame.ethernet.ether_shost, mac, ETH_ALEN);
  frame.ethernet.ether_type = htons(ether_type);
  frame.arp.arp_hrd = htons(ARPHRD_ETHER);
  frame.arp.arp_pro = htons(ETHERTYPE_IP);
  frame.arp.arp_hln = ETH_ALEN;
  frame.arp.arp_pln = sizeof(in_addr);
  std::memcpy(frame.arp.arp_sha, mac, ETH_ALEN);
  if (ether_type == ETHERTYPE_REVARP) {
    frame.arp.arp_op = htons(ARPOP_RREQUEST);
    std::memcpy(frame.arp.arp_tha, mac, ETH_ALEN);
  } else {
    frame.arp.arp_op = htons(ARPOP_REQUEST);
    inet_pton(AF_INET, ip, frame.arp.arp_spa);
    inet_pton(AF_INET, ip, frame.arp.arp_tpa);
  }
  return frame;
}

/// From here on this thread makes sockets in the namespace.
void enter(const char* name) {
  const int inside = open((std::string("/run/netns/") + name).c_str(), O_RDONLY | O_CLOEXEC);
  if (inside < 0 || setns(inside, CLONE_NEWNET) != 0) fail(std::string("namespace ") + name);
  close(inside);
}

struct Place {
  explicit Place(const char* name) {
    enter(name);
    sink = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    const int room = 64 << 20;
    setsockopt(sink, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
    const Endpoint any = endpoint("0.0.0.0", kPort);
    if (bind(sink, reinterpret_cast<const sockaddr*>(&any.address), any.length) != 0) fail("bind");
    announcer = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);  // receives nothing: protocol 0
    sockaddr_ll device{};
    device.sll_family = AF_PACKET;
    device.sll_ifindex = static_cast<int>(if_nametoindex("eth0"));
    if (bind(announcer, reinterpret_cast<sockaddr*>(&device), sizeof device) != 0) fail("eth0");
  }
  int sink = -1, announcer = -1;
};

FlowState& map_state(const char* file) {
  const int descriptor = open(file, O_RDWR | O_CLOEXEC);
  void* memory =
      mmap(nullptr, sizeof(FlowState), PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
  if (memory == MAP_FAILED) fail(file);
  close(descriptor);
  return *static_cast<FlowState*>(memory);
}

class MovingFlow {
 public:
  MovingFlow(char** names, const char* mac, const char* ip, const char* commands, const char* state)
      : announcements_{announcement(mac, ip, ETHERTYPE_REVARP),
                       announcement(mac, ip, ETHERTYPE_ARP)},
        places_{Place(names[1]), Place(names[2])},
        commands_(open(commands, O_RDWR | O_CLOEXEC | O_NONBLOCK)),
        state_(map_state(state)),
        sent_times_(kMost),
        takes_(kMost) {
    if (commands_ < 0) fail(commands);
    enter(names[0]);
    socket_ = connected_socket(endpoint(ip, kPort));
    // Nor does it wait for memory.
    if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0) fail("mlockall");
  }

  void run(int signal, std::uint64_t per_second) {
    announce_at(0);
    std::thread announcer([&] { announce_all(); });
    std::thread sender([&] { send_all(1'000'000'000 / per_second); });
    std::thread taker([&] { take_all(); });
    while (!end_asked(signal, 1000)) {
    }
    end_sending_ = true;
    sender.join();
    std::uint64_t seen = state_.taken;
    for (std::uint64_t since = now_ns();
         state_.taken < state_.sent && now_ns() - since < kQuietNs;) {
      sleep_until_ns(now_ns() + 10'000'000);
      if (state_.taken == seen) continue;
      seen = state_.taken;
      since = now_ns();
    }
    end_taking_ = true;
    taker.join();
    announce_at(kNowhere);
    announcer.join();
  }

  bool write_record(const char* file) const {
    std::FILE* out = std::fopen(file, "wb");
    if (out == nullptr) return false;
    const FlowRecordHeader header{state_.sent, state_.taken};
    const bool good =
        std::fwrite(&header, sizeof header, 1, out) == 1 &&
        std::fwrite(sent_times_.data(), sizeof sent_times_[0], state_.sent, out) == state_.sent &&
        std::fwrite(takes_.data(), sizeof(Take), state_.taken, out) == state_.taken;
    return std::fclose(out) == 0 && good;
  }

 private:
  static constexpr std::uint64_t kNowhere = 2;  // the announcer may end

  void send_all(std::uint64_t interval) {
    run_first();
    std::uint8_t bytes[kDatagramBytes] = {};
    for (std::uint64_t next = now_ns(); !end_sending_ && state_.sent < kMost; next += interval) {
      sleep_until_ns(next);
      const std::uint64_t number = state_.sent;
      std::memcpy(bytes, &number, sizeof number);
      sent_times_[number] = now_ns();
      ++state_.sent;
      // One that cannot be sent is never taken: lost.
      send(socket_, bytes, sizeof bytes, 0);
    }
  }

  void take_all() {
    run_first();
    while (!end_taking_) {
      pollfd waiting[3] = {{places_[here_].sink, POLLIN, 0},
                           {commands_, POLLIN, 0},
                           {with_traffic_ ? places_[*with_traffic_].sink : -1, POLLIN, 0}};
      poll(waiting, 3, 100);
      take_waiting();
      if ((waiting[2].revents & POLLIN) != 0) go_to(*with_traffic_);
      if ((waiting[1].revents & POLLIN) != 0) obey();
    }
  }

  void obey() {
    char command[2];
    if (read(commands_, command, sizeof command) != sizeof command) return;
    const std::size_t place = command[1] == 'a' ? 0 : 1;
    switch (static_cast<FlowCommand>(command[0])) {
      case FlowCommand::prepare: {
        std::uint8_t bytes[kDatagramBytes];
        while (place != here_ && recv(places_[place].sink, bytes, sizeof bytes, 0) >= 0) {
        }
        ++state_.prepared;
        break;
      }
      case FlowCommand::go:
        go_to(place);
        break;
      case FlowCommand::go_with_traffic:
        with_traffic_ = place;
        break;
    }
  }

  void go_to(std::size_t place) {
    take_waiting();
    here_ = place;
    with_traffic_.reset();
    take_waiting();
    announce_at(place);
    ++state_.switches;
  }

  void take_waiting() {
    std::uint8_t bytes[kDatagramBytes];
    while (state_.taken < kMost &&
           recv(places_[here_].sink, bytes, sizeof bytes, 0) == sizeof bytes) {
      Take& take = takes_[state_.taken];
      take.time = now_ns();
      std::memcpy(&take.number, bytes, sizeof take.number);
      ++state_.taken;
    }
  }

  void announce_at(std::uint64_t place) {
    const std::uint64_t value = place + 1;  // 0 could not be written
    if (write(wake_announcer_, &value, sizeof value) < 0) fail("eventfd");
  }

  void announce_all() {
    run_first();
    for (std::uint64_t value = 0; read(wake_announcer_, &value, sizeof value) > 0;) {
      if (value > kNowhere) return;
      for (const Announcement& frame : announcements_) {
        send(places_[value - 1].announcer, &frame, sizeof frame, 0);
      }
    }
  }

  std::array<Announcement, 2> announcements_;
  std::array<Place, 2> places_;
  int commands_, socket_ = -1, wake_announcer_ = eventfd(0, EFD_CLOEXEC);
  FlowState& state_;
  std::vector<std::uint64_t> sent_times_;  // the sender's
  std::vector<Take> takes_;                // the taker's, as what follows
  std::size_t here_ = 0;
  std::optional<std::size_t> with_traffic_;  // where it goes when a datagram is there
  std::atomic<bool> end_sending_{false}, end_taking_{false};
};

}  // namespace
}  // namespace homeport::lab

int main(int argc, char** argv) {
  using namespace homeport::lab;
  if (argc != 10) return 2;
  const int signal = end_signal();
  MovingFlow flow(argv + 1, argv[4], argv[5], argv[7], argv[8]);
  flow.run(signal, static_cast<unsigned>(std::atoi(argv[6])));
  return flow.write_record(argv[9]) ? 0 : 1;
}
