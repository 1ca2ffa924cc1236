#include "overlay/datapath/ovs/flow_image.h"

#include "overlay/datapath/ovs/records.h"
#include "overlay/datapath/ovs/words.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <optional>
#include <set>
#include <utility>

namespace homeport::overlay::ovs {

std::string name_of(const Port& port) {
  return fmt::format("the port {}", port.device);
}

std::string name_of(const AddressEntry& entry) {
  return fmt::format("the address {} of network {}", entry.mac.to_string(), entry.vni);
}

std::string name_of(const NetworkEntry& network) {
  return fmt::format("the network {}", network.vni);
}

std::string name_of(const policy::IpAddress& vtep) {
  return fmt::format("the host {}", vtep.to_string());
}

namespace {

using vswitch::Flow;

/// FNV-1a, folded to 16 bits: whose flow it is, for a person who looks at cookies.
std::uint32_t fold(std::string_view text) {
  std::uint32_t hash = 2166136261u;
  for (unsigned char c : text) hash = (hash ^ c) * 16777619u;
  return (hash >> 16 ^ hash) & 0xffff;
}

bool valid(policy::Vni vni) {
  return vni >= 1 && vni <= policy::kVniMax;
}

const Port* held_port(const DesiredState& carried, const AddressEntry& entry) {
  for (const Port& port : carried.ports) {
    if (port.held && port.vni == entry.vni && port.mac == entry.mac) return &port;
  }
  return nullptr;
}

void emit_vtep(FlowImage& image, const policy::IpAddress& vtep) {
  const Emitter add(image, name_of(vtep));
  add(kFromTunnel, 1, tunnel_from(vtep),
      fmt::format("move:NXM_NX_TUN_ID[0..22]->NXM_NX_REG0[0..22],"
                  "move:NXM_NX_TUN_ID[23]->NXM_NX_REG1[1],{},{}",
                  learn(kTunnelled), go(kAddress)));
}

void emit_port(FlowImage& image, const Port& port, std::int64_t number) {
  const Emitter add(image, name_of(port));
  const std::string mac = port.mac.to_string();
  const std::string in = fmt::format("in_port={}", number);
  add(kEntry, kEntryPriority, in,
      fmt::format("set_field:{:#x}->reg0,{},{}", port.vni, go(kFromPort), record(port)));
  add(kFromPort, 3, fmt::format("{},dl_src={},{}", in, mac, kToGroup),
      fmt::format("{},{}", learn(kOwn), go(kGroup)));
  add(kFromPort, 1, fmt::format("{},dl_src={}", in, mac), go(kAddress));
  // What waited in its tap, and is sent on after a move.
  add(kFromPort, 1, fmt::format("{},dl_dst={}", in, mac), go(kAddress));
  add(kDeliver, 1, fmt::format("reg5={}", number),
      fmt::format("{},output:{}", kForgetPort, number));
}

void emit_network(FlowImage& image, const NetworkEntry& network, const DesiredState& carried,
                  const BridgePorts& ports) {
  const Emitter add(image, name_of(network));
  const std::string in = fmt::format("reg0={:#x}", network.vni);
  add(kAddress, 1, fmt::format("{},{}", in, known(kTunnelled)),
      fmt::format("{},{}", count(Counter::drop_unknown_address), record(network)));
  // From another host, only marked frames are announcements.
  add(kGroup, 3, fmt::format("{},{}", in, known(kTunnelled | kMarked)),
      fmt::format("{},{}", learn(kOwn), go(kNeighbor)));
  add(kGroup, 2, fmt::format("{},{}", in, known(kTunnelled, kTunnelled | kMarked)),
      count(Counter::drop_multicast));
  std::string copies(kKeyMarked);
  for (const Port& port : carried.ports) {
    if (port.vni != network.vni) continue;
    copies += fmt::format(",set_field:{}->reg5,{}", ports.numbers.at(port.device), go(kMember));
  }
  add(kCopy, 1, fmt::format("{},{}", in, known(kTunnelled, kTunnelled | kLong)), copies);
  for (const policy::IpAddress& host : network.hosts) {
    copies += fmt::format(",{},output:{}", tunnel_to(host), ports.tunnel);
  }
  add(kCopy, 1, fmt::format("{},{}", in, known(0, kTunnelled | kLong)), copies);
}

/// ARP for one address, and what announces it.
void emit_v4(const Emitter& add, const std::string& in, const std::string& mac,
             const std::string& ip) {
  const std::string form = fmt::format("{},{},dl_dst=ff:ff:ff:ff:ff:ff", kUntagged, in);
  for (int operation : {1, 2}) {
    const std::string that =
        fmt::format("arp,{},arp_spa={},arp_tpa={},arp_op={}", form, ip, ip, operation);
    add(kNeighbor, 9, fmt::format("{},{},dl_src={},arp_sha={}", that, known(kOwn), mac, mac),
        go(kAnnounce));
    add(kNeighbor, 8, that, go(kJudge));
  }
  add(kJudge, 2,
      fmt::format("rarp,{},{},dl_src={},arp_sha={},arp_tha={},arp_spa={},arp_tpa={}", in,
                  known(kOwn), mac, mac, mac, ip, ip),
      go(kAnnounce));
  const std::string asked =
      fmt::format("arp,{},{},arp_op=1,arp_tpa={}", in, known(0, kTunnelled), ip);
  add(kNeighbor, 7, fmt::format("{},arp_sha={}", asked, mac), count(Counter::probes));
  add(kNeighbor, 6, asked, fmt::format("set_field:0x{}->xreg1,{}", hex(mac), go(kAnswer)));
}

/// The same of neighbor discovery.
void emit_v6(const Emitter& add, const std::string& in, const std::string& mac,
             const std::string& ip) {
  add(kJudge, 2,
      fmt::format("icmp6,icmp_type=136,icmp_code=0,{},{},dl_src={},nd_target={},nd_tll={}", in,
                  known(kOwn), mac, ip, mac),
      go(kSender));
  add(kSender, 2, fmt::format("ipv6,{},dl_src={},ipv6_src={}", in, mac, ip), go(kAnnounce));
  const std::string asked =
      fmt::format("icmp6,icmp_type=135,icmp_code=0,nw_ttl=255,{},{},nd_target={}", in,
                  known(0, kTunnelled), ip);
  add(kNeighbor, 7, fmt::format("{},dl_src={}", asked, mac), count(Counter::probes));
  add(kNeighbor, 6, asked, fmt::format("set_field:0x{}->xreg1,{}", hex(mac), go(kAnswer)));
}

/// One compilation: the tables it looks things up in, and its result.
class Compiler {
 public:
  explicit Compiler(const BridgePorts& ports) : ports_(ports) {}

