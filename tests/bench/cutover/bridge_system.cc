#include "tests/bench/cutover/bridge_system.h"

#include "tests/lab/process.h"

namespace homeport::lab {

BridgeSystem::BridgeSystem() {
  for (std::size_t host = 0; host < PlainHosts::kCount; ++host) {
    const Namespace& inside = hosts_.inside(host);
    const std::string address = PlainHosts::address(host);
    inside.ip("addr add " + address + "/24 dev eth0");
    inside.ip("link add vxlan0 type vxlan id 100 dstport 4789 dev eth0 local " + address);
    inside.ip("link add br0 type bridge stp_state 0 forward_delay 0");
    for (const char* port :
         {"vxlan0", host < 2 ? Containers::kAppDevice : Containers::kSenderDevice}) {
      inside.ip(std::string("link set ") + port + " master br0 up");
    }
    inside.ip("link set br0 up");
    // At its best: where br_netfilter is there, every bridged frame would pass its hooks.
    run_checked({"sh", "-c",
                 "for each in /proc/sys/net/bridge/bridge-nf-call-*tables; do "
                 "[ ! -e $each ] || echo 0 >$each; done"},
                {.inside = &inside});
    // Whom to ask for a MAC address that is not known yet; the rest is learned.
    for (std::size_t other = 0; other < PlainHosts::kCount; ++other) {
      if (other == host) continue;
      run_checked({"bridge", "-n", inside.name(), "fdb", "append", "00:00:00:00:00:00", "dev",
                   "vxlan0", "dst", PlainHosts::address(other)});
    }
  }
}

void BridgeSystem::move(Place to, MovingFlow& flow) {
  flow.take_over(to);
  flow.wait_taken_over();
}

}  // namespace homeport::lab
