#include "agent/control/validate.h"

#include "overlay/datapath/datapath.h"

#include <fmt/format.h>

#include <algorithm>

namespace homeport::agent {

namespace {

template <class... Args>
policy::Error wrong(fmt::format_string<Args...> format, Args&&... args) {
  return policy::make_error(boost::system::errc::invalid_argument,
                            fmt::format(format, std::forward<Args>(args)...));
}

bool is_name(std::string_view name) {
  auto letter_or_digit = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
  };
  return !name.empty() && name.size() <= 63 && letter_or_digit(name.front()) &&
         std::all_of(name.begin(), name.end(), [&](char c) {
           return letter_or_digit(c) || c == '.' || c == '_' || c == '-';
         });
}

}  // namespace

policy::Result<void> check_name(std::string_view what, std::string_view name) {
  if (is_name(name)) return {};
  return wrong(
      "\"{}\" is not a name for {}: use 1 to 63 letters, digits, dots, underscores or hyphens, "
      "beginning with a letter or digit",
      name, what);
}

policy::Result<void> check_binding_name(std::string_view name) {
  auto slash = name.find('/');
  bool good = slash == name.npos
                  ? is_name(name)
                  : is_name(name.substr(0, slash)) && is_name(name.substr(slash + 1));
  if (good) return {};
  return wrong(
      "\"{}\" is not a name for a binding: use a name such as vm1, or two with a slash between "
      "them, such as vm1/eth0",
      name);
}

policy::Result<void> check_network(const Contents& contents, const Network& network) {
  if (auto named = check_name("a network", network.name); !named) return named;
  if (network.vni < 1 || network.vni > policy::kVniMax) {
    return wrong("VNI {} of network {} is not between 1 and {}", network.vni, network.name,
                 policy::kVniMax);
  }
  for (const auto& [name, other] : contents.networks) {
    if (name != network.name && other.vni == network.vni) {
      return wrong("VNI {} is that of network {}: choose another one for network {}", network.vni,
                   name, network.name);
    }
  }
  for (const auto& gateway : network.gateways) {
    if (gateway.is_unspecified() || gateway.is_multicast()) {
      return wrong("{}, a gateway of network {}, is not a unicast address", gateway.to_string(),
                   network.name);
    }
    for (const auto& [name, binding] : contents.bindings) {
      if (binding.network != network.name) continue;
      const auto& theirs = binding.prior_addresses;
      if (std::find(theirs.begin(), theirs.end(), gateway) != theirs.end()) {
        return wrong("{}, a gateway of network {}, is a prior address of binding {}",
                     gateway.to_string(), network.name, name);
      }
    }
  }
  if (network.mtu && (*network.mtu < kMtuMin || *network.mtu > kMtuMax)) {
    return wrong("MTU {} of network {} is not between {} and {}", *network.mtu, network.name,
                 kMtuMin, kMtuMax);
  }
  return {};
}

policy::Result<void> check_application(const Contents& contents, const Application& application) {
  if (auto named = check_name("an application", application.name); !named) return named;
  if (!application.qmp_socket.empty() &&
      (application.qmp_socket.front() != '/' || application.qmp_socket.size() > 107)) {
    return wrong("QMP socket \"{}\" of application {} is not an absolute path of at most 107 bytes",
                 application.qmp_socket, application.name);
  }
  if (!application.launch_profile.empty()) {
    if (auto named = check_name("a launch profile", application.launch_profile); !named)
      return named;
  }
  if (application.policy && !contents.policies.contains(*application.policy)) {
    return wrong("application {} names the policy {}, which is not in the database: add it first",
                 application.name, *application.policy);
  }
  if (application.driver == Driver::netdev && !application.properties.contains("device")) {
    return wrong(
        "application {} has the driver netdev and no property \"device\": name its network "
        "device there",
        application.name);
  }
  return {};
}