  void network(const NetworkEntry& network) {
    if (!valid(network.vni)) {
      return problem(fmt::format("A network has the VNI {}, which is not from 1 to {}.",
                                 network.vni, policy::kVniMax));
    }
    NetworkEntry carried = network;
    if (carried.hosts.size() > kMostHosts) {
      problem(fmt::format(
          "The network {} has applications on {} other hosts; announcements reach only {} of them.",
          network.vni, network.hosts.size(), kMostHosts));
      carried.hosts.resize(kMostHosts);
    }
    result_.carried.networks.push_back(std::move(carried));
  }

  void port(const Port& port) {
    if (!ports_.numbers.contains(port.device)) {
      return problem(
          fmt::format("The port {} is not carried: the switch does not have it.", port.device));
    }
    if (!valid(port.vni)) {
      return problem(fmt::format("The port {} is not carried: its VNI {} is not from 1 to {}.",
                                 port.device, port.vni, policy::kVniMax));
    }
    devices_.insert(port.device);
    result_.carried.ports.push_back(port);
  }

  void address(const AddressEntry& entry) {
    const std::string name = fmt::format("{} in the network {}", entry.mac.to_string(), entry.vni);
    if (!valid(entry.vni) || entry.mac.multicast()) {
      return problem(
          fmt::format("The address {} is left out: it is not one an application can have.", name));
    }
    if (const auto* local = std::get_if<LocalPort>(&entry.location);
        local && !devices_.contains(local->device)) {
      return problem(fmt::format("The address {} is left out: its device {} is not a port.", name,
                                 local->device));
    }
    auto [place, is_new] = addresses_.emplace(std::pair(entry.vni, entry.mac), entry);
    if (is_new) return;
    problem(fmt::format("The address {} is listed twice; the higher generation is carried.", name));
    if (entry.generation > place->second.generation) place->second = entry;
  }

  void vtep(const policy::IpAddress& vtep) { result_.carried.vteps.push_back(vtep); }

  CompiledFlows take() {
    settle_ips();
    for (auto& [key, entry] : addresses_) result_.carried.addresses.push_back(std::move(entry));
    normalize(result_.carried);
    emit_pipeline(result_.flows, ports_);
    const DesiredState& carried = result_.carried;
    for (const NetworkEntry& network : carried.networks) {
      emit_network(result_.flows, network, carried, ports_);
    }
    for (const Port& port : carried.ports) {
      emit_port(result_.flows, port, ports_.numbers.at(port.device));
    }
    for (const policy::IpAddress& vtep : carried.vteps) emit_vtep(result_.flows, vtep);
    for (const AddressEntry& entry : carried.addresses) {
      result_.flows.merge(compile_address(entry, carried, ports_));
    }
    return std::move(result_);
  }

