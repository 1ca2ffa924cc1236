#include "overlay/datapath/map_trace.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace homeport::overlay {

namespace {

constexpr std::uint8_t kIcmp = 1, kIcmp6 = 58;
/// Every IPv6 path carries packets of this size (RFC 8200, section 5).
constexpr std::uint32_t kIpv6MinMtu = 1280;

/// By which the class is that of one of the packet's ports.
std::optional<policy::PortRule> rule_for(const TraceTables& tables, const TracedPacket& packet) {
  std::optional<policy::PortRule> decides;
  for (const std::uint16_t port : {packet.destination_port, packet.source_port}) {
    const hp_port_rule_key key = rule_key(packet.protocol, port);
    const auto entry = port == 0 ? std::nullopt : tables.port_rule(key);
    if (!entry) continue;
    const policy::PortRule rule = rule_of(key, *entry);
    if (!decides || policy::decides_before(rule, *decides)) decides = rule;
  }
  return decides;
}

std::string name_of(const hp_address_key& key) {
  return fmt::format("{} {}", key.vni, mac_address(key.mac).to_string());
}

/// One packet on its way through one host.
class Tracer {
 public:
  Tracer(const TraceTables& tables, const TraceDevices& devices, const TracedPacket& packet)
      : tables_(tables), devices_(devices) {
    trace_.packet = packet;
  }

  Trace from(const FromPort& origin) {
    const __u32 ifindex = index_of(origin.device);
    if (ifindex == 0) {
      tell("port", {}, fmt::format("there is no device {} here", origin.device));
      return finish(TraceEnd::dropped);
    }
    if (!devices_.filtered.contains(ifindex)) {
      tell("port", {},
           fmt::format("{} has no filter of the datapath: what it sends passes by", origin.device));
      return finish(TraceEnd::normal);
    }
    const auto port = tables_.port(ifindex);
    const std::string entry = fmt::format("hp_ports {}", ifindex);
    if (!port) {
      tell("port", entry, fmt::format("{} is no port", origin.device));
      return drop("unknown_port");
    }
    port_ = *port;
    mtu_ = port_.mtu;
    traffic_class_ = static_cast<policy::TrafficClass>(port_.traffic_class);
    find_rule();
    trace_.vni = port_.vni;
    tell("port", entry,
         fmt::format("{} is the port of {} in network {}", origin.device, text(port_.mac), vni()));
    if (origin.next_hop && !ask_for(*origin.next_hop)) return std::move(trace_);
    if (is_group(packet())) return to_group_from_port();
    if (!speaks_for_itself() && packet().destination_mac != mac_address(port_.mac)) return forged();
    tell("source", entry, fmt::format("{} is the port's own", packet().source_mac.to_string()));
    const hp_address_key key = address_key(vni(), packet().destination_mac);
    if (const auto address = tables_.address(key)) return carry(key, *address, true);
    if (packet().destination_mac == kRouterMac) return route_from_port();
    nothing_at(key);
    return may_go_normally() ? finish(TraceEnd::normal) : drop("unknown_address");
  }

  Trace from(const FromHost&) {
    const std::string to = packet().destination.to_string();
    if (devices_.host == 0 || devices_.route != devices_.host) {
      auto device = devices_.names.find(devices_.route);
      tell("route", fmt::format("ip route {}", to),
           device == devices_.names.end()
               ? fmt::format("this host has no route to {}", to)
               : fmt::format("{} is not reached through the virtual network, but over {}", to,
                             device->second));
      return finish(TraceEnd::normal);
    }
    tell("route", fmt::format("ip route {}", to),
         fmt::format("over {}, the host's way into the virtual network",
                     devices_.names.at(devices_.host)));
    if (auto size = size_on_route(packet(), devices_.route_mtu)) {
      trace_.steps.push_back(std::move(size->step));
      if (size->told) return finish(TraceEnd::answered);
    }
    if (!devices_.filtered.contains(devices_.host)) {
      tell("route", {}, "the device has no filter of the datapath: what is sent there is lost");
      return finish(TraceEnd::dropped);
    }
    const auto route = tables_.route(ip_key(packet().destination));
    const std::string entry = fmt::format("hp_routes {}", to);
    if (!route) {
      tell("route", entry, "no application has this address");
      return drop("unknown_address");
    }
    trace_.vni = route->vni;
    tell("route", entry, fmt::format("{} in network {} has it", text(route->mac), vni()));
    const hp_address_key key = address_key(vni(), mac_address(route->mac));
    const auto address = tables_.address(key);
    if (!address) {
      nothing_at(key);
      return drop("unknown_address");
    }
    packet().source_mac = kRouterMac;
    packet().destination_mac = mac_address(route->mac);
    count("routed");
    find_rule();
    return carry(key, *address, false);
  }

