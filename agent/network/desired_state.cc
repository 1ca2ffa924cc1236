#include "agent/network/desired_state.h"

#include <fmt/format.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <optional>

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

std::optional<Location> remote(const Contents& contents, const std::string& host,
                               const Binding& binding, std::vector<std::string>& problems) {
  auto row = contents.hosts.find(host);
  if (row == contents.hosts.end() || row->second.vteps.empty()) {
    problems.push_back(fmt::format("{} is at host {}, which has no VTEP in the control database",
                                   binding.name, host));
    return std::nullopt;
  }
  return RemoteHost{row->second.vteps.front()};
}

std::optional<Location> local(const LocalView& view, const std::string& device,
                              const Binding& binding, std::vector<std::string>& problems) {
  if (!view.devices.contains(device)) {
    problems.push_back(fmt::format("{} is here, but its device {} is not", binding.name,
                                   device.empty() ? "(none named)" : device));
    return std::nullopt;
  }
  return LocalPort{device};
}

/// Without its tap a VM does not run, which is no problem: it has not been started, or is stopped.
bool is_off(const Contents& contents, const LocalView& view, const Binding& binding) {
  auto application = contents.applications.find(binding.application);
  return application != contents.applications.end() && application->second.driver == Driver::qemu &&
         binding.location == view.host && !move_of(view, binding) &&
         !view.devices.contains(tap_name(binding.name)) &&
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
    if (host == contents.hosts.end() || host->second.vteps.empty()) continue;
    addresses.push_back({address, host->second.vteps.front()});
  }
  return addresses;
}

}  // namespace

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

std::optional<overlay::AddressEntry> address_of(const Contents& contents, const LocalView& view,
                                                const Binding& binding,
                                                std::vector<std::string>& problems) {
  auto network = contents.networks.find(binding.network);
  if (network == contents.networks.end()) {
    problems.push_back(fmt::format("{} is in network {}, which is not in the control database",
                                   binding.name, binding.network));
    return std::nullopt;
  }
  std::optional<Location> location;
  std::string host = binding.location;
  policy::Generation generation = binding.generation;
  auto told = view.told.find(binding.name);
  if (told != view.told.end() && told->second.generation > generation) {
    host = told->second.host;
    generation = told->second.generation;
  }
  switch (standing_of(view, binding)) {
    case Standing::here:
      location = local(view, device_of(contents, binding), binding, problems);
      break;
    case Standing::leaving:
      location = remote(contents, move_of(view, binding)->host, binding, problems);
      break;
    case Standing::elsewhere:
    case Standing::arriving:
      if (!host.empty() && host != view.host) {
        location = remote(contents, host, binding, problems);
      }
      break;
  }
  if (!location) return std::nullopt;
  overlay::AddressEntry entry;
  entry.vni = network->second.vni;
  entry.mac = binding.mac;
  entry.ips = binding.prior_addresses;
  entry.ips.insert(entry.ips.end(), binding.current_addresses.begin(),
                   binding.current_addresses.end());
  std::sort(entry.ips.begin(), entry.ips.end());
  entry.ips.erase(std::unique(entry.ips.begin(), entry.ips.end()), entry.ips.end());
  entry.location = *location;
  entry.generation = generation;
  entry.relayed =
      std::holds_alternative<RemoteHost>(entry.location) && view.been_here.contains(binding.name);
  return entry;
}

Desired desired_state(const Contents& contents, const LocalView& view) {
  Desired desired;
  std::set<policy::Vni> vnis_here;
  std::map<policy::Vni, std::set<policy::IpAddress>> hosts_of;
  for (const auto& [name, binding] : contents.bindings) {
    if (is_off(contents, view, binding)) continue;
    auto entry = address_of(contents, view, binding, desired.problems);
    if (entry) {
      if (const auto* host = std::get_if<RemoteHost>(&entry->location)) {
        hosts_of[entry->vni].insert(host->vtep);
      } else {
        desired.here.insert(name);
      }
      desired.state.addresses.push_back(std::move(*entry));
    }

    const Standing standing = standing_of(view, binding);
    const std::string device = device_of(contents, binding);
    auto network = contents.networks.find(binding.network);
    if (standing == Standing::elsewhere || !view.devices.contains(device) ||
        network == contents.networks.end()) {
      continue;
    }
    // The device stays a port while its guest is on the way out: what the guest still sends, and
    // what is read back out of its queue, enters the network there.
    desired.state.ports.push_back(
        {device, network->second.vni, binding.mac, standing == Standing::arriving});
    vnis_here.insert(network->second.vni);
  }
  bool host_access = false;
  for (const auto& [name, network] : contents.networks) {
    if (!vnis_here.contains(network.vni) && !network.host_access) continue;
    const auto& hosts = hosts_of[network.vni];
    desired.state.networks.push_back({network.vni,
                                      mtu_of(network, view.mtu_limit),
                                      {hosts.begin(), hosts.end()},
                                      network.gateways,
                                      network.unknown == UnknownDestination::normal,
                                      network.host_access});
    host_access = host_access || network.host_access;
  }
  if (host_access) desired.state.hosts = host_addresses(contents, view);
  for (const auto& [name, host] : contents.hosts) {
    if (name == view.host) continue;
    desired.state.vteps.insert(desired.state.vteps.end(), host.vteps.begin(), host.vteps.end());
  }
  overlay::normalize(desired.state);
  return desired;
}

}  // namespace homeport::agent
