#include "agent/network/desired_state.h"

#include "agent/control/path_policy.h"
#include "policy/text.h"

#include <fmt/format.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <iterator>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <utility>

namespace homeport::agent {

namespace {

using overlay::LocalPort;
using overlay::Location;
using overlay::RemoteHost;

const MoveView* move_of(const LocalView& view, const Binding& binding) {
  auto move = view.moves.find(binding.application);
  return move == view.moves.end() ? nullptr : &move->second;
}

/// Where a binding is, seen from this host.
enum class Standing { here, elsewhere, arriving, leaving };

Standing standing_of(const LocalView& view, const Binding& binding) {
  if (const MoveView* move = move_of(view, binding)) {
    switch (move->place) {
      case MoveView::Place::incoming:
        return Standing::arriving;
      case MoveView::Place::here:
        return Standing::here;
      case MoveView::Place::redirected:
        return Standing::leaving;
    }
  }
  return binding.location == view.host ? Standing::here : Standing::elsewhere;
}

/// Rows by name, for as many look-ups as there are bindings.
class Lookup {
 public:
  explicit Lookup(const Contents& contents) : contents_(contents) {}

  const Network* network(const std::string& name) {
    return find(contents_.networks, networks_, name);
  }
  const Host* host(const std::string& name) { return find(contents_.hosts, hosts_, name); }

 private:
  template <class Row>
  using Known = std::unordered_map<std::string_view, const Row*>;

  /// `name` stays as long as this does: it is in a binding of the contents, or in the view.
  template <class Row>
  static const Row* find(const std::map<std::string, Row>& rows, Known<Row>& known,
                         const std::string& name) {
    auto [place, is_new] = known.try_emplace(name, nullptr);
    if (is_new) {
      auto row = rows.find(name);
      if (row != rows.end()) place->second = &row->second;
    }
    return place->second;
  }