 private:
  void problem(std::string sentence) { result_.problems.push_back(std::move(sentence)); }

  /// Of those that claim the same IP address, the one with the highest generation has it.
  void settle_ips() {
    std::map<std::pair<policy::Vni, policy::IpAddress>, const AddressEntry*> owners;
    for (const auto& [key, entry] : addresses_) {
      for (const policy::IpAddress& ip : entry.ips) {
        auto [place, is_new] = owners.emplace(std::pair(entry.vni, ip), &entry);
        if (is_new || place->second == &entry) continue;
        problem(fmt::format(
            "The address {} in the network {} belongs to {} and to {}; the higher "
            "generation is answered with.",
            ip.to_string(), entry.vni, place->second->mac.to_string(), entry.mac.to_string()));
        if (entry.generation > place->second->generation) place->second = &entry;
      }
    }
    for (auto& [key, entry] : addresses_) {
      std::erase_if(entry.ips, [&](const policy::IpAddress& ip) {
        return owners.at(std::pair(entry.vni, ip)) != &entry;
      });
    }
  }

  /// Of one network, as with the eBPF datapath; what fits a message of OpenFlow is little more.
  static constexpr std::size_t kMostHosts = 1024;

  const BridgePorts& ports_;
  std::set<std::string> devices_;
  std::map<std::pair<policy::Vni, policy::MacAddress>, AddressEntry> addresses_;
  CompiledFlows result_;
};

}  // namespace

Emitter::Emitter(FlowImage& image, std::string owner, std::uint32_t low)
    : image_(image),
      owner_(std::move(owner)),
      cookie_(kCookie | static_cast<std::uint64_t>(fold(owner_)) << 32 | low) {}

void Emitter::operator()(Table table, unsigned priority, std::string match,
                         std::string actions) const {
  image_[{table, static_cast<std::uint16_t>(priority), std::move(match)}] = {
      {cookie_, std::move(actions)}, owner_};
}

FlowImage compile_address(const AddressEntry& entry, const DesiredState& carried,
                          const BridgePorts& ports) {
  FlowImage image;
  const Emitter add(image, name_of(entry), static_cast<std::uint32_t>(entry.generation));
  const std::string mac = entry.mac.to_string();
  const std::string in = fmt::format("reg0={:#x}", entry.vni);
  const std::string to = fmt::format("{},dl_dst={}", in, mac);

  if (const auto* local = std::get_if<LocalPort>(&entry.location)) {
    const std::int64_t number = ports.numbers.at(local->device);
    add(kAddress, 3, to,
        fmt::format("set_field:{}->reg5,{},{}", number, go(kRoute), record(entry)));
    // It takes part in what others announce, not in what is announced of itself.
    const std::string here = fmt::format("{},reg5={}", in, number);
    add(kMember, 2, fmt::format("{},dl_src={}", here, mac), "drop");
    add(kMember, 1, here, go(kDeliver));
  } else {
    const policy::IpAddress& vtep = std::get<RemoteHost>(entry.location).vtep;
    add(kAddress, 3, to,
        fmt::format("{},{},{},{}", tunnel_to(vtep), learn(kElsewhere), go(kRoute), record(entry)));
    if (const Port* held = held_port(carried, entry)) {
      const std::string hold =
          fmt::format("{},set_field:{}->reg5,{}", count(Counter::delivered_held),
                      ports.numbers.at(held->device), go(kDeliver));
      add(kArrived, 4, fmt::format("{},{}", to, known(kMarked)), hold);
      add(kArrived, 4, fmt::format("{},{}", to, tunnel_from(vtep)), hold);
    }
  }
  add(kSource, 2, fmt::format("{},dl_src={}", in, mac), go(kArrived));
  add(kJudge, 2,
      fmt::format("rarp,{},{},dl_src={},arp_sha={},arp_tha={},arp_spa=0.0.0.0,arp_tpa=0.0.0.0", in,
                  known(kOwn), mac, mac, mac),
      go(kAnnounce));
  for (const policy::IpAddress& ip : entry.ips) {
    if (ip.is_v4()) {
      emit_v4(add, in, mac, ip.to_string());
    } else {
      emit_v6(add, in, mac, ip.to_string());
    }
  }
  return image;
}

CompiledFlows compile(const DesiredState& desired, const BridgePorts& ports) {
  Compiler compiler(ports);
  for (const NetworkEntry& network : desired.networks) compiler.network(network);
  for (const Port& port : desired.ports) compiler.port(port);
  for (const AddressEntry& entry : desired.addresses) compiler.address(entry);
  for (const policy::IpAddress& vtep : desired.vteps) compiler.vtep(vtep);
  return compiler.take();
}

}  // namespace homeport::overlay::ovs
