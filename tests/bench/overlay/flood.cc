#include "tests/bench/overlay/flood.h"

#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <sstream>
#include <system_error>
#include <vector>

#include "overlay/link/tap.h"
#include "overlay/link/unique_fd.h"

namespace homeport::bench {
namespace {

using std::chrono::steady_clock;
constexpr std::size_t kBatch = 64;

[[noreturn]] void fail(const std::string& what) {
  throw std::system_error(errno, std::generic_category(), what);
}

struct __attribute__((packed)) Frame {
  ether_header ethernet;
  iphdr ip;
  udphdr udp;
  std::uint8_t payload[60 - sizeof(ether_header) - sizeof(iphdr) - sizeof(udphdr)];
};

std::uint16_t header_checksum(const iphdr& header) {
  std::uint16_t words[sizeof header / 2];
  std::memcpy(words, &header, sizeof header);
  std::uint32_t sum = 0;
  for (const std::uint16_t word : words) sum += word;
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<std::uint16_t>(~sum);
}

Frame frame_of(const FloodOptions& options) {
  Frame frame{};
  std::memcpy(frame.ethernet.ether_shost, options.source_mac.bytes.data(), ETH_ALEN);
  std::memcpy(frame.ethernet.ether_dhost, options.destination_mac.bytes.data(), ETH_ALEN);
  frame.ethernet.ether_type = htons(ETHERTYPE_IP);
  frame.ip.version = 4;
  frame.ip.ihl = sizeof(iphdr) / 4;
  frame.ip.tot_len = htons(sizeof frame - sizeof frame.ethernet);
  frame.ip.ttl = 64;
  frame.ip.protocol = IPPROTO_UDP;
  if (inet_pton(AF_INET, options.source_ip.c_str(), &frame.ip.saddr) != 1 ||
      inet_pton(AF_INET, options.destination_ip.c_str(), &frame.ip.daddr) != 1) {
    errno = EINVAL;
    fail("an IPv4 address");
  }
  frame.ip.check = header_checksum(frame.ip);
  frame.udp.source = htons(9);
  frame.udp.dest = htons(9);  // discard (RFC 863)
  frame.udp.len = htons(sizeof frame.udp + sizeof frame.payload);
  return frame;  // no UDP checksum: RFC 768 allows that over IPv4
}

void stay_on(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<unsigned>(cpu), &set);
  if (sched_setaffinity(0, sizeof set, &set) != 0) fail("processor " + std::to_string(cpu));
}

/// Of the processor since the machine started: user, nice, system, irq, softirq (proc(5)).
double busy_seconds(int cpu) {
  std::ifstream stat("/proc/stat");
  const std::string name = "cpu" + std::to_string(cpu) + " ";
  for (std::string line; std::getline(stat, line);) {
    if (!line.starts_with(name)) continue;
    std::istringstream fields(line.substr(name.size()));
    double user = 0, nice = 0, system = 0, idle = 0, wait = 0, irq = 0, softirq = 0;
    fields >> user >> nice >> system >> idle >> wait >> irq >> softirq;
    return (user + nice + system + irq + softirq) / static_cast<double>(sysconf(_SC_CLK_TCK));
  }
  errno = ENOENT;
  fail("/proc/stat");
}

/// A packet socket that sends straight to the device's driver (packet(7), PACKET_QDISC_BYPASS).
overlay::UniqueFd packet_socket(const std::string& device) {
  overlay::UniqueFd made(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0));
  sockaddr_ll address{};
  address.sll_family = AF_PACKET;
  address.sll_ifindex = static_cast<int>(if_nametoindex(device.c_str()));
  const int on = 1;
  if (!made || address.sll_ifindex == 0 ||
      bind(made.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
      setsockopt(made.get(), SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof on) != 0) {
    fail(device);
  }
  return made;
}

}  // namespace

policy::MacAddress nth_mac(const policy::MacAddress& first, std::uint32_t number) {
  policy::MacAddress mac = first;
  for (std::size_t i = 5; i >= 3; --i) {
    number += mac.bytes[i];
    mac.bytes[i] = static_cast<std::uint8_t>(number);
    number >>= 8;
  }
  return mac;
}

FloodResult flood(const FloodOptions& options) {
  stay_on(options.cpu);
  // Before everything else there, so that what else the machine does takes nothing of it.
  const sched_param first{.sched_priority = 10};
  sched_setscheduler(0, SCHED_FIFO, &first);
  const overlay::UniqueFd socket = packet_socket(options.device);
  std::array<Frame, kBatch> frames;
  std::array<iovec, kBatch> pieces;
  std::array<mmsghdr, kBatch> messages{};
  for (std::size_t i = 0; i < kBatch; ++i) {
    frames[i] = frame_of(options);
    pieces[i] = {&frames[i], sizeof(Frame)};
    messages[i].msg_hdr.msg_iov = &pieces[i];
    messages[i].msg_hdr.msg_iovlen = 1;
  }
  std::vector<policy::MacAddress> macs;
  for (std::uint32_t i = 0; i < options.destinations; ++i) {
    macs.push_back(nth_mac(options.destination_mac, i));
  }
  FloodResult result;
  const double busy = busy_seconds(options.cpu);
  const auto start = steady_clock::now();
  const auto end = start + std::chrono::duration<double>(options.seconds);
  for (std::size_t next = 0; steady_clock::now() < end;) {
    for (Frame& frame : frames) {
      std::memcpy(frame.ethernet.ether_dhost, macs[next].bytes.data(), ETH_ALEN);
      next = next + 1 == macs.size() ? 0 : next + 1;
    }
    const int sent = sendmmsg(socket.get(), messages.data(), kBatch, 0);
    if (sent > 0) {
      result.sent += static_cast<std::uint64_t>(sent);
    } else if (errno != ENOBUFS && errno != EAGAIN) {
      fail(options.device);
    }
  }
  result.seconds = std::chrono::duration<double>(steady_clock::now() - start).count();
  result.busy_seconds = busy_seconds(options.cpu) - busy;
  return result;
}

void drain_tap(const std::string& device, int cpu) {
  stay_on(cpu);
  const overlay::UniqueFd queue = overlay::open_tap_queue(device).value();
  std::puts("open");
  std::fflush(stdout);
  std::array<char, 65536> frame;
  pollfd waiting{queue.get(), POLLIN, 0};
  while (poll(&waiting, 1, -1) >= 0) {
    while (read(queue.get(), frame.data(), frame.size()) > 0) {
    }
  }
}

}  // namespace homeport::bench
