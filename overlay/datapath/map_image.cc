#include "overlay/datapath/map_image.h"

#include "overlay/datapath/map_labels.h"
#include "overlay/datapath/map_members.h"
#include "overlay/datapath/map_rules.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <tuple>
#include <utility>

namespace homeport::overlay {

namespace asio_ip = boost::asio::ip;

std::size_t BytesHash::hash(const void* bytes, std::size_t size) {
  return XXH3_64bits(bytes, size);
}

hp_address_key address_key(policy::Vni vni, const policy::MacAddress& mac) {
  hp_address_key key{};
  key.vni = vni;
  std::copy(mac.bytes.begin(), mac.bytes.end(), key.mac);
  return key;
}

hp_ip ip_key(const policy::IpAddress& ip) {
  const asio_ip::address_v6 v6 =
      ip.is_v6() ? ip.to_v6() : asio_ip::make_address_v6(asio_ip::v4_mapped, ip.to_v4());
  hp_ip key{};
  const auto bytes = v6.to_bytes();
  std::copy(bytes.begin(), bytes.end(), key.bytes);
  return key;
}

hp_neighbor_key neighbor_key(policy::Vni vni, const policy::IpAddress& ip) {
  hp_neighbor_key key{};
  key.vni = vni;
  std::copy_n(ip_key(ip).bytes, sizeof(key.ip), key.ip);
  return key;
}

hp_mac mac_value(const policy::MacAddress& mac) {
  hp_mac value{};
  std::copy(mac.bytes.begin(), mac.bytes.end(), value.mac);
  return value;
}

hp_vtep vtep_value(const policy::IpAddress& address) {
  hp_vtep vtep{};
  if (address.is_v4()) {
    vtep.words[0] = address.to_v4().to_uint();
  } else {
    vtep.v6 = 1;
    const auto bytes = address.to_v6().to_bytes();
    std::memcpy(vtep.words, bytes.data(), bytes.size());
  }
  return vtep;
}

hp_path_key path_key(const policy::IpAddress& vtep, policy::TrafficClass traffic_class) {
  return {vtep_value(vtep), static_cast<__u32>(traffic_class)};
}

hp_path path_value(const PathEntry& entry, std::uint32_t labels) {
  return {vtep_value(entry.local), vtep_value(entry.remote), 0, labels, 0};
}

hp_relay relay_value(const RelayEntry& entry) {
  return {vtep_value(entry.from), vtep_value(entry.to), entry.vni};
}

policy::IpAddress vtep_address(const hp_vtep& vtep) {
  if (!vtep.v6) return asio_ip::address_v4(vtep.words[0]);
  asio_ip::address_v6::bytes_type bytes;
  std::memcpy(bytes.data(), vtep.words, bytes.size());
  return asio_ip::address_v6(bytes);
}

policy::IpAddress ip_address(const hp_ip& key) {
  asio_ip::address_v6::bytes_type bytes;
  std::copy_n(key.bytes, bytes.size(), bytes.begin());
  const asio_ip::address_v6 v6(bytes);
  if (v6.is_v4_mapped()) return asio_ip::make_address_v4(asio_ip::v4_mapped, v6);
  return v6;
}

policy::IpAddress neighbor_address(const hp_neighbor_key& key) {
  hp_ip ip{};
  std::copy_n(key.ip, sizeof(key.ip), ip.bytes);
  return ip_address(ip);
}

policy::MacAddress mac_address(const std::uint8_t* bytes) {
  policy::MacAddress mac;
  std::copy_n(bytes, mac.bytes.size(), mac.bytes.begin());
  return mac;
}

namespace {

static_assert(HP_VNI_MARK == policy::kVniForwardedBit);
constexpr policy::MacAddress kRouterOfPrograms{HP_ROUTER_MAC};
static_assert(kRouterOfPrograms.bytes == kRouterMac.bytes);
static_assert(HP_CLASS_DEFAULT == static_cast<int>(policy::TrafficClass::best_effort) &&
              HP_CLASS_INTERACTIVE == static_cast<int>(policy::TrafficClass::interactive) &&
              HP_CLASS_BULK == static_cast<int>(policy::TrafficClass::bulk) &&
              HP_CLASSES == policy::kTrafficClasses.size());

/// One compilation: the tables it looks things up in, and its result.
class Compiler {
 public:
  Compiler(const PortDevices& devices, const MapImage& current)
      : devices_(devices), current_(current), paths_(current) {
    for (const auto& [ifindex, port] : current.ports) used_slots_.insert(port.slot);
  }

  void expect(std::size_t addresses) {
    result_.image.addresses.reserve(addresses);
    result_.image.neighbors.reserve(addresses);
  }

