// A wire that delays and loses frames, where the kernel has no netem:
//   homeport_lab_userspace_wire NAMESPACE DEVICE DEVICE
//
// Carries what comes in by one device out by the other, in both directions. Each signal kSetDelay
// or kSetLoss (userspace_wire.h) brings a value (sigqueue(3)): what comes in from then on is that
// far later, or lost that often. Prints "carries" once it does. Frames must have complete checksums
// and the size of one packet.
#include <fcntl.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <deque>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "tests/lab/clients/client.h"
#include "tests/lab/clock.h"
#include "tests/lab/userspace_wire.h"

namespace homeport::lab {
namespace {

constexpr std::size_t kMostBytes = 2048;

struct Conditions {
  std::atomic<std::uint64_t> delay_ns{0};
  std::atomic<std::uint32_t> loss_ppm{0};
};

[[noreturn]] void fail(const std::string& what) {
  std::perror(what.c_str());
  std::exit(1);
}

int device_socket(const char* name) {
  const int made = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (made < 0) fail("a packet socket");
  const int room = 16 << 20, on = 1;
  setsockopt(made, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
  if (setsockopt(made, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof on) != 0) fail("outgoing");
  sockaddr_ll device{};
  device.sll_family = AF_PACKET;
  device.sll_protocol = htons(ETH_P_ALL);
  device.sll_ifindex = static_cast<int>(if_nametoindex(name));
  if (bind(made, reinterpret_cast<sockaddr*>(&device), sizeof device) != 0) fail(name);
  return made;
}

struct Frame {
  std::uint64_t due;
  std::vector<char> bytes;
};

void carry(int from, int to, const Conditions& conditions) {
  run_first();
  std::minstd_rand random(std::random_device{}());
  std::uniform_int_distribution<std::uint32_t> million(0, 999'999);
  std::deque<Frame> under_way;
  char bytes[kMostBytes];
  while (true) {
    timespec patience{1, 0};
    if (!under_way.empty()) {
      const std::uint64_t now = now_ns(), due = under_way.front().due;
      patience = {0, due > now ? static_cast<long>(due - now) : 0};
    }
    pollfd waiting{from, POLLIN, 0};
    ppoll(&waiting, 1, &patience, nullptr);
    for (ssize_t got; (got = recv(from, bytes, sizeof bytes, 0)) > 0;) {
      if (million(random) < conditions.loss_ppm) continue;
      under_way.push_back({now_ns() + conditions.delay_ns, {bytes, bytes + got}});
    }
    for (; !under_way.empty() && under_way.front().due <= now_ns(); under_way.pop_front()) {
      // What does not fit is lost, as on any wire.
      const auto& frame = under_way.front().bytes;
      if (send(to, frame.data(), frame.size(), 0) < 0 && errno == EMSGSIZE) fail("a frame");
    }
  }
}

}  // namespace
}  // namespace homeport::lab

int main(int argc, char** argv) {
  using namespace homeport::lab;
  if (argc != 4) return 2;
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, kSetDelay);
  sigaddset(&signals, kSetLoss);
  sigprocmask(SIG_BLOCK, &signals, nullptr);
  const int inside = open((std::string("/run/netns/") + argv[1]).c_str(), O_RDONLY | O_CLOEXEC);
  if (inside < 0 || setns(inside, CLONE_NEWNET) != 0) fail(argv[1]);
  const int ends[] = {device_socket(argv[2]), device_socket(argv[3])};
  Conditions conditions;
  for (int i : {0, 1}) {
    std::thread([&, i] { carry(ends[i], ends[1 - i], conditions); }).detach();
  }
  std::puts("carries");
  std::fflush(stdout);
  siginfo_t signal{};
  while (sigwaitinfo(&signals, &signal) > 0) {
    const auto value = static_cast<std::uint32_t>(signal.si_value.sival_int);
    if (signal.si_signo == kSetDelay) conditions.delay_ns = std::uint64_t{1000} * value;
    if (signal.si_signo == kSetLoss) conditions.loss_ppm = value;
  }
}