policy::Result<void> check_binding(const Contents& contents, const Binding& binding) {
  if (auto named = check_binding_name(binding.name); !named) return named;
  if (!contents.applications.contains(binding.application)) {
    return wrong("binding {} names the application {}, which is not in the database: add it first",
                 binding.name, binding.application);
  }
  auto network = contents.networks.find(binding.network);
  if (network == contents.networks.end()) {
    return wrong("binding {} names the network {}, which is not in the database: add it first",
                 binding.name, binding.network);
  }
  if (binding.mac.multicast() || binding.mac == policy::MacAddress{}) {
    return wrong("{}, the MAC address of binding {}, is not a unicast address",
                 binding.mac.to_string(), binding.name);
  }
  if (binding.mac == overlay::kRouterMac) {
    return wrong(
        "{}, the MAC address of binding {}, is that of the networks' router: choose another",
        binding.mac.to_string(), binding.name);
  }
  if (!binding.traffic_class.empty() && !policy::parse_traffic_class(binding.traffic_class.str())) {
    return wrong("{}, the traffic class of binding {}, is neither interactive nor default nor bulk",
                 binding.traffic_class.str(), binding.name);
  }
  if (!binding.location.empty() && !contents.hosts.contains(binding.location)) {
    return wrong(
        "binding {} is located at {}, and no host of that name has reported to the database",
        binding.name, binding.location);
  }
  const auto& subnets = network->second.subnets;
  for (const auto& address : binding.prior_addresses) {
    if (!policy::is_unicast_beyond_link(address)) {
      return wrong(
          "{}, a prior address of binding {}, is not a unicast address that hosts beyond its link "
          "know",
          address.to_string(), binding.name);
    }
    const auto& gateways = network->second.gateways;
    if (std::find(gateways.begin(), gateways.end(), address) != gateways.end()) {
      return wrong("{}, a prior address of binding {}, is a gateway of network {}",
                   address.to_string(), binding.name, binding.network);
    }
    bool inside =
        subnets.empty() || std::any_of(subnets.begin(), subnets.end(),
                                       [&](const Subnet& it) { return it.contains(address); });
    if (!inside) {
      return wrong("{}, a prior address of binding {}, is outside the subnets of network {}",
                   address.to_string(), binding.name, binding.network);
    }
  }
  for (const auto& [name, other] : contents.bindings) {
    if (name == binding.name || other.network != binding.network) continue;
    if (other.mac == binding.mac) {
      return wrong("binding {} has {}, the MAC address of binding {} in the same network",
                   binding.name, binding.mac.to_string(), name);
    }
    for (const auto& address : binding.prior_addresses) {
      const auto& theirs = other.prior_addresses;
      if (std::find(theirs.begin(), theirs.end(), address) != theirs.end()) {
        return wrong("binding {} has {}, a prior address of binding {} in the same network",
                     binding.name, address.to_string(), name);
      }
    }
  }
  return {};
}

policy::Result<void> check_policy(const Policy& policy) {
  if (auto named = check_name("a policy", policy.name); !named) return named;
  if (policy.downtime_limit &&
      (policy.downtime_limit->count() < 1 || policy.downtime_limit->count() > 600000)) {
    return wrong("the downtime limit of policy {}, {} ms, is not between 1 and 600000 ms",
                 policy.name, policy.downtime_limit->count());
  }
  if (policy.copy_timeout &&
      (policy.copy_timeout->count() < 1 || policy.copy_timeout->count() > 604800)) {
    return wrong("the copy timeout of policy {}, {} s, is not between 1 and 604800 s", policy.name,
                 policy.copy_timeout->count());
  }
  if (policy.bandwidth_share && (*policy.bandwidth_share < 1 || *policy.bandwidth_share > 100)) {
    return wrong("the bandwidth share of policy {}, {}, is not between 1 and 100 percent",
                 policy.name, *policy.bandwidth_share);
  }
  return {};
}

policy::Result<void> check_task(const Contents& contents, const Task& task) {
  if (!contents.applications.contains(task.application)) {
    return wrong("there is no application {} in the database", task.application);
  }
  auto owner = ownership(contents, task.application);
  switch (owner.kind) {
    case Ownership::Kind::unknown:
      return wrong("application {} has no binding: add one first", task.application);
    case Ownership::Kind::nowhere:
      return wrong("application {} is located nowhere: give its bindings a location first",
                   task.application);
    case Ownership::Kind::inconsistent:
      return wrong(
          "the bindings of application {} name different locations or generations: make them "
          "the same first",
          task.application);
    case Ownership::Kind::owned:
      break;
  }
  if (task.priority < -100 || task.priority > 100) {
    return wrong("priority {} is not between -100 and 100", task.priority);
  }
  if (task.kind != TaskKind::move) return {};
  auto destination = task.arguments.find("destination");
  if (destination == task.arguments.end()) {
    return wrong("a move of application {} needs a destination", task.application);
  }
  if (!contents.hosts.contains(destination->second)) {
    return wrong("there is no host {} in the database to move application {} to",
                 destination->second, task.application);
  }
  if (destination->second == owner.location) {
    return wrong("application {} is at host {} already", task.application, owner.location);
  }
  return {};
}

}  // namespace homeport::agent