  void network(const NetworkEntry& network) {
    if (!is_carried(network.vni)) {
      return problem("A network has the VNI " + std::to_string(network.vni) +
                     ", which is not from 1 to " + std::to_string(kFirstLabel - 1) + ".");
    }
    result_.image.networks[network.vni] = {network.mtu, hosts(network), 0, flags_of(network)};
    for (const policy::IpAddress& gateway : network.gateways) {
      result_.image.neighbors[neighbor_key(network.vni, gateway)] = mac_value(kRouterMac);
    }
  }

  void host(const HostAddress& host) {
    hp_host value{};
    value.here = !host.vtep;
    if (host.vtep) value.vtep = vtep_value(*host.vtep);
    result_.image.hosts[ip_key(host.address)] = value;
  }

  void port(const Port& port) {
    auto device = devices_.find(port.device);
    if (device == devices_.end()) {
      return problem("The port " + port.device + " is not carried: there is no such device.");
    }
    if (!is_carried(port.vni)) {
      return problem("The port " + port.device + " is not carried: its VNI " +
                     std::to_string(port.vni) + " is not from 1 to " +
                     std::to_string(kFirstLabel - 1) + ".");
    }
    const std::uint32_t ifindex = device->second.ifindex;
    auto slot = slot_of(ifindex);
    if (!slot) {
      return problem("The port " + port.device + " is not carried: this host has its limit of " +
                     std::to_string(HP_MAX_PORTS) + " ports.");
    }
    auto network = result_.image.networks.find(port.vni);
    const hp_port value = port_value(
        port, *slot, network == result_.image.networks.end() ? nullptr : &network->second);
    auto& image = result_.image;
    if (!image.ports.insert_or_assign(ifindex, value).second) image.contested_ports.insert(ifindex);
    const hp_delivery delivery{ifindex, *slot, device->second.peer};
    deliveries_[port.device] = delivery;
    if (!port.held) return;
    const hp_address_key key = address_key(port.vni, port.mac);
    if (!image.held.insert_or_assign(key, delivery).second) image.contested_held.insert(key);
  }

  void address(const AddressEntry& entry) {
    auto name = [&] {
      return entry.mac.to_string() + " in the network " + std::to_string(entry.vni);
    };
    if (!is_carried(entry)) {
      return problem("The address " + name() +
                     " is left out: it is not one an application can have.");
    }
    hp_address value{};
    value.generation = entry.generation;
    if (const auto* host = std::get_if<RemoteHost>(&entry.location)) {
      value.remote = 1;
      value.vtep = vtep_value(host->vtep);
      value.relayed = entry.relayed;
    } else {
      const std::string& device = std::get<LocalPort>(entry.location).device;
      auto delivery = deliveries_.find(device);
      if (delivery == deliveries_.end()) {
        return problem("The address " + name() + " is left out: its device " + device +
                       " is not a port.");
      }
      value.local = delivery->second;
    }
    const hp_address_key key = address_key(entry.vni, entry.mac);
    auto [place, is_new] = result_.image.addresses.emplace(key, value);
    if (!is_new) {
      result_.image.contested_addresses.insert(key);
      problem("The address " + name() + " is listed twice; the higher generation is carried.");
      if (place->second.generation >= value.generation) return;
      place->second = value;
    }
    for (const policy::IpAddress& ip : entry.ips) neighbor(entry, ip);
  }

  /// To which ports here a network's broadcast and multicast goes. After all ports.
  void members() {
    std::map<policy::Vni, std::set<__u32>> ports;
    for (const auto& [ifindex, port] : result_.image.ports) ports[port.vni].insert(ifindex);
    for (auto& [vni, network] : result_.image.networks) {
      network.ports = place_members(vni, current_.network_ports, ports[vni], HP_MAX_PORTS,
                                    result_.image.network_ports);
    }
  }