  Trace from(const FromTunnel& origin) {
    trace_.vni = origin.vni;
    find_rule();
    if (!devices_.filtered.contains(devices_.vxlan)) {
      tell("vtep", {}, "the VXLAN device has no filter of the datapath: what arrives passes by");
      return finish(TraceEnd::normal);
    }
    const std::string entry = fmt::format("hp_vteps {}", origin.vtep.to_string());
    const auto known = tables_.vtep(vtep_value(origin.vtep));
    if (!known) {
      tell("vtep", entry, "it is no host's");
      return drop("unknown_vtep");
    }
    from_ = vtep_address(known->host);
    tell("vtep", entry,
         from_ == origin.vtep ? "it is a host's"
                              : fmt::format("it is of the host {}", text(known->host)));
    const hp_address_key key = address_key(vni(), packet().destination_mac);
    const auto address = tables_.address(key);
    if (!address) {
      if (vni() >= HP_FIRST_LABEL) return relay(origin);
      if (is_group(packet())) return to_group_from_tunnel(origin);
      if (packet().destination_mac == kRouterMac) return route_from_tunnel();
      nothing_at(key);
      return drop(tables_.network(vni()) ? "unknown_address" : "unknown_network");
    }
    const hp_address_key source = address_key(vni(), packet().source_mac);
    if (!tables_.address(source) && packet().source_mac != kRouterMac) {
      tell("source", "hp_addresses " + name_of(source), "nobody here has this address: forged");
      return drop("forged_source");
    }
    tell("source", "hp_addresses " + name_of(source),
         packet().source_mac == kRouterMac ? "it is the router's of the host it comes from"
                                           : "it is an application's of the network");
    if (!address->remote) return carry(key, *address, false);
    return to_who_is_elsewhere(origin, key, *address);
  }

 private:
  policy::Vni vni() const { return trace_.vni; }
  TracedPacket& packet() { return trace_.packet; }
  static std::string text(const std::uint8_t* mac) { return mac_address(mac).to_string(); }
  static std::string text(const hp_vtep& vtep) { return vtep_address(vtep).to_string(); }

  __u32 index_of(const std::string& device) const {
    auto found =
        std::ranges::find(devices_.names, device, [](const auto& it) { return it.second; });
    return found == devices_.names.end() ? 0 : found->first;
  }
  std::string name_of_device(__u32 ifindex) const {
    auto found = devices_.names.find(ifindex);
    return found == devices_.names.end() ? fmt::format("#{}", ifindex) : found->second;
  }

