#include "tests/bench/cutover/system.h"
#include "tests/lab/lab.h"

namespace homeport::lab {

PlainHosts::PlainHosts() : underlay_(own_name("underlay")) {
  for (std::size_t host = 0; host < kCount; ++host) {
    hosts_[host] = std::make_unique<Namespace>(own_name(name(host)));
    underlay_.connect(*hosts_[host], "eth0", {.rate_mbit = kLinkMbit, .mtu = 1500});
  }
  containers_ = std::make_unique<Containers>(*hosts_[0], *hosts_[1], *hosts_[2]);
}

}  // namespace homeport::lab
