#include "tests/bench/interfaces/peer_systems.h"

#include "overlay/link/link.h"

namespace homeport::lab {
namespace {

constexpr Side kSides[] = {Side::source, Side::destination};

constexpr Side other(Side side) {
  return side == Side::source ? Side::destination : Side::source;
}

/// What a userspace switch reads from it has complete checksums.
void complete_packets(const Namespace& inside, const std::string& device) {
  inside.run([&] { overlay::set_offloads_off(device).value(); });
}

std::string loopback(Side side) {
  return "10.255.0." + std::to_string(11 + index(side));
}

}  // namespace

MptcpSystem::MptcpSystem() {
  // The receiver tells of its second address, which the sender joins from the interface there.
  hosts_.host(Side::source).ip("mptcp limits set subflow 2 add_addr_accepted 2");
  hosts_.host(Side::destination).ip("mptcp limits set subflow 2 add_addr_accepted 2");
  hosts_.host(Side::destination)
      .ip("mptcp endpoint add " + PlainHosts::address(Side::destination, 1) + " dev eth1 signal");
  for (std::size_t i : {0u, 1u}) {
    wait_answers(hosts_.host(Side::source), PlainHosts::address(Side::destination, i));
  }
}

std::unique_ptr<Traffic> MptcpSystem::start_traffic() {
  return std::make_unique<MptcpTraffic>(
      hosts_.host(Side::source), PlainHosts::address(Side::destination, 0),
      hosts_.host(Side::destination), next_log(hosts_.directory()));
}

OpenVSwitchSystem::OpenVSwitchSystem(unsigned interval_ms) {
  std::string bfd = "bfd:enable=true";
  if (interval_ms != 0) {
    const std::string interval = std::to_string(interval_ms);
    bfd += " bfd:min_rx=" + interval + " bfd:min_tx=" + interval;
  }
  for (Side side : kSides) {
    for (const char* device : {"eth0", "eth1"}) complete_packets(hosts_.host(side), device);
    complete_packets(hosts_.application(side), "eth0");
    const auto underlay = [&](std::size_t i) { return PlainHosts::address(side, i) + "/24"; };
    auto vswitch = std::make_unique<OpenVSwitch>(
        hosts_.host(side), hosts_.directory() / ("ovs" + std::to_string(index(side))), "eth0",
        underlay(0));
    vswitch->add_underlay("br-phy1", "eth1", underlay(1));
    vswitch->vsctl(
        "add-br br-int -- set Bridge br-int datapath_type=netdev fail_mode=secure -- add-port "
        "br-int app0 -- set Interface app0 ofport_request=1");
    for (std::size_t i : {0u, 1u}) {
      const std::string name = "vxlan" + std::to_string(i);
      vswitch->vsctl("add-port br-int " + name + " -- set Interface " + name +
                     " type=vxlan options:key=42 ofport_request=" + std::to_string(2 + i) +
                     " options:local_ip=" + PlainHosts::address(side, i) +
                     " options:remote_ip=" + PlainHosts::address(other(side), i) + " " + bfd);
    }
    vswitch->ofctl("add-group", "br-int",
                   "group_id=1,type=ff,bucket=watch_port:2,actions=output:2,"
                   "bucket=watch_port:3,actions=output:3");
    vswitch->ofctl("add-flow", "br-int", "in_port=1,actions=group:1");
    for (const char* tunnel : {"2", "3"}) {
      vswitch->ofctl("add-flow", "br-int", std::string("in_port=") + tunnel + ",actions=output:1");
    }
    switches_.push_back(std::move(vswitch));
  }
  for (const auto& vswitch : switches_) {
    for (const char* tunnel : {"vxlan0", "vxlan1"}) {
      const std::string query =
          std::string("--if-exists get Interface ") + tunnel + " bfd_status:state";
      wait_until([&] { return vswitch->vsctl(query).starts_with("up"); }, 20s,
                 std::string("BFD of ") + tunnel + " to be up",
                 [&] { return vswitch->appctl("bfd/show"); });
    }
  }
}

NexthopSystem::NexthopSystem() {
  for (Side side : kSides) {
    const Namespace& host = hosts_.host(side);
    host.ip("addr add " + loopback(side) + "/32 dev lo");
    for (std::size_t i : {0u, 1u}) {
      host.ip("nexthop add id " + std::to_string(1 + i) + " via " +
              PlainHosts::address(other(side), i) + " dev eth" + std::to_string(i));
    }
    host.ip("nexthop add id 10 group 1/2");
    host.ip("route add " + loopback(other(side)) + "/32 nhid 10 src " + loopback(side));
    host.ip("link add vxlan0 type vxlan id 42 dstport 4789 nolearning local " + loopback(side) +
            " remote " + loopback(other(side)));
    host.ip("link add br0 type bridge stp_state 0 forward_delay 0");
    for (const char* port : {"vxlan0", PlainHosts::kDevice}) {
      host.ip(std::string("link set ") + port + " master br0 up");
    }
    host.ip("link set br0 up");
    // At its best: where br_netfilter is there, every bridged frame would pass its hooks.
    run_checked({"sh", "-c",
                 "for each in /proc/sys/net/bridge/bridge-nf-call-*tables; do "
                 "[ ! -e $each ] || echo 0 >$each; done"},
                {.inside = &host});
  }
  for (std::size_t i : {0u, 1u}) {
    wait_answers(hosts_.host(Side::source), PlainHosts::address(Side::destination, i));
  }
}

}  // namespace homeport::lab