  void tell(std::string_view step, std::string entry, std::string found) {
    trace_.steps.push_back({step, std::move(entry), std::move(found)});
  }
  void nothing_at(const hp_address_key& key) {
    tell("destination", "hp_addresses " + name_of(key), "nobody has this address here");
  }
  void count(std::string counter) { trace_.counters.push_back(std::move(counter)); }
  Trace finish(TraceEnd end) {
    trace_.end = end;
    return std::move(trace_);
  }
  Trace drop(const std::string& reason) {
    count("drop_" + reason);
    return finish(TraceEnd::dropped);
  }
  Trace answer(std::string counter) {
    count(std::move(counter));
    return finish(TraceEnd::answered);
  }
  Trace deliver(const hp_delivery& to) {
    trace_.copies.push_back({name_of_device(to.ifindex), {}, false});
    tell("delivery", {}, fmt::format("to the device {}", trace_.copies.back().device));
    return finish(TraceEnd::delivered);
  }
  /// Whether one decides the class. The packet has no code point that says more.
  void find_rule() {
    rule_ = rule_for(tables_, packet());
    if (rule_) traffic_class_ = rule_->traffic_class;
  }
  void tell_class() {
    if (!rule_) return;
    tell("class", fmt::format("hp_port_rules {}", to_string(rule_->ports)),
         fmt::format("the rule for these ports: {}", to_string(traffic_class_)));
  }
  /// The label that the network has there; 0: it is not relayed, or has none.
  __u32 label_on(const hp_path& path) const {
    if (path.labels == 0) return 0;
    return tables_.label({path.labels, vni()}).value_or(0);
  }
  std::optional<hp_path> path_to(const hp_vtep& host, bool direct = false) const {
    auto path = tables_.path({host, static_cast<__u32>(traffic_class_)});
    if (path && path->labels != 0 && (direct || label_on(*path) == 0)) path.reset();
    return path;
  }
  /// The next host, and what the packet has there.
  TraceCopy copy_to(const hp_vtep& host, bool marked, bool direct = false) const {
    const auto path = path_to(host, direct);
    const __u32 label = path ? label_on(*path) : 0;
    if (label == 0) return {{}, vtep_address(host), marked};
    const auto relaying = tables_.vtep(path->remote);
    return {{}, vtep_address(relaying ? relaying->host : path->remote), marked, label};
  }
  Trace send(const hp_vtep& to, bool marked = false, bool direct = false) {
    tell_class();
    if (const auto path = path_to(to, direct)) {
      tell("path", fmt::format("hp_paths {} {}", text(to), to_string(traffic_class_)),
           fmt::format("from {} to {}{}", text(path->local), text(path->remote),
                       path->labels == 0 ? "" : ", which relays it"));
      if (path->labels != 0) {
        tell("label", fmt::format("hp_labels {} {}", path->labels, vni()),
             fmt::format("under the label {}", label_on(*path)));
      }
    }
    if (devices_.vxlan == 0) {
      tell("delivery", {}, "there is no VXLAN device");
      return finish(TraceEnd::dropped);
    }
    trace_.copies.push_back(copy_to(to, marked, direct));
    tell("delivery", {}, fmt::format("through the tunnel to {}", text(to)));
    return finish(TraceEnd::sent);
  }
  /// For a third host.
  Trace relay(const FromTunnel& origin) {
    const std::string entry = fmt::format("hp_relays {}", vni());
    const auto relay = tables_.relay(vni());
    if (!relay || vtep_address(relay->from) != from_) {
      tell("label", entry,
           relay ? fmt::format("it is for {} to use", text(relay->from))
                 : "this host has not given out that label");
      return drop("unknown_label");
    }
    trace_.vni = relay->vni;
    tell("label", entry,
         fmt::format("from {} to {}, in network {}", text(relay->from), text(relay->to), vni()));
    count("relayed");
    return send(relay->to, origin.marked, true);
  }
  Trace to_stack() {
    if (devices_.host == 0) {
      tell("delivery", {}, "there is no device of the host's own processes");
      return drop("unknown_address");
    }
    tell("delivery", {}, fmt::format("to this host itself, by {}", name_of_device(devices_.host)));
    return finish(TraceEnd::stack);
  }
  Trace forged() {
    tell("source", fmt::format("hp_ports {}", index_of_port()),
         fmt::format("{} is not the port's {}: forged", packet().source_mac.to_string(),
                     text(port_.mac)));
    return drop("forged_source");
  }

  bool speaks_for_itself() { return packet().source_mac == mac_address(port_.mac); }
  bool may_go_normally() const { return (port_.flags & HP_NORMAL) != 0; }
  /// Of the port that the packet comes from, for its entry's name.
  std::string index_of_port() const {
    const std::string& first = trace_.steps.front().entry;
    return first.substr(first.find(' ') + 1);
  }

