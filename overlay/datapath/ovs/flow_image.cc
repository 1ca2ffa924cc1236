#include "overlay/datapath/ovs/flow_image.h"

#include "overlay/datapath/ovs/paths.h"
#include "overlay/datapath/ovs/records.h"
#include "overlay/datapath/ovs/too_big.h"
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

std::string name_of(const HostAddress& host) {
  return fmt::format("the host's address {}", host.address.to_string());
}

std::string name_of(const policy::IpAddress& vtep) {
  return fmt::format("the host {}", vtep.to_string());
}

std::string name_of(const VtepAlias& alias) {
  return fmt::format("the host {} at {}", alias.vtep.to_string(), alias.address.to_string());
}

namespace {

using vswitch::Flow;

/// FNV-1a, folded to 16 bits: whose flow it is, for a person who looks at cookies.
std::uint32_t fold(std::string_view text) {
  std::uint32_t hash = 2166136261u;
  for (unsigned char c : text) hash = (hash ^ c) * 16777619u;
  return (hash >> 16 ^ hash) & 0xffff;
}

const NetworkEntry* network_of(const DesiredState& carried, policy::Vni vni) {
  auto network = std::ranges::find(carried.networks, vni, &NetworkEntry::vni);
  return network == carried.networks.end() ? nullptr : &*network;
}

/// What a frame is longer than the IP packet in it, and the biggest that a switch can ask for.
constexpr std::uint32_t kEthernetHeader = 14, kMostChecked = 65535 - kEthernetHeader;

/// What is of no network may be a probe.
void emit_from_known(const Emitter& add, const policy::IpAddress& address) {
  add(kFromTunnel, kKnownPriority + 1, "tun_id=0," + tunnel_from(address), go(kProbe));
}

void emit_vtep(FlowImage& image, const policy::IpAddress& vtep) {
  const Emitter add(image, name_of(vtep));
  emit_from_known(add, vtep);
  add(kFromTunnel, kKnownPriority, tunnel_from(vtep),
      fmt::format("move:NXM_NX_TUN_ID[0..22]->NXM_NX_REG0[0..22],"
                  "move:NXM_NX_TUN_ID[23]->NXM_NX_REG1[1],{},{}",
                  learn(kTunnelled), go(kAddress)));
}

/// What comes from there is looked at as if it came from the host's VTEP.
void emit_alias(FlowImage& image, const VtepAlias& alias) {
  const Emitter add(image, name_of(alias));
  emit_from_known(add, alias.address);
  add(kFromTunnel, kKnownPriority, tunnel_from(alias.address),
      fmt::format("{},{},{}", came_from(alias.vtep), go(kFromTunnel), record(alias)));
}

/// Whether a network's packets are looked at for their size.
bool checks_size(const NetworkEntry* network, const BridgePorts& ports) {
  return ports.answers_too_big && network && network->mtu > 0 && network->mtu <= kMostChecked;
}

/// What does not fit the tunnel, of a port, is the agent's to answer or to cut.
void emit_too_big(const Emitter& add, const policy::MacAddress& sender, std::int64_t port,
                  const NetworkEntry& network) {
  const auto mtu = static_cast<std::uint16_t>(network.mtu);
  for (const Table table : {kFit, kSpread}) {
    add(table, 3, fmt::format("reg0={:#x},{},in_port={}", network.vni, known(kTooBig), port),
        fmt::format("controller(id={},userdata={},meter_id={})", kController,
                    write_tag({sender, mtu, table}), meter_of(port)));
  }
}

/// Goes on in `table`, where the network's packets are looked at with whether they fit the tunnel.
std::string ask_size(const NetworkEntry& network, Table table) {
  return fmt::format("check_pkt_larger({})->NXM_NX_REG1[11],{}", network.mtu + kEthernetHeader,
                     go(table));
}

/// What is sent to all of the network, by a port: to the hosts, then to the other ports that are
/// here (and forget where it comes from). From another host it is for those here.
void emit_copies(const Emitter& add, const NetworkEntry& network, const DesiredState& carried,
                 const BridgePorts& ports) {
  const std::string in = fmt::format("reg0={:#x}", network.vni);
  std::string here, there = fmt::format("{},{}", kKeyMarked, go(kClass));
  for (const Port& port : carried.ports) {
    if (port.vni != network.vni) continue;
    here += fmt::format("set_field:{}->reg5,{},", ports.numbers.at(port.device), go(kMember));
  }
  for (const policy::IpAddress& host : network.hosts) {
    there += fmt::format(",{}{},{}", tunnel_source(ports), tunnel_to(host), go(kPath));
  }
  // A last action that does nothing to a packet: where there is no port, there is none else.
  add(kCopy, 1, fmt::format("{},{}", in, known(kTunnelled, kTunnelled | kLong)),
      here + std::string(kForgetPort));
  const bool checked = checks_size(&network, ports);
  add(kCopy, 1, fmt::format("{},{}", in, known(0, kTunnelled | kLong)),
      fmt::format("{},{}{}", go(checked ? kFar : kSpread), here, kForgetPort));
  if (checked) add(kFar, 1, in, ask_size(network, kSpread));
  add(kSpread, 2, fmt::format("{},{}", in, known(kTooBig)), "drop");
  add(kSpread, 1, fmt::format("{},{}", in, known(0, kTooBig)), there);
}

void emit_port(FlowImage& image, const Port& port, const DesiredState& carried,
               const BridgePorts& ports) {
  const std::int64_t number = ports.numbers.at(port.device);
  const Emitter add(image, name_of(port));
  const std::string mac = port.mac.to_string();
  const std::string in = fmt::format("in_port={}", number);
  const NetworkEntry* network = network_of(carried, port.vni);
  std::uint32_t flags = 0;
  if (network && network->normal) flags |= kNormalWay;
  if (network && network->host_access) flags |= kHostAccess;
  add(kEntry, kEntryPriority, fmt::format("{},{}", in, known(0, kLeft)),
      fmt::format("set_field:{:#x}->reg0,set_field:{:#x}->reg1,{},{},{}", port.vni, flags,
                  set_class(port.traffic_class), go(kFromPort), record(port)));
  add(kFromPort, 3, fmt::format("{},dl_src={},{}", in, mac, kToGroup),
      fmt::format("{},{}", learn(kOwn), go(kGroup)));
  add(kFromPort, 1, fmt::format("{},dl_src={}", in, mac), go(kAddress));
  // What waited in its tap, and is sent on after a move.
  add(kFromPort, 1, fmt::format("{},dl_dst={}", in, mac), go(kAddress));
  add(kDeliver, 1, fmt::format("reg5={}", number),
      fmt::format("{},output:{}", kForgetPort, number));
  if (checks_size(network, ports)) emit_too_big(add, port.mac, number, *network);
}

void emit_network(FlowImage& image, const NetworkEntry& network, const DesiredState& carried,
                  const BridgePorts& ports) {
  const Emitter add(image, name_of(network));
  const std::string in = fmt::format("reg0={:#x}", network.vni);
  add(kAddress, 1, fmt::format("{},{}", in, kFromThere),
      fmt::format("{},{}", count(Counter::drop_unknown_address), record(network)));
  if (network.host_access) {
    add(kAddress, 2, fmt::format("{},{},dl_dst={}", in, kFromThere, kRouterMac.to_string()),
        go(kHome));
  }
  // It has judged whom it sends that to; here the bindings may be different.
  add(kGroup, 2, fmt::format("{},{}", in, kFromThere),
      fmt::format("{},{}", learn(kToMany), go(kSource)));
  if (checks_size(&network, ports)) {
    add(kSend, 2, fmt::format("{},{}", in, kFromHere), ask_size(network, kFit));
    if (ports.host != 0) emit_too_big(add, kRouterMac, ports.host, network);
  }
  emit_copies(add, network, carried, ports);
}

/// Who asks for `ip` is answered with `mac`. What has the form of an announcement is judged.
void emit_answer(const Emitter& add, const std::string& in, const std::string& mac,
                 const policy::IpAddress& ip) {
  const std::string answer = fmt::format("set_field:0x{}->xreg1,{}", hex(mac), go(kAnswer));
  const std::string asked = fmt::format("{},{},{}", in, kFromHere, kUntagged);
  if (ip.is_v6()) {
    const std::string that = fmt::format(
        "icmp6,icmp_type=135,icmp_code=0,nw_ttl=255,{},nd_target={}", asked, ip.to_string());
    add(kNeighbor, 7, fmt::format("{},dl_src={}", that, mac), count(Counter::probes));
    add(kNeighbor, 6, that, answer);
    return;
  }
  for (int operation : {1, 2}) {
    add(kNeighbor, 8,
        fmt::format("arp,{},dl_dst=ff:ff:ff:ff:ff:ff,{},arp_spa={},arp_tpa={},arp_op={}", kUntagged,
                    in, ip.to_string(), ip.to_string(), operation),
        go(kJudge));
  }
  const std::string that = fmt::format("arp,{},arp_op=1,arp_tpa={}", asked, ip.to_string());
  add(kNeighbor, 7, fmt::format("{},arp_sha={}", that, mac), count(Counter::probes));
  add(kNeighbor, 6, that, answer);
}

/// What an application may announce, and say, of one of its addresses.
void emit_own(const Emitter& add, const std::string& in, const std::string& mac,
              const policy::IpAddress& ip) {
  add(kSender, 2, fmt::format("{},{},dl_src={}", ip_from(ip), in, mac), go(kSpoken));
  if (ip.is_v6()) {
    add(kJudge, 2,
        fmt::format("icmp6,icmp_type=136,icmp_code=0,{},{},dl_src={},nd_target={},nd_tll={}", in,
                    known(kOwn), mac, ip.to_string(), mac),
        go(kSender));
    return;
  }
  for (int operation : {1, 2}) {
    add(kNeighbor, 9,
        fmt::format("arp,{},dl_dst=ff:ff:ff:ff:ff:ff,{},arp_spa={},arp_tpa={},arp_op={},{},"
                    "dl_src={},arp_sha={}",
                    kUntagged, in, ip.to_string(), ip.to_string(), operation, known(kOwn), mac,
                    mac),
        go(kSpoken));
  }
  add(kJudge, 2,
      fmt::format("rarp,{},{},dl_src={},arp_sha={},arp_tha={},arp_spa={},arp_tpa={}", in,
                  known(kOwn), mac, mac, mac, ip.to_string(), ip.to_string()),
      go(kSpoken));
}

/// Nobody else tells one station that one of an application's addresses is his.
void emit_claim(const Emitter& add, const std::string& in, const std::string& mac,
                const policy::IpAddress& ip) {
  const std::string pass = fmt::format("{},{}", learn(kTrue), go(kRoute));
  const std::string lie = count(Counter::drop_forged_announcement);
  if (ip.is_v4()) {
    const std::string said = fmt::format("arp,{},arp_spa={}", in, ip.to_string());
    add(kClaim, 3, fmt::format("{},dl_src={},arp_sha={}", said, mac, mac), pass);
    add(kClaim, 2, said, lie);
    return;
  }
  const std::string said = fmt::format("{},{}", in, ip_from(ip));
  add(kClaim, 4,
      fmt::format("icmp6,icmp_type=136,{},ipv6_src={},dl_src={}", in, ip.to_string(), mac),
      go(kTarget));
  add(kClaim, 3, fmt::format("{},dl_src={}", said, mac), pass);
  add(kClaim, 2, said, lie);
  const std::string target = fmt::format("icmp6,icmp_type=136,{},nd_target={}", in, ip.to_string());
  add(kTarget, 2, fmt::format("{},dl_src={}", target, mac), pass);
  add(kTarget, 1, target, lie);
}

/// An address of the router that every host is for the network.
void emit_gateway(FlowImage& image, const NetworkEntry& network, const policy::IpAddress& gateway) {
  const Emitter add(image, name_of(network));
  const std::string in = fmt::format("reg0={:#x}", network.vni);
  const std::string mac = kRouterMac.to_string();
  emit_answer(add, in, mac, gateway);
  const std::string to = fmt::format("{},{}", in, ip_to(gateway));
  add(kHop, 6, to, count(Counter::drop_unknown_address));
  // Is it there (RFC 792, RFC 4443)? The addresses change places.
  const bool v6 = gateway.is_v6();
  add(kHop, 7, fmt::format("{},{}", v6 ? "icmp6,icmp_type=128" : "icmp,icmp_type=8", to),
      fmt::format("move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[],set_field:{}->eth_src,"
                  "move:{}->{},set_field:{}->{},set_field:{},{},IN_PORT",
                  mac, v6 ? "NXM_NX_IPV6_SRC[]" : "NXM_OF_IP_SRC[]",
                  v6 ? "NXM_NX_IPV6_DST[]" : "NXM_OF_IP_DST[]", gateway.to_string(),
                  v6 ? "ipv6_src" : "ip_src", v6 ? "129->icmpv6_type" : "0->icmp_type",
                  count(Counter::neighbor_answers)));
}

/// An address of a host, for the applications of networks with host access.
void emit_host(FlowImage& image, const HostAddress& host) {
  const Emitter add(image, name_of(host));
  const std::string to = ip_to(host.address);
  std::string there = fmt::format("{},{},", count(Counter::routed), pass_hop(kRouterMac));
  if (host.vtep) {
    there += fmt::format("{},{}", tunnel_to(*host.vtep), go(kSend));
  } else {
    there += go(kToHost);
    add(kHome, 1, to, go(kPeer));
  }
  add(kHop, 2, fmt::format("{},{}", to, known(kHostAccess)),
      fmt::format("{},{}", there, record(host)));
}

void emit_route(FlowImage& image, const HostRoute& route) {
  const Emitter add(image, fmt::format("the route to {}", route.to.to_string()));
  add(kFromHost, 1, ip_to(route.to),
      fmt::format("set_field:{:#x}->reg0,set_field:{}->eth_src,set_field:{}->eth_dst,{},{}",
                  route.vni, kRouterMac.to_string(), route.mac.to_string(), count(Counter::routed),
                  go(kAddress)));
}

/// One compilation: the tables it looks things up in, and its result.
class Compiler {
 public:
  explicit Compiler(const BridgePorts& ports) : ports_(ports) {}

