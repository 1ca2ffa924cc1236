#include "overlay/link/tap.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/membarrier.h>
#include <net/if.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

namespace homeport::overlay {

using policy::errno_error;

namespace {

/// `failed` says what comes of an error, as in "tap hp1 cannot be made".
Result<UniqueFd> attach(const std::string& name, short extra_flags, const std::string& failed) {
  UniqueFd fd(::open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK));
  if (!fd) {
    return errno_error("/dev/net/tun cannot be opened (is the tun module loaded?), so the " +
                       failed);
  }
  ifreq request{};
  name.copy(request.ifr_name, IFNAMSIZ - 1);
  request.ifr_flags = static_cast<short>(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | extra_flags);
  if (::ioctl(fd.get(), TUNSETIFF, &request) < 0) return errno_error("The " + failed);
  return fd;
}

}  // namespace

Result<Link> create_tap(const TapOptions& options) {
  if (options.name.empty() || options.name.size() >= IFNAMSIZ) {
    return policy::make_error(
        boost::system::errc::invalid_argument,
        "The tap cannot be named \"" + options.name + "\": a device name has 1 to 15 characters");
  }
  if (find_link(options.name)) {
    return policy::make_error(
        boost::system::errc::file_exists,
        "The tap " + options.name + " cannot be made: a device of that name exists");
  }
  auto fd = attach(options.name, static_cast<short>(IFF_TUN_EXCL),
                   "tap " + options.name + " cannot be made");
  if (!fd) return fd.error();
  // Configured before it is made persistent: if a step fails, closing `fd` removes the device.
  // What a guest sends is not for this host's stack; and a route that comes with a device would
  // have a userspace switch read all of its tunnels' routes anew.
  if (auto done = set_ipv6_off(options.name); !done) return done.error();
  if (auto done = set_link_mtu(options.name, options.mtu); !done) return done.error();
  if (auto done = set_tx_queue_length(options.name, options.tx_queue_length); !done) {
    return done.error();
  }
  if (auto done = set_link_up(options.name, true); !done) return done.error();
  if (::ioctl(fd->get(), TUNSETPERSIST, 1) < 0) {
    return errno_error("The tap " + options.name + " cannot be made persistent");
  }
  fd->reset();
  return find_link(options.name);
}

Result<UniqueFd> open_tap_queue(const std::string& name) {
  // TUNSETIFF would create what is missing; a tap must have been made with its queue length.
  if (auto link = find_link(name); !link) return link.error();
  return attach(name, 0, "queue of the tap " + name + " cannot be opened");
}

Result<void> put_blank_frame(const std::string& name) {
  constexpr std::uint16_t kExperimental = 0x88B5;
  auto link = find_link(name);
  if (!link) return link.error();
  UniqueFd socket(::socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_ll to{};
  to.sll_family = AF_PACKET;
  to.sll_ifindex = link->index;
  to.sll_protocol = htons(kExperimental);
  to.sll_halen = ETH_ALEN;  // sll_addr stays zero: no station has this address
  const char nothing[ETH_ZLEN - ETH_HLEN] = {};
  if (!socket || ::sendto(socket.get(), nothing, sizeof nothing, 0,
                          reinterpret_cast<const sockaddr*>(&to), sizeof to) < 0) {
    return errno_error("A frame cannot be put into the tap " + name);
  }
  return {};
}

Result<bool> tap_queue_empty(int queue_fd) {
  // tun_chr_poll() reports readable exactly when the packet ring has something in it.
  pollfd poll_fd{.fd = queue_fd, .events = POLLIN, .revents = 0};
  if (::poll(&poll_fd, 1, 0) < 0) return errno_error("The queue of a tap cannot be polled");
  // poll() skips a negative descriptor.
  if (queue_fd < 0 || (poll_fd.revents & (POLLNVAL | POLLERR))) {
    return policy::make_error(boost::system::errc::bad_file_descriptor,
                              "The queue of a tap cannot be polled: its device is gone");
  }
  return (poll_fd.revents & POLLIN) == 0;
}

Result<void> wait_for_frames_in_flight() {
  // The kernel receives a frame, runs the filters over it and puts it into the queue it is
  // redirected to within one RCU read-side section. The global command is a synchronize_rcu().
  if (::syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) == 0) return {};
  constexpr const char* kUntold = "The kernel does not tell when frames in flight have arrived";
  if (errno != EINVAL) return errno_error(std::string(kUntold) + " (membarrier)");
  // Kernels booted with nohz_full= do not have it; the end of a packet socket waits likewise
  // (packet_release() calls synchronize_net()).
  if (UniqueFd socket(::socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, 0)); !socket) {
    return errno_error(std::string(kUntold) + " (packet socket)");
  }
  return {};
}

}  // namespace homeport::overlay
