#include "tests/lab/tap_watch.h"

#include <linux/ethtool.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>

#include "tests/lab/failure.h"
#include "tests/lab/pattern.h"

namespace homeport::lab {
namespace {

constexpr std::size_t kIpv4 = ETH_HLEN, kIpv6 = ETH_HLEN;
constexpr std::size_t kIpv4Udp = kIpv4 + 20, kIpv6Udp = kIpv6 + 40, kUdpBytes = 8;

/// Passes UDP from or to the guest's port, over IPv4 (without options) and IPv6, and nothing else:
/// of what passes the kernel makes a copy, and a packet that has one takes another way out of a
/// VXLAN device than one that has not (gro_cells_receive()), on which it may be overtaken. The
/// tunnel's own packets must not be watched, or datagrams come in another order.
void pass_datagrams_only(int socket) {
  constexpr std::uint32_t kSource = 0, kDestination = 2;
  sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 12),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ETH_P_IPV6, 0, 6),
      BPF_STMT(BPF_LD | BPF_B | BPF_ABS, kIpv6 + 6),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, IPPROTO_UDP, 0, 12),
      BPF_STMT(BPF_LD | BPF_H | BPF_ABS, kIpv6Udp + kSource),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kGuestDatagramPort, 9, 0),
      BPF_STMT(BPF_LD | BPF_H | BPF_ABS, kIpv6Udp + kDestination),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kGuestDatagramPort, 7, 8),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ETH_P_IP, 0, 7),
      BPF_STMT(BPF_LD | BPF_B | BPF_ABS, kIpv4 + 9),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, IPPROTO_UDP, 0, 5),
      BPF_STMT(BPF_LD | BPF_H | BPF_ABS, kIpv4Udp + kSource),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kGuestDatagramPort, 2, 0),
      BPF_STMT(BPF_LD | BPF_H | BPF_ABS, kIpv4Udp + kDestination),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kGuestDatagramPort, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, 128),
      BPF_STMT(BPF_RET | BPF_K, 0),
  };
  sock_fprog program{sizeof code / sizeof *code, code};
  setsockopt(socket, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program);
}

bool is_tap(int socket, int index) {
  ifreq request{};
  request.ifr_ifindex = index;
  if (ioctl(socket, SIOCGIFNAME, &request) != 0) return false;
  ethtool_drvinfo driver{};
  driver.cmd = ETHTOOL_GDRVINFO;
  request.ifr_data = reinterpret_cast<char*>(&driver);
  return ioctl(socket, SIOCETHTOOL, &request) == 0 && std::strcmp(driver.driver, "tun") == 0;
}

std::uint16_t port_at(const std::uint8_t* bytes) {
  return static_cast<std::uint16_t>(bytes[0] << 8 | bytes[1]);
}

}  // namespace

void TapRecord::mark(std::vector<bool>& set, std::uint64_t number) {
  if (number >= 1u << 24) return;  // not one of ours
  const std::lock_guard lock(mutex_);
  if (number >= set.size()) set.resize(number + 4096);
  set[number] = true;
}

bool TapRecord::has(const std::vector<bool>& set, std::uint64_t number) const {
  const std::lock_guard lock(mutex_);
  return number < set.size() && set[number];
}

TapWatch::TapWatch(const Namespace& inside, TapRecord& record) : record_(record) {
  inside.run([&] { socket_ = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL)); });
  if (socket_ < 0) throw LabFailure(std::string("packet socket: ") + std::strerror(errno));
  pass_datagrams_only(socket_);
  const int room = 32 << 20;
  setsockopt(socket_, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
  const timeval patience{0, 100'000};  // how soon the end is noticed
  setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  thread_ = std::thread([this] { work(); });
}

TapWatch::~TapWatch() {
  ending_ = true;
  thread_.join();
  close(socket_);
}

void TapWatch::work() {
  std::map<int, bool> taps;  // by interface index, which is not used twice
  std::uint64_t highest_to = 0, highest_from = 0;
  auto count_overtaken = [](std::uint64_t number, std::uint64_t& highest,
                            std::atomic<std::uint64_t>& overtaken) {
    if (number < highest) ++overtaken;
    highest = std::max(highest, number);
  };
  while (!ending_) {
    std::uint8_t frame[128];
    sockaddr_ll from{};
    socklen_t length = sizeof from;
    const ssize_t got =
        recvfrom(socket_, frame, sizeof frame, 0, reinterpret_cast<sockaddr*>(&from), &length);
    if (got < static_cast<ssize_t>(ETH_HLEN)) continue;
    auto [tap, fresh] = taps.try_emplace(from.sll_ifindex, false);
    if (fresh) tap->second = is_tap(socket_, from.sll_ifindex);
    const std::size_t udp = port_at(frame + 12) == ETH_P_IPV6 ? kIpv6Udp : kIpv4Udp;
    DatagramHeader header;
    if (!tap->second || got < static_cast<ssize_t>(udp + kUdpBytes + sizeof header)) continue;
    std::memcpy(&header, frame + udp + kUdpBytes, sizeof header);
    if (header.magic != DatagramHeader::kMagic) continue;
    if (port_at(frame + udp + 2) == kGuestDatagramPort) {
      record_.mark_to_guest(header.number);
      count_overtaken(header.number, highest_to, record_.overtaken_to_guest);
    }
    if (port_at(frame + udp) == kGuestDatagramPort) {
      record_.mark_from_guest(header.number);
      count_overtaken(header.number, highest_from, record_.overtaken_from_guest);
    }
  }
}

LossPlaces locate_losses(const DatagramReport& report, const TapRecord& taps,
                         Clock::time_point from, Clock::time_point to) {
  LossPlaces places;
  for (std::size_t i = 0; i < report.datagrams.size(); ++i) {
    const Datagram& datagram = report.datagrams[i];
    const Clock::time_point sent{std::chrono::nanoseconds(datagram.sent)};
    if (datagram.answered != 0 || sent < from || sent > to) continue;
    if (!taps.to_guest(i)) {
      ++places.before_tap;
    } else if (!taps.from_guest(i)) {
      ++places.inside_guest;
    } else {
      ++places.after_tap;
    }
  }
  return places;
}

std::vector<LossPlaces> losses_per_move(const DatagramReport& report, const TapRecord& taps,
                                        const std::vector<Clock::time_point>& starts,
                                        std::uint64_t guest_drops) {
  std::vector<LossPlaces> all;
  for (std::size_t i = 0; i < starts.size(); ++i) {
    const auto from = i == 0 ? Clock::time_point::min() : starts[i];
    const auto until =
        i + 1 < starts.size() ? starts[i + 1] - Clock::duration(1) : Clock::time_point::max();
    LossPlaces& places = all.emplace_back(locate_losses(report, taps, from, until));
    const std::uint64_t excused = std::min(places.inside_guest, guest_drops);
    places.inside_guest -= excused;
    guest_drops -= excused;
  }
  return all;
}

std::string LossPlaces::to_string() const {
  return std::to_string(before_tap) + " before the guest's tap, " + std::to_string(inside_guest) +
         " inside the guest, " + std::to_string(after_tap) + " after its tap";
}

}  // namespace homeport::lab
