#include "tests/bench/cutover/containers.h"

#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "overlay/link/unique_fd.h"
#include "tests/lab/failure.h"

namespace homeport::lab {
namespace {

void turn_off_checksum_offload(const Namespace& inside, const std::string& device) {
  inside.run([&] {
    const overlay::UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    ethtool_value off{.cmd = ETHTOOL_STXCSUM, .data = 0};
    ifreq request{};
    device.copy(request.ifr_name, IFNAMSIZ - 1);
    request.ifr_data = reinterpret_cast<char*>(&off);
    if (ioctl(socket.get(), SIOCETHTOOL, &request) != 0) {
      throw LabFailure(inside.name() + ": checksum offload of " + device + ": " +
                       std::strerror(errno));
    }
  });
}

std::unique_ptr<Namespace> container(const std::string& name, const std::string& mac,
                                     const std::string& ip, const Namespace& host,
                                     const char* host_device,
                                     std::vector<std::unique_ptr<Link>>& links) {
  auto inside = std::make_unique<Namespace>(own_name(name));
  // Before there is a device: its first words would be IPv6's.
  inside->set_sysctl("net/ipv6/conf/all/disable_ipv6", "1");
  inside->set_sysctl("net/ipv6/conf/default/disable_ipv6", "1");
  links.push_back(std::make_unique<Link>(*inside, "eth0", host, host_device,
                                         LinkOptions{.rate_mbit = 0, .mtu = Containers::kMtu}));
  inside->ip("link set eth0 address " + mac);
  inside->ip("addr add " + ip + "/24 dev eth0");
  turn_off_checksum_offload(*inside, "eth0");
  return inside;
}

}  // namespace

Containers::Containers(const Namespace& a, const Namespace& b, const Namespace& c)
    : apps_{container("app-a", kAppMac, kAppIp, a, kAppDevice, links_),
            container("app-b", kAppMac, kAppIp, b, kAppDevice, links_)},
      sender_(container("sender", kSenderMac, kSenderIp, c, kSenderDevice, links_)) {
  sender_->ip(std::string("neigh replace ") + kAppIp + " lladdr " + kAppMac +
              " nud permanent dev eth0");
}

}  // namespace homeport::lab