  /// Whether the application learns where to send the packet; otherwise the trace has ended.
  bool ask_for(const policy::IpAddress& next_hop) {
    const auto owner = tables_.neighbor(neighbor_key(vni(), next_hop));
    const std::string entry = fmt::format("hp_neighbors {} {}", vni(), next_hop.to_string());
    if (owner && mac_address(owner->mac) == mac_address(port_.mac)) {
      tell("neighbor", entry, "it is the application's own: a probe, which gets no answer");
      count("probes");
      trace_.end = TraceEnd::dropped;
      return false;
    }
    if (owner) {
      packet().destination_mac = mac_address(owner->mac);
      tell("neighbor", entry,
           fmt::format("the application asks, and is answered {}", text(owner->mac)));
      return true;
    }
    if (may_go_normally()) {
      tell("neighbor", entry, "not answered here: the question goes to the bridge of the port");
      trace_.end = TraceEnd::normal;
      return false;
    }
    tell("neighbor", entry, "nobody has this address: no answer, and nothing is sent");
    count("drop_unknown_neighbor");
    trace_.end = TraceEnd::dropped;
    return false;
  }

  /// To where an application is.
  Trace carry(const hp_address_key& key, const hp_address& address, bool check_size) {
    const std::string entry = "hp_addresses " + name_of(key);
    if (!address.remote) {
      tell("destination", entry,
           fmt::format("here, at {}; generation {}", name_of_device(address.local.ifindex),
                       address.generation));
      return deliver(address.local);
    }
    tell("destination", entry,
         fmt::format("at {}; generation {}", text(address.vtep), address.generation));
    if (check_size && !fits(address.vtep)) return std::move(trace_);
    return send(address.vtep);
  }

  /// The frame is late or early: the application moves, or has moved.
  Trace to_who_is_elsewhere(const FromTunnel& origin, const hp_address_key& key,
                            const hp_address& address) {
    tell("destination", "hp_addresses " + name_of(key),
         fmt::format("at {}; generation {}", text(address.vtep), address.generation));
    const std::string entry = "hp_held " + name_of(key);
    if (origin.marked || !address.relayed || vtep_address(address.vtep) == from_) {
      if (const auto held = tables_.held(key)) {
        tell("held", entry,
             fmt::format("it is on its way here: to its port {}", name_of_device(held->ifindex)));
        count("delivered_held");
        return deliver(*held);
      }
      tell("held", entry, "it is not on its way here");
    }
    if (origin.marked) {
      tell("mark", {}, "the packet was sent on once already");
      return drop("forwarded_twice");
    }
    if (!address.relayed) {
      tell("mark", "hp_addresses " + name_of(key),
           "this host has not had it just now: not sent on");
      return drop("elsewhere");
    }
    tell("mark", "hp_addresses " + name_of(key), "it was here just now: sent on, marked");
    count("forwarded");
    return send(address.vtep, true);
  }

  /// Whether the packet goes on into the tunnel; otherwise the trace has ended.
  bool fits(const hp_vtep& host) {
    const std::uint32_t length = packet().length;
    if (mtu_ == 0 || length <= mtu_) return true;
    const bool v6 = packet().destination.is_v6();
    const auto path = path_to(host);
    const bool outer_v6 = path ? path->remote.v6 != 0 : host.v6 != 0;
    const std::uint32_t told = v6 ? std::max(mtu_, kIpv6MinMtu) : mtu_;
    const std::string entry = fmt::format("hp_ports {}", index_of_port());
    const bool answers = v6 ? length > told : packet().dont_fragment || outer_v6;
    if (answers) {
      tell("size", entry,
           fmt::format("{} bytes, {} fit: the sender is told {}", length, mtu_, told));
      count("too_big_answers");
      trace_.end = TraceEnd::answered;
      return false;
    }
    if (outer_v6) {
      tell("size", entry,
           fmt::format("{} bytes, {} fit, and no answer helps over IPv6", length, mtu_));
      count("drop_too_big");
      trace_.end = TraceEnd::dropped;
      return false;
    }
    tell("size", entry, fmt::format("{} bytes, {} fit: fragmented outside", length, mtu_));
    count("fragmented");
    return true;
  }