  /// What the host's own processes send goes to whoever answers for the address in its network.
  /// After all addresses.
  void routes() {
    struct Candidate {
      policy::Vni vni;
      policy::IpAddress ip;
      hp_mac owner;
    };
    std::vector<Candidate> candidates;
    for (const auto& [key, owner] : result_.image.neighbors) {
      auto network = result_.image.networks.find(key.vni);
      if (network == result_.image.networks.end() || !(network->second.flags & HP_HOST_ACCESS) ||
          mac_address(owner.mac) == kRouterMac) {
        continue;
      }
      candidates.push_back({key.vni, neighbor_address(key), owner});
    }
    // Of two networks with an address the one with the lower VNI has it.
    std::ranges::sort(candidates, [](const Candidate& a, const Candidate& b) {
      return std::tie(a.vni, a.ip) < std::tie(b.vni, b.ip);
    });
    for (const auto& [vni, ip, owner] : candidates) {
      const hp_ip to = ip_key(ip);
      if (result_.image.hosts.contains(to)) {
        result_.image.contested_routes.insert(to);
        problem("The address " + ip.to_string() + " in the network " + std::to_string(vni) +
                " is a host's own: hosts do not reach the application by it.");
        continue;
      }
      auto [place, is_new] = result_.image.routes.emplace(to, route_value(vni, owner));
      if (!is_new) {
        result_.image.contested_routes.insert(to);
        problem("The address " + ip.to_string() + " is in the networks " +
                std::to_string(place->second.vni) + " and " + std::to_string(vni) +
                ", which hosts have access to: they reach it in the first.");
      }
    }
  }

  void vtep(const policy::IpAddress& address) {
    const hp_vtep vtep = vtep_value(address);
    result_.image.vteps[vtep] = {vtep, 0, 0};
  }

  /// After all VTEPs.
  void alias(const VtepAlias& alias) {
    const hp_vtep vtep = vtep_value(alias.vtep);
    auto& vteps = result_.image.vteps;
    if (!vteps.contains(vtep)) {
      return problem("The address " + alias.address.to_string() + " is left out: the VTEP " +
                     alias.vtep.to_string() + " that it is another address of is no host's.");
    }
    auto [place, is_new] = vteps.emplace(vtep_value(alias.address), hp_host_address{vtep, 0, 0});
    if (!is_new && !BytesEqual{}(place->second.host, vtep)) {
      problem("The address " + alias.address.to_string() + " is one of the hosts with the VTEPs " +
              vtep_address(place->second.host).to_string() + " and " + alias.vtep.to_string() +
              ": what comes from there counts as the first one's.");
    }
  }

  void path(const PathEntry& path) {
    if (auto possible = check_path(path); !possible) {
      return problem(possible.error().message + ".");
    }
    paths_.place(path, result_.image, result_.problems);
  }

  void relay(const RelayEntry& relay) { place_relay(relay, result_.image, result_.problems); }

  void port_rules(const std::vector<policy::PortRule>& rules) {
    place_rules(rules, result_.image, result_.problems);
  }

  CompiledState take() { return std::move(result_); }

 private:
  void problem(std::string sentence) { result_.problems.push_back(std::move(sentence)); }

  /// Where the network's announcements go. Returns how many indexes the programs look at.
  std::uint32_t hosts(const NetworkEntry& network) {
    const auto wanted = hosts_of(network);
    if (wanted.size() > HP_MAX_NETWORK_HOSTS) {
      problem("The network " + std::to_string(network.vni) + " has applications on " +
              std::to_string(wanted.size()) + " other hosts; announcements reach only " +
              std::to_string(HP_MAX_NETWORK_HOSTS) + " of them.");
    }
    return place_members(network.vni, current_.network_hosts, wanted, HP_MAX_NETWORK_HOSTS,
                         result_.image.network_hosts);
  }

  void neighbor(const AddressEntry& entry, const policy::IpAddress& ip) {
    const hp_neighbor_key key = neighbor_key(entry.vni, ip);
    auto [place, is_new] = result_.image.neighbors.emplace(key, mac_value(entry.mac));
    if (is_new || mac_address(place->second.mac) == entry.mac) return;
    result_.image.contested_neighbors.insert(key);
    if (mac_address(place->second.mac) == kRouterMac) {
      return problem("The address " + ip.to_string() + " in the network " +
                     std::to_string(entry.vni) + " of " + entry.mac.to_string() +
                     " is a gateway of it, and answered as such.");
    }
    problem("The address " + ip.to_string() + " in the network " + std::to_string(entry.vni) +
            " belongs to " + mac_address(place->second.mac).to_string() + " and to " +
            entry.mac.to_string() + "; the higher generation is answered with.");
    auto owner =
        result_.image.addresses.find(address_key(entry.vni, mac_address(place->second.mac)));
    if (owner->second.generation >= entry.generation) return;
    place->second = mac_value(entry.mac);
  }

  std::optional<std::uint32_t> slot_of(std::uint32_t ifindex) {
    if (auto port = current_.ports.find(ifindex); port != current_.ports.end()) {
      return port->second.slot;
    }
    if (auto port = result_.image.ports.find(ifindex); port != result_.image.ports.end()) {
      return port->second.slot;
    }
    // A freed slot becomes available when its port is gone from `current_`, so that a new port
    // never counts into the numbers of one that is just being removed.
    return take_slot(used_slots_);
  }