  void network(const NetworkEntry& network) {
    if (!is_network(network.vni)) {
      return problem(fmt::format("A network has the VNI {}, which is not from 1 to {}.",
                                 network.vni, kFirstLabel - 1));
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
    if (!is_network(port.vni)) {
      return problem(fmt::format("The port {} is not carried: its VNI {} is not from 1 to {}.",
                                 port.device, port.vni, kFirstLabel - 1));
    }
    devices_.insert(port.device);
    result_.carried.ports.push_back(port);
  }

  void address(const AddressEntry& entry) {
    const std::string name = fmt::format("{} in the network {}", entry.mac.to_string(), entry.vni);
    if (!is_network(entry.vni) || entry.mac.multicast() || entry.mac == kRouterMac) {
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

  /// After all VTEPs.
  void alias(const VtepAlias& alias) {
    const auto& vteps = result_.carried.vteps;
    if (std::ranges::find(vteps, alias.vtep) == vteps.end()) {
      return problem(
          fmt::format("The address {} is left out: the VTEP {} that it is another address of is no "
                      "host's.",
                      alias.address.to_string(), alias.vtep.to_string()));
    }
    if (std::ranges::find(vteps, alias.address) != vteps.end() ||
        std::ranges::find(result_.carried.aliases, alias.address, &VtepAlias::address) !=
            result_.carried.aliases.end()) {
      return problem(fmt::format(
          "The address {} of the host with the VTEP {} is another's: what comes from there counts "
          "as the other's.",
          alias.address.to_string(), alias.vtep.to_string()));
    }
    result_.carried.aliases.push_back(alias);
  }

  void path(const PathEntry& path) { paths_.path(path, result_.carried, result_.problems); }
  void relay(const RelayEntry& relay) { paths_.relay(relay, result_.carried, result_.problems); }

  void port_rules(const std::vector<policy::PortRule>& rules) {
    paths_.port_rules(rules, result_.carried, result_.problems);
  }

  void host(const HostAddress& host) { result_.carried.hosts.push_back(host); }

  CompiledFlows take() {
    settle_ips();
    for (auto& [key, entry] : addresses_) result_.carried.addresses.push_back(std::move(entry));
    normalize(result_.carried);
    emit_pipeline(result_.flows, ports_);
    settle_routes();
    const DesiredState& carried = result_.carried;
    for (const NetworkEntry& network : carried.networks) {
      emit_network(result_.flows, network, carried, ports_);
      for (const auto& gateway : network.gateways) emit_gateway(result_.flows, network, gateway);
    }
    for (const Port& port : carried.ports) {
      emit_port(result_.flows, port, carried, ports_);
    }
    for (const HostAddress& host : carried.hosts) emit_host(result_.flows, host);
    for (const HostRoute& route : result_.routes) emit_route(result_.flows, route);
    for (const policy::IpAddress& vtep : carried.vteps) emit_vtep(result_.flows, vtep);
    for (const VtepAlias& alias : carried.aliases) emit_alias(result_.flows, alias);
    for (const PathEntry& path : carried.paths) result_.flows.merge(compile_path(path));
    for (const RelayEntry& relay : carried.relays) {
      result_.flows.merge(compile_relay(relay, ports_));
    }
    result_.flows.merge(compile_rules(carried.port_rules));
    for (const AddressEntry& entry : carried.addresses) {
      result_.flows.merge(compile_address(entry, carried, ports_));
    }
    return std::move(result_);
  }

 private:
  void problem(std::string sentence) { result_.problems.push_back(std::move(sentence)); }

  /// Of those that claim the same IP address, the one with the highest generation has it.
  void settle_ips() {
    for (const NetworkEntry& network : result_.carried.networks) {
      for (const policy::IpAddress& gateway : network.gateways) spare(network.vni, gateway);
    }
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

  /// Takes a gateway's address from applications that have it.
  void spare(policy::Vni vni, const policy::IpAddress& gateway) {
    for (auto entry = addresses_.lower_bound({vni, {}});
         entry != addresses_.end() && entry->first.first == vni; ++entry) {
      if (std::erase(entry->second.ips, gateway) == 0) continue;
      problem(fmt::format(
          "The address {} in the network {} of {} is a gateway of it, and answered as such.",
          gateway.to_string(), vni, entry->second.mac.to_string()));
    }
  }

  /// What the host's own processes send goes to whoever has the address in its network, of networks
  /// with host access. After all addresses, of which `carried` is in order.
  void settle_routes() {
    std::map<policy::IpAddress, HostRoute> routes;
    std::set<policy::IpAddress> own;
    for (const HostAddress& host : result_.carried.hosts) own.insert(host.address);
    const NetworkEntry* network = nullptr;
    for (const AddressEntry& entry : result_.carried.addresses) {
      if (!network || network->vni != entry.vni) network = network_of(result_.carried, entry.vni);
      if (!network || !network->host_access) continue;
      for (const policy::IpAddress& ip : entry.ips) {
        if (own.contains(ip)) {
          problem(
              fmt::format("The address {} in the network {} is a host's own: hosts do not reach "
                          "the application by it.",
                          ip.to_string(), entry.vni));
          continue;
        }
        auto [place, is_new] =
            routes.emplace(ip, HostRoute{ip, entry.vni, entry.mac, network->mtu});
        if (is_new) continue;
        problem(
            fmt::format("The address {} is in the networks {} and {}, which hosts have access "
                        "to: they reach it in the first.",
                        ip.to_string(), place->second.vni, entry.vni));
      }
    }
    for (const auto& [ip, route] : routes) result_.routes.push_back(route);
  }

  /// Of one network, as with the eBPF datapath; what fits a message of OpenFlow is little more.
  static constexpr std::size_t kMostHosts = 1024;

  const BridgePorts& ports_;
  PathsCarried paths_;
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

namespace {

/// Whether a port that has the application's MAC address takes part in what is sent to all of its
/// network: where it is. From one that it is leaving, what comes is sent on without the mark, by
/// which its new host knows for whom it is, and to that host itself, which knows by where it comes
/// from that it is for one that comes from there. The sender has no part in it.
void emit_member(const Emitter& add, const AddressEntry& entry, const Port& port,
                 const BridgePorts& ports) {
  const std::int64_t number = ports.numbers.at(port.device);
  const std::string here = fmt::format("reg0={:#x},reg5={}", entry.vni, number);
  const auto* host = std::get_if<RemoteHost>(&entry.location);
  if (!host && std::get<LocalPort>(entry.location).device != port.device) return;
  add(kMember, 6, fmt::format("{},dl_src={}", here, entry.mac.to_string()), "drop");
  if (!host) {
    add(kMember, 1, here, go(kDeliver));
  } else if (port.held) {
    add(kMember, 5,
        fmt::format("{},{},{}", here, known(kTunnelled, kTunnelled | kMarked),
                    tunnel_from(host->vtep)),
        fmt::format("{},{}", count(Counter::delivered_held), go(kDeliver)));
  } else {
    // What another host has sent came through a tunnel, and would not be sent back to one.
    add(kMember, 2, fmt::format("{},{}", here, kFromThere),
        fmt::format("{},{},{},{},{}{}", tunnel_to(host->vtep), learn(kDirect), kKey, kForgetPort,
                    tunnel_source(ports), kWay));
    add(kMember, 1, here,
        fmt::format("{},{},{}", tunnel_to(host->vtep), learn(kDirect), go(kSend)));
  }
}

}  // namespace

FlowImage compile_address(const AddressEntry& entry, const DesiredState& carried,
                          const BridgePorts& ports) {
  FlowImage image;
  const Emitter add(image, name_of(entry), static_cast<std::uint32_t>(entry.generation));
  const std::string mac = entry.mac.to_string();
  const std::string in = fmt::format("reg0={:#x}", entry.vni);
  const std::string to = fmt::format("{},dl_dst={}", in, mac);
  const auto* host = std::get_if<RemoteHost>(&entry.location);

  if (host) {
    add(kAddress, 3, to,
        fmt::format("{},{},{},{}", tunnel_to(host->vtep), learn(kElsewhere), go(kRoute),
                    record(entry)));
  } else {
    const std::string& device = std::get<LocalPort>(entry.location).device;
    add(kAddress, 3, to,
        fmt::format("set_field:{}->reg5,{},{}", ports.numbers.at(device), go(kRoute),
                    record(entry)));
  }
  for (const Port& port : carried.ports) {
    if (port.vni != entry.vni || port.mac != entry.mac) continue;
    emit_member(add, entry, port, ports);
    if (!host || !port.held) continue;
    const std::string hold = fmt::format("{},set_field:{}->reg5,{}", count(Counter::delivered_held),
                                         ports.numbers.at(port.device), go(kDeliver));
    add(kArrived, 4, fmt::format("{},{}", to, known(kMarked)), hold);
    add(kArrived, 4, fmt::format("{},{}", to, tunnel_from(host->vtep)), hold);
    // A third host may have relayed it.
    if (!entry.relayed) add(kArrived, 2, to, hold);
  }
  if (host && entry.relayed) {
    add(kArrived, 2, to,
        fmt::format("{},{},{},{}{}", count(Counter::forwarded), kForgetPort, kKeyMarked,
                    tunnel_source(ports), kWay));
  }
  add(kSource, 2, fmt::format("{},dl_src={}", in, mac), go(kArrived));
  add(kJudge, 2,
      fmt::format("rarp,{},{},dl_src={},arp_sha={},arp_tha={},arp_spa=0.0.0.0,arp_tpa=0.0.0.0", in,
                  known(kOwn), mac, mac, mac),
      go(kSpoken));
  const NetworkEntry* network = network_of(carried, entry.vni);
  for (const policy::IpAddress& ip : entry.ips) {
    emit_answer(add, in, mac, ip);
    emit_own(add, in, mac, ip);
    emit_claim(add, in, mac, ip);
    add(kHop, 3, fmt::format("{},{}", in, ip_to(ip)),
        fmt::format("{},{},{}", count(Counter::routed), pass_hop(entry.mac), go(kAddress)));
    if (network && network->host_access) {
      add(kPeer, 1, fmt::format("{},{}", in, ip_from(ip)),
          fmt::format("{},{}", count(Counter::routed), go(kToHost)));
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
  for (const VtepAlias& alias : desired.aliases) compiler.alias(alias);
  for (const PathEntry& path : desired.paths) compiler.path(path);
  for (const RelayEntry& relay : desired.relays) compiler.relay(relay);
  compiler.port_rules(desired.port_rules);
  for (const HostAddress& host : desired.hosts) compiler.host(host);
  return compiler.take();
}

}  // namespace homeport::overlay::ovs