  Trace route_from_port() {
    const auto source = tables_.neighbor(neighbor_key(vni(), packet().source));
    const std::string from = fmt::format("hp_neighbors {} {}", vni(), packet().source.to_string());
    if (!source || mac_address(source->mac) != mac_address(port_.mac)) {
      tell("source", from, "it is not an address of the application: forged");
      return drop("forged_source");
    }
    tell("source", from, "it is the application's own");
    const auto owner = tables_.neighbor(neighbor_key(vni(), packet().destination));
    const std::string to =
        fmt::format("hp_neighbors {} {}", vni(), packet().destination.to_string());
    if (owner && mac_address(owner->mac) == kRouterMac) {
      tell("router", to, "it is the router's own, which answers echo requests and nothing else");
      const bool echo = packet().protocol == (packet().destination.is_v6() ? kIcmp6 : kIcmp);
      return echo ? answer("neighbor_answers") : drop("unknown_address");
    }
    if (packet().hops <= 1) {
      tell("router", {}, "it has no hop left");
      return drop("expired");
    }
    if (owner) return route_to(to, mac_address(owner->mac));
    tell("router", to, "no application of the network has this address");
    return route_out_of_network();
  }

  Trace route_to(const std::string& entry, const policy::MacAddress& mac) {
    tell("router", entry, fmt::format("{} has it", mac.to_string()));
    const hp_address_key key = address_key(vni(), mac);
    const auto address = tables_.address(key);
    if (!address) {
      nothing_at(key);
      return drop("unknown_address");
    }
    tell("destination", "hp_addresses " + name_of(key),
         address->remote
             ? fmt::format("at {}; generation {}", text(address->vtep), address->generation)
             : fmt::format("here, at {}; generation {}", name_of_device(address->local.ifindex),
                           address->generation));
    if (address->remote && !fits(address->vtep)) return std::move(trace_);
    pass_hop(mac);
    return address->remote ? send(address->vtep) : deliver(address->local);
  }

  Trace route_out_of_network() {
    const std::string to = packet().destination.to_string();
    std::optional<hp_host> host;
    if (port_.flags & HP_HOST_ACCESS) host = tables_.host(ip_key(packet().destination));
    if (host && !host->here) {
      tell("host", "hp_hosts " + to, fmt::format("it is of the host at {}", text(host->vtep)));
      if (!fits(host->vtep)) return std::move(trace_);
      pass_hop(kRouterMac);
      return send(host->vtep);
    }
    if (host) {
      tell("host", "hp_hosts " + to, "it is this host's own");
    } else if (may_go_normally()) {
      tell("host", {},
           "it is no host's that the network has access to: left to this host's routing");
    } else {
      tell("host", "hp_hosts " + to,
           port_.flags & HP_HOST_ACCESS ? "it is no host's either"
                                        : "the network has no access to hosts");
      return drop("unknown_address");
    }
    pass_hop(kRouterMac);
    return to_stack();
  }

  void pass_hop(const policy::MacAddress& to) {
    packet().hops -= 1;
    packet().source_mac = kRouterMac;
    packet().destination_mac = to;
    count("routed");
  }

  Trace route_from_tunnel() {
    const auto network = tables_.network(vni());
    const std::string entry = fmt::format("hp_networks {}", vni());
    if (!network) {
      tell("router", entry, "the network has nothing here");
      return drop("unknown_network");
    }
    if (!(network->flags & HP_HOST_ACCESS)) {
      tell("router", entry, "the network has no access to hosts");
      return drop("unknown_address");
    }
    tell("router", entry, "the network has access to hosts");
    const auto host = tables_.host(ip_key(packet().destination));
    const std::string to = "hp_hosts " + packet().destination.to_string();
    if (!host || !host->here) {
      tell("host", to, "it is not this host's");
      return drop("unknown_address");
    }
    tell("host", to, "it is this host's own");
    const std::string from = fmt::format("hp_neighbors {} {}", vni(), packet().source.to_string());
    if (!tables_.neighbor(neighbor_key(vni(), packet().source))) {
      tell("source", from, "nobody has this address: forged");
      return drop("forged_source");
    }
    tell("source", from, "it is an application's of the network");
    count("routed");
    return to_stack();
  }