  const PortDevices& devices_;
  const MapImage& current_;
  PathPlacer paths_;
  std::set<std::uint32_t> used_slots_;
  std::map<std::string, hp_delivery> deliveries_;
  CompiledState result_;
};

}  // namespace

std::optional<std::uint32_t> take_slot(std::set<std::uint32_t>& used) {
  std::uint32_t slot = 0;
  while (used.contains(slot)) ++slot;
  if (slot >= HP_MAX_PORTS) return std::nullopt;
  used.insert(slot);
  return slot;
}

CompiledState compile(const DesiredState& desired, const PortDevices& devices,
                      const MapImage& current) {
  Compiler compiler(devices, current);
  compiler.expect(desired.addresses.size());
  for (const NetworkEntry& network : desired.networks) compiler.network(network);
  for (const Port& port : desired.ports) compiler.port(port);
  compiler.members();
  for (const AddressEntry& entry : desired.addresses) compiler.address(entry);
  for (const policy::IpAddress& vtep : desired.vteps) compiler.vtep(vtep);
  for (const VtepAlias& alias : desired.aliases) compiler.alias(alias);
  for (const PathEntry& path : desired.paths) compiler.path(path);
  for (const RelayEntry& relay : desired.relays) compiler.relay(relay);
  compiler.port_rules(desired.port_rules);
  for (const HostAddress& host : desired.hosts) compiler.host(host);
  compiler.routes();
  return compiler.take();
}

DesiredState decompile(const MapImage& image, const std::map<std::uint32_t, std::string>& names,
                       const std::set<std::uint32_t>& attached) {
  auto name = [&](std::uint32_t ifindex) {
    auto found = names.find(ifindex);
    return found == names.end() ? "#" + std::to_string(ifindex) : found->second;
  };
  DesiredState state;
  MapContents<__u32, std::vector<policy::IpAddress>> hosts;
  for (const auto& [key, host] : image.network_hosts) hosts[key.vni].push_back(vtep_address(host));
  MapContents<__u32, std::vector<policy::IpAddress>> gateways;
  for (const auto& [key, owner] : image.neighbors) {
    if (mac_address(owner.mac) == kRouterMac) gateways[key.vni].push_back(neighbor_address(key));
  }
  for (const auto& [vni, network] : image.networks) {
    state.networks.push_back({vni, network.mtu, std::move(hosts[vni]), std::move(gateways[vni]),
                              (network.flags & HP_NORMAL) != 0,
                              (network.flags & HP_HOST_ACCESS) != 0});
  }
  for (const auto& [ifindex, port] : image.ports) {
    if (!attached.contains(ifindex)) continue;
    state.ports.push_back(
        {name(ifindex), port.vni, mac_address(port.mac),
         image.held.contains(address_key(port.vni, mac_address(port.mac))) && port.held != 0,
         static_cast<policy::TrafficClass>(port.traffic_class)});
  }
  MapContents<hp_address_key, std::vector<policy::IpAddress>> ips;
  for (const auto& [key, owner] : image.neighbors) {
    ips[address_key(key.vni, mac_address(owner.mac))].push_back(neighbor_address(key));
  }
  for (const auto& [key, address] : image.addresses) {
    AddressEntry entry{key.vni, mac_address(key.mac), {}, LocalPort{}, address.generation, false};
    if (address.remote) {
      entry.location = RemoteHost{vtep_address(address.vtep)};
      entry.relayed = address.relayed != 0;
    } else {
      entry.location = LocalPort{name(address.local.ifindex)};
    }
    if (auto found = ips.find(key); found != ips.end()) entry.ips = std::move(found->second);
    state.addresses.push_back(std::move(entry));
  }
  for (const auto& [address, known] : image.vteps) {
    if (BytesEqual{}(address, known.host)) {
      state.vteps.push_back(vtep_address(known.host));
    } else {
      state.aliases.push_back({vtep_address(address), vtep_address(known.host)});
    }
  }
  for (const auto& [key, path] : image.paths) {
    state.paths.push_back({vtep_address(key.host),
                           static_cast<policy::TrafficClass>(key.traffic_class),
                           vtep_address(path.local), vtep_address(path.remote), path.labels != 0,
                           labels_of(image, path)});
  }
  state.relays = relays_of(image);
  state.port_rules = rules_of(image);
  for (const auto& [ip, host] : image.hosts) {
    HostAddress address{ip_address(ip), std::nullopt};
    if (!host.here) address.vtep = vtep_address(host.vtep);
    state.hosts.push_back(std::move(address));
  }
  normalize(state);
  return state;
}

}  // namespace homeport::overlay