  const Contents& contents_;
  Known<Network> networks_;
  Known<Host> hosts_;
};

std::optional<Location> remote(Lookup& lookup, const LocalView& view, const std::string& host,
                               const Binding& binding, std::vector<std::string>& problems) {
  const Host* row = lookup.host(host);
  if (!row || row->vteps.empty()) {
    problems.push_back(fmt::format("{} is at host {}, which has no VTEP in the control database",
                                   binding.name, host));
    return std::nullopt;
  }
  const policy::IpAddress* vtep = vtep_towards(*row, view.vtep);
  if (!vtep) {
    problems.push_back(
        fmt::format("{} is at host {}, whose VTEP {} is of another family than this host's, {}: "
                    "they do not reach each other; configure VTEPs of one family",
                    binding.name, host, row->vteps.front().to_string(), view.vtep.to_string()));
    return std::nullopt;
  }
  return RemoteHost{*vtep};
}

std::optional<Location> local(const Contents& contents, const LocalView& view,
                              const Binding& binding, std::vector<std::string>& problems) {
  const std::string device = device_of(contents, binding);
  if (!contents.applications.contains(binding.application)) {
    problems.push_back(fmt::format("{} is here, but nothing is known of its application {} (yet)",
                                   binding.name, binding.application));
    return std::nullopt;
  }
  if (!view.devices.contains(device)) {
    problems.push_back(fmt::format("{} is here, but its device {} is not", binding.name,
                                   device.empty() ? "(none named)" : device));
    return std::nullopt;
  }
  return LocalPort{device};
}

/// Without its tap a VM does not run, which is no problem: it has not been started, or is stopped.
bool is_off(const Contents& contents, const LocalView& view, const Binding& binding) {
  if (binding.location != view.host) return false;
  auto application = contents.applications.find(binding.application);
  return application != contents.applications.end() && application->second.driver == Driver::qemu &&
         !move_of(view, binding) && !view.devices.contains(tap_name(binding.name)) &&
         contents.networks.contains(binding.network);
}

/// The addresses that tell hosts apart: one that two of them have, a bridge's for its containers
/// for example, is nobody's.
std::vector<overlay::HostAddress> host_addresses(const Contents& contents, const LocalView& view) {
  std::map<policy::IpAddress, std::set<std::string>> owners;
  for (const auto& [name, host] : contents.hosts) {
    for (const policy::IpAddress& vtep : host.vteps) owners[vtep].insert(name);
  }
  for (const auto& [uuid, interface] : contents.interfaces) {
    owners[interface.address].insert(interface.host);
  }
  std::vector<overlay::HostAddress> addresses;
  for (const auto& [address, hosts] : owners) {
    if (hosts.size() != 1) continue;
    if (*hosts.begin() == view.host) {
      addresses.push_back({address, std::nullopt});
      continue;
    }
    auto host = contents.hosts.find(*hosts.begin());
    if (host == contents.hosts.end()) continue;
    const policy::IpAddress* vtep = vtep_towards(host->second, view.vtep);
    if (vtep) addresses.push_back({address, *vtep});
  }
  return addresses;
}

/// The other hosts of a network, in the order in which normalize() puts them.
std::vector<policy::IpAddress> hosts_in(const HostCounts& counts, policy::Vni vni) {
  std::vector<policy::IpAddress> hosts;
  if (auto found = counts.find(vni); found != counts.end()) {
    for (const auto& [vtep, count] : found->second) hosts.push_back(vtep);
  }
  return hosts;
}

/// The networks whose VNI is that of one before them, by name, with which they would be mixed up.
/// The server lets none be, as long as its schema is the agent's.
std::map<std::string, std::string> overlapping(const Contents& contents) {
  std::map<std::string, std::string> refused;
  std::map<policy::Vni, const std::string*> first;
  for (const auto& [name, network] : contents.networks) {
    auto [place, is_new] = first.emplace(network.vni, &name);
    if (!is_new) refused.emplace(name, *place->second);
  }
  return refused;
}

/// Why an address of a binding is not carried; empty if it is.
std::string refusal(const Network& network, const LocalView& view,
                    const policy::IpAddress& address) {
  if (!policy::is_unicast_beyond_link(address)) {
    return "is not a unicast address that hosts beyond its link know";
  }
  // The hosts' routes would lead what they say to the database to the application.
  if (network.host_access && view.database.contains(address)) {
    return "is the control database's, and hosts have access to network " + network.name;
  }
  return {};
}

/// All of a binding's, sorted, without those that cannot be carried.
std::vector<policy::IpAddress> addresses_of(const Network& network, const LocalView& view,
                                            const Binding& binding,
                                            std::vector<std::string>& problems) {
  std::vector<policy::IpAddress> carried;
  auto add = [&](const char* kind, const policy::IpAddress& address, std::string why) {
    if (why.empty()) {
      carried.push_back(address);
    } else {
      problems.push_back(fmt::format("{}, a {} address of {}, {}: it is not carried",
                                     address.to_string(), kind, binding.name, why));
    }
  };
  for (const policy::IpAddress& address : binding.prior_addresses) {
    const bool inside = network.subnets.empty() ||
                        std::ranges::any_of(network.subnets,
                                            [&](const Subnet& it) { return it.contains(address); });
    add("prior", address,
        inside ? refusal(network, view, address)
               : "is outside the subnets of network " + network.name);
  }
  for (const policy::IpAddress& address : binding.current_addresses) {
    add("current", address, refusal(network, view, address));
  }
  std::sort(carried.begin(), carried.end());
  carried.erase(std::unique(carried.begin(), carried.end()), carried.end());
  return carried;
}

}  // namespace

const policy::IpAddress* vtep_towards(const Host& host, const policy::IpAddress& own) {
  auto vtep = std::ranges::find_if(host.vteps, [&](const policy::IpAddress& theirs) {
    return own.is_unspecified() || theirs.is_v6() == own.is_v6();
  });
  return vtep == host.vteps.end() ? nullptr : &*vtep;
}

std::string tap_name(const std::string& binding) {
  return fmt::format("hp{:012x}", XXH3_64bits(binding.data(), binding.size()) >> 16);
}

std::string device_of(const Contents& contents, const Binding& binding) {
  auto application = contents.applications.find(binding.application);
  if (application == contents.applications.end()) return {};
  if (application->second.driver == Driver::qemu) return tap_name(binding.name);
  auto device = application->second.properties.find("device");
  return device == application->second.properties.end() ? std::string{} : device->second;
}

std::uint32_t mtu_of(const Network& network, std::uint32_t mtu_limit) {
  if (!network.mtu) return mtu_limit;
  return std::min(static_cast<std::uint32_t>(*network.mtu), mtu_limit);
}

namespace {

std::optional<overlay::AddressEntry> entry_of(const Contents& contents, Lookup& lookup,
                                              const LocalView& view, const Binding& binding,
                                              std::vector<std::string>& problems) {
  const Network* network = lookup.network(binding.network);
  if (!network) {
    problems.push_back(fmt::format("{} is in network {}, which is not in the control database",
                                   binding.name, binding.network));
    return std::nullopt;
  }
  std::optional<Location> location;
  const std::string* host = &binding.location.str();
  policy::Generation generation = binding.generation;
  auto told = view.told.find(binding.name);
  if (told != view.told.end() && told->second.generation > generation) {
    host = &told->second.host;
    generation = told->second.generation;
  }
  switch (standing_of(view, binding)) {
    case Standing::here:
      location = local(contents, view, binding, problems);
      break;
    case Standing::leaving:
      location = remote(lookup, view, move_of(view, binding)->host, binding, problems);
      break;
    case Standing::elsewhere:
    case Standing::arriving:
      if (!host->empty() && *host != view.host) {
        location = remote(lookup, view, *host, binding, problems);
      }
      break;
  }
  if (!location) return std::nullopt;
  overlay::AddressEntry entry;
  entry.vni = network->vni;
  entry.mac = binding.mac;
  entry.ips = addresses_of(*network, view, binding, problems);
  entry.location = *location;
  entry.generation = generation;
  entry.relayed =
      std::holds_alternative<RemoteHost>(entry.location) && view.been_here.contains(binding.name);
  return entry;
}

}  // namespace

std::optional<overlay::AddressEntry> address_of(const Contents& contents, const LocalView& view,
                                                const Binding& binding,
                                                std::vector<std::string>& problems) {
  Lookup lookup(contents);
  return entry_of(contents, lookup, view, binding, problems);
}

bool Own::is_here() const {
  return address && std::holds_alternative<LocalPort>(address->location);
}

bool is_own(const LocalView& view, const Binding& binding) {
  return standing_of(view, binding) != Standing::elsewhere ||
         view.been_here.contains(binding.name) || view.told.contains(binding.name);
}

namespace {

policy::TrafficClass class_of(const Binding& binding, std::vector<std::string>& problems) {
  if (binding.traffic_class.empty()) return policy::TrafficClass::best_effort;
  if (auto known = policy::parse_traffic_class(binding.traffic_class.str())) return *known;
  problems.push_back(
      fmt::format("{} is of the traffic class \"{}\", which is neither interactive nor default nor "
                  "bulk: it is treated as default",
                  binding.name, policy::printable(binding.traffic_class.str())));
  return policy::TrafficClass::best_effort;
}

Own own_of(const Contents& contents, Lookup& lookup, const LocalView& view,
           const Binding& binding) {
  Own own;
  own.device = device_of(contents, binding);
  if (is_off(contents, view, binding)) return own;
  own.address = entry_of(contents, lookup, view, binding, own.problems);
  const Standing standing = standing_of(view, binding);
  const Network* network = lookup.network(binding.network);
  if (standing == Standing::elsewhere || !network || !view.devices.contains(own.device)) return own;
  // The device stays a port while its guest is on the way out: what the guest still sends, and
  // what is read back out of its queue, enters the network there.
  own.port = {own.device, network->vni, binding.mac, standing == Standing::arriving,
              class_of(binding, own.problems)};
  return own;
}

}  // namespace

Own own_of(const Contents& contents, const LocalView& view, const Binding& binding) {
  Lookup lookup(contents);
  return own_of(contents, lookup, view, binding);
}

std::optional<overlay::NetworkEntry> network_entry(const Desired& desired, const LocalView& view,
                                                   const Network& network) {
  auto ports = desired.ports.find(network.vni);
  const bool has_ports = ports != desired.ports.end() && ports->second > 0;
  if (!has_ports && !network.host_access) return std::nullopt;
  return overlay::NetworkEntry{network.vni,
                               mtu_of(network, view.mtu_limit),
                               hosts_in(desired.hosts, network.vni),
                               network.gateways,
                               network.unknown == UnknownDestination::normal,
                               network.host_access};
}

std::uint64_t digest_of(const std::map<std::string, Host>& hosts) {
  std::string all;
  for (const auto& [name, host] : hosts) {
    fmt::format_to(std::back_inserter(all), "{}", name);
    for (const policy::IpAddress& vtep : host.vteps) {
      fmt::format_to(std::back_inserter(all), " {}", vtep.to_string());
    }
    all += ';';
  }
  return XXH3_64bits(all.data(), all.size());
}

std::vector<std::string> Desired::problems() const {
  std::vector<std::string> all;
  for (const auto& [name, other] : refused) {
    all.push_back(
        fmt::format("network {} has the VNI of network {}: it is not carried", name, other));
  }
  for (const auto& [name, one] : own) {
    all.insert(all.end(), one.problems.begin(), one.problems.end());
  }
  return all;
}

namespace {

/// What hosts say of themselves is theirs to say as long as it is no other host's address.
void add_ways(const LocalView& view, overlay::DesiredState& state) {
  const std::set<policy::IpAddress> vteps(state.vteps.begin(), state.vteps.end());
  std::set<policy::IpAddress> taken = vteps;
  taken.insert(view.vtep);
  for (const auto& [vtep, addresses] : view.aliases) {
    if (!vteps.contains(vtep)) continue;
    for (const policy::IpAddress& address : addresses) {
      if (taken.insert(address).second) state.aliases.push_back({address, vtep});
    }
  }
  for (const auto& [key, way] : view.ways) {
    if (!vteps.contains(key.first)) continue;
    state.paths.push_back({key.first, key.second, way.local, way.remote, way.relayed, way.labels});
  }
  for (const overlay::RelayEntry& relay : view.relays) {
    if (vteps.contains(relay.from) && vteps.contains(relay.to)) state.relays.push_back(relay);
  }
}

}  // namespace

Desired desired_state(const Contents& contents, const LocalView& view) {
  Desired desired;
  desired.refused = overlapping(contents);
  desired.known_hosts = digest_of(contents.hosts);
  Lookup lookup(contents);
  desired.state.addresses.reserve(contents.bindings.size());
  auto add = [&](const overlay::AddressEntry& entry) {
    const auto* host = std::get_if<RemoteHost>(&entry.location);
    if (host) ++desired.hosts[entry.vni][host->vtep];
  };
  for (const auto& [name, binding] : contents.bindings) {
    if (desired.refused.contains(binding.network)) continue;
    std::vector<std::string> problems;
    if (!is_own(view, binding)) {
      auto entry = entry_of(contents, lookup, view, binding, problems);
      if (problems.empty()) {
        if (!entry) continue;
        add(*entry);
        desired.state.addresses.push_back(std::move(*entry));
        continue;
      }
    }
    Own own = own_of(contents, lookup, view, binding);
    if (own.address) {
      add(*own.address);
      desired.state.addresses.push_back(*own.address);
    }
    if (own.port) {
      ++desired.ports[own.port->vni];
      desired.state.ports.push_back(*own.port);
    }
    desired.own.emplace(name, std::move(own));
  }
  bool host_access = false;
  for (const auto& [name, network] : contents.networks) {
    if (desired.refused.contains(name)) continue;
    auto entry = network_entry(desired, view, network);
    if (!entry) continue;
    host_access = host_access || entry->host_access;
    desired.state.networks.push_back(std::move(*entry));
  }
  if (host_access) desired.state.hosts = host_addresses(contents, view);
  for (const auto& [name, host] : contents.hosts) {
    if (name == view.host) continue;
    desired.state.vteps.insert(desired.state.vteps.end(), host.vteps.begin(), host.vteps.end());
  }
  add_ways(view, desired.state);
  desired.state.port_rules = port_rules(contents);
  overlay::normalize(desired.state);
  return desired;
}

}  // namespace homeport::agent