  Trace to_group_from_port() {
    if (!speaks_for_itself()) return forged();
    tell("source", fmt::format("hp_ports {}", index_of_port()),
         fmt::format("{} is the port's own", packet().source_mac.to_string()));
    if (may_go_normally()) {
      tell("group", fmt::format("hp_ports {}", index_of_port()),
           "the network leaves groups to the bridge of the port");
      return finish(TraceEnd::normal);
    }
    if (const auto network = tables_.network(vni())) {
      copy_to_ports(*network, std::nullopt);
      copy_to_hosts(*network);
    } else {
      tell("group", fmt::format("hp_networks {}", vni()), "there is no such network: to nobody");
    }
    count("multicast");
    return finish(TraceEnd::copied);
  }

  Trace to_group_from_tunnel(const FromTunnel& origin) {
    const auto network = tables_.network(vni());
    if (!network) {
      tell("group", fmt::format("hp_networks {}", vni()), "the network has nothing here");
      return drop("unknown_network");
    }
    const hp_address_key source = address_key(vni(), packet().source_mac);
    if (!tables_.address(source)) {
      tell("source", "hp_addresses " + name_of(source), "nobody here has this address");
      return drop("unknown_address");
    }
    tell("source", "hp_addresses " + name_of(source), "it is an application's of the network");
    copy_to_ports(*network, origin.marked ? std::nullopt : std::optional(from_));
    count("multicast");
    return finish(TraceEnd::copied);
  }

  /// `relayed_by`: the host that an application moves away from, for that application alone.
  void copy_to_ports(const hp_network& network,
                     const std::optional<policy::IpAddress>& relayed_by) {
    for (__u32 index = 0; index < network.ports; ++index) {
      const auto ifindex = tables_.network_port({vni(), index});
      const auto port = ifindex ? tables_.port(*ifindex) : std::nullopt;
      if (!port || port->vni != vni() || mac_address(port->mac) == packet().source_mac) continue;
      const auto address = tables_.address(address_key(vni(), mac_address(port->mac)));
      if (!address) continue;
      const std::string entry = fmt::format("hp_network_ports {} {}", vni(), index);
      const std::string device = name_of_device(*ifindex);
      if (relayed_by) {
        if (!port->held || !address->remote || vtep_address(address->vtep) != *relayed_by) continue;
        count("delivered_held");
        tell("group", entry, fmt::format("{} is on its way here, to {}", text(port->mac), device));
      } else if (address->remote) {
        if (port->held || devices_.vxlan == 0) continue;
        trace_.copies.push_back(copy_to(address->vtep, false, true));
        tell("group", entry,
             fmt::format("{} has left {}: sent on to {}", text(port->mac), device,
                         text(address->vtep)));
        continue;
      } else if (address->local.ifindex != *ifindex) {
        continue;
      } else {
        tell("group", entry, fmt::format("{} is a member, at {}", text(port->mac), device));
      }
      trace_.copies.push_back({device, {}, false});
    }
  }

  void copy_to_hosts(const hp_network& network) {
    if (network.hosts > 0) tell_class();
    for (__u32 index = 0; index < network.hosts; ++index) {
      const auto host = tables_.network_host({vni(), index});
      if (!host || devices_.vxlan == 0) continue;
      const TraceCopy copy = copy_to(*host, true);
      trace_.copies.push_back(copy);
      tell("group", fmt::format("hp_network_hosts {} {}", vni(), index),
           fmt::format("the host at {} has members{}", text(*host),
                       copy.label == 0 ? ""
                                       : fmt::format(": relayed by {}, under the label {}",
                                                     copy.vtep->to_string(), copy.label)));
    }
  }

  const TraceTables& tables_;
  const TraceDevices& devices_;
  hp_port port_{};
  policy::TrafficClass traffic_class_ = policy::TrafficClass::best_effort;
  std::optional<policy::PortRule> rule_;
  policy::IpAddress from_;  ///< the VTEP of the host it comes from
  std::uint32_t mtu_ = 0;
  Trace trace_;
};

}  // namespace

Trace trace(const TraceTables& tables, const TraceDevices& devices, const TraceOrigin& origin,
            const TracedPacket& packet) {
  return std::visit([&](const auto& from) { return Tracer(tables, devices, packet).from(from); },
                    origin);
}

}  // namespace homeport::overlay
