#include "overlay/datapath/ovs/members.h"

#include "overlay/datapath/host_port.h"
#include "overlay/datapath/ovs/answerer.h"
#include "overlay/link/link.h"
#include "policy/code_point.h"

#include <fmt/format.h>

#include <net/if.h>
#include <algorithm>
#include <array>
#include <utility>

namespace homeport::overlay::ovs {

using vswitch::Bridge;
using vswitch::BridgePort;

const BridgePort* find_port(const std::vector<BridgePort>& ports, const std::string& name) {
  auto found = std::ranges::find(ports, name, &BridgePort::name);
  return found == ports.end() ? nullptr : &*found;
}

namespace {

constexpr const char* kTunnelOwner = "tunnel";
constexpr const char* kPortOwner = "port";
constexpr const char* kHostOwner = "host";

/// The classes that the outer header tells of.
constexpr std::array kTold = {policy::TrafficClass::interactive, policy::TrafficClass::bulk};

/// In the bridge, where a name has 15 bytes at most.
std::string name_of_tunnel(const OvsOptions& options, policy::TrafficClass traffic_class) {
  if (traffic_class == policy::TrafficClass::best_effort) return options.tunnel_port;
  return fmt::format("{}-{}", options.tunnel_port.substr(0, IFNAMSIZ - 3),
                     to_string(traffic_class).front());
}

/// Two ports that take the same packets cannot be: those for a class have a key of their own that
/// no packet can have, which is of 24 bits.
constexpr std::uint32_t kNoKey = 1u << 24;

BridgePort tunnel_port(const OvsOptions& options, policy::TrafficClass traffic_class) {
  const bool plain = traffic_class == policy::TrafficClass::best_effort;
  // Where the kernel carries the tunnel, it may fragment outer packets.
  std::string text = fmt::format("df_default=false,dst_port={}", options.udp_port);
  text += plain ? std::string(",key=flow")
                : fmt::format(",in_key={}", kNoKey + static_cast<unsigned>(traffic_class));
  if (options.local_vtep) {
    // A userspace switch is told by flows: see TunnelRoutes.
    text +=
        ",local_ip=" + (options.bridge.datapath_type == "netdev" ? std::string("flow")
                                                                 : options.local_vtep->to_string());
  }
  if (!plain) text += ",out_key=flow";
  text += ",remote_ip=flow";
  if (!plain) text += fmt::format(",tos={}", policy::outer_code_point(traffic_class) << 2);
  return {name_of_tunnel(options, traffic_class), "vxlan", kTunnelOwner, text, "", -1};
}

std::vector<BridgePort> tunnel_ports(const OvsOptions& options) {
  std::vector<BridgePort> ports{tunnel_port(options, policy::TrafficClass::best_effort)};
  for (const policy::TrafficClass each : kTold) ports.push_back(tunnel_port(options, each));
  return ports;
}

}  // namespace

void BridgeMembers::note_made(const std::string& name, std::vector<std::string>& mended) const {
  if (left_.contains(name)) mended.push_back(fmt::format("the port {} was missing", name));
}

Result<void> BridgeMembers::ensure_tunnel(std::vector<std::string>& mended) {
  if (auto made = bridge_.ensure(); !made) return made;
  auto ports = bridge_.ports();
  if (!ports) return ports.error();
  const std::vector<BridgePort> wanted = tunnel_ports(options_);
  std::vector<BridgePort> made;
  std::vector<std::string> gone;
  bool whole = true;
  for (const BridgePort& tunnel : wanted) {
    const BridgePort* port = find_port(*ports, tunnel.name);
    if (!port) {
      made.push_back(tunnel);
      continue;
    }
    if (port->owner != tunnel.owner) {
      return policy::make_error(
          boost::system::errc::file_exists,
          fmt::format("The bridge {} has a port {} that is not Homeport's: configure another name "
                      "for the VXLAN device",
                      options_.bridge.name, tunnel.name));
    }
    const bool known = !left_.insert(tunnel.name).second;
    if (port->options != tunnel.options) {
      if (known)
        mended.push_back(fmt::format("the options of the port {} were others", port->name));
      gone.push_back(tunnel.name);
      made.push_back(tunnel);
    }
    whole = whole && port->number > 0;
  }
  if (made.empty() && whole) return {};
  if (!gone.empty()) {
    if (auto changed = bridge_.change_ports({}, gone); !changed) return changed;
  }
  if (auto changed = bridge_.change_ports(made, {}); !changed) return changed;
  for (const BridgePort& tunnel : made) {
    if (std::ranges::count(gone, tunnel.name) == 0) note_made(tunnel.name, mended);
    left_.insert(tunnel.name);
  }
  ports = bridge_.ports();
  if (!ports) return ports.error();
  for (const BridgePort& tunnel : wanted) {
    const BridgePort* port = find_port(*ports, tunnel.name);
    if (port && port->number > 0) continue;
    return policy::make_error(
        boost::system::errc::io_error,
        fmt::format("ovs-vswitchd cannot make the tunnel {} for UDP port {}: {}", tunnel.name,
                    options_.udp_port,
                    port && !port->error.empty() ? port->error : "no reason given"));
  }
  return {};
}

/// What is in the bridge besides the tunnel's ports.
std::vector<BridgePort> BridgeMembers::wanted(const DesiredState& desired) const {
  std::vector<BridgePort> wanted;
  for (const Port& port : desired.ports) {
    wanted.push_back({port.device, "", kPortOwner, "", "", -1});
  }
  if (needs_host_port(desired)) wanted.push_back({host_end_, "", kHostOwner, "", "", -1});
  return wanted;
}

Result<std::vector<BridgePort>> BridgeMembers::add(const DesiredState& desired, Problems& problems,
                                                   std::vector<std::string>& mended) {
  auto ports = bridge_.ports();
  if (!ports) return ports;
  auto links = list_links();
  if (!links) return links.error();
  std::set<std::string> devices;
  for (const Link& link : *links) devices.insert(link.name);
  if (is_netdev()) {
    if (auto widened = widen_taps(desired.ports, *links); !widened) {
      problems.push_back(widened.error().message + ".");
    }
  }

  const std::vector<BridgePort> all = wanted(desired);
  std::vector<BridgePort> added;
  std::set<std::string> left;
  for (const BridgePort& tunnel : tunnel_ports(options_)) left.insert(tunnel.name);
  bool stale = false;
  for (const BridgePort& port : all) {
    const BridgePort* present = find_port(*ports, port.name);
    if (present) left.insert(port.name);
    if (!devices.contains(port.name)) {
      problems.push_back(
          fmt::format("The port {} is not carried: there is no such device.", port.name));
      continue;
    }
    if (!present) added.push_back(port);
    stale = stale || (present && present->number <= 0);
  }
  if (!added.empty() || stale) {
    if (auto changed = bridge_.change_ports(added, {}); !changed) return changed.error();
    for (const BridgePort& port : added) {
      note_made(port.name, mended);
      left.insert(port.name);
    }
    ports = bridge_.ports();
    if (!ports) return ports;
  }
  // One that has gone again meanwhile has been left all the same.
  left_ = std::move(left);
  for (const BridgePort& port : all) {
    const BridgePort* present = find_port(*ports, port.name);
    if (present && present->number <= 0 && devices.contains(port.name)) {
      problems.push_back(
          fmt::format("The port {} is not carried: ovs-vswitchd cannot use the device: {}.",
                      port.name, present->error));
    }
  }
  return ports;
}

void BridgeMembers::remove_others(const std::vector<BridgePort>& ports, const DesiredState& desired,
                                  Problems& problems) {
  const std::vector<BridgePort> all = wanted(desired);
  std::vector<std::string> removed;
  settled_.clear();
  for (const BridgePort& port : ports) {
    const bool is_wanted = find_port(all, port.name) != nullptr;
    const bool own = port.owner == kPortOwner || port.owner == kHostOwner;
    if (own && !is_wanted) {
      removed.push_back(port.name);
    } else if (is_wanted || !port.owner.empty()) {
      settled_[port.name] = port;
    }
  }
  if (removed.empty()) return;
  if (auto changed = bridge_.change_ports({}, removed); !changed) {
    problems.push_back(changed.error().message + ".");
  }
}

Result<bool> BridgeMembers::untouched(const std::vector<BridgePort>& found,
                                      const std::vector<Port>& applications) {
  std::size_t same = 0;
  for (const BridgePort& port : found) {
    auto left = settled_.find(port.name);
    if (left != settled_.end() && left->second == port) {
      ++same;
    } else if (left != settled_.end() || !port.owner.empty()) {
      return false;
    }
  }
  if (same != settled_.size()) return false;

  auto links = list_links();
  if (!links) return links.error();
  std::set<std::string> devices;
  for (const Link& link : *links) devices.insert(link.name);
  const bool all_there = std::ranges::all_of(
      applications, [&](const Port& port) { return devices.contains(port.device); });
  if (!all_there || (is_netdev() && !narrow_taps(applications, *links).empty())) return false;

  std::map<std::int64_t, bool> numbers;
  for (const auto& [name, flooding] : flooding_) numbers[flooding.number] = flooding.on;
  auto others = bridge_.other_flooding(numbers);
  if (!others) return others.error();
  return others->empty();
}

Result<void> BridgeMembers::remove(const std::string& name) {
  left_.erase(name);
  return bridge_.change_ports({}, {name});
}

void BridgeMembers::keep_apart(const std::vector<BridgePort>& ports, const DesiredState& desired,
                               Problems& problems, std::vector<std::string>& mended) {
  std::map<std::int64_t, bool> numbers;
  std::map<std::string, Flooding> all;
  for (const BridgePort& port : ports) {
    if (port.owner.empty() || port.number <= 0) continue;
    auto application = std::ranges::find(desired.ports, port.name, &Port::device);
    const bool normal = application != desired.ports.end() &&
                        std::ranges::any_of(desired.networks, [&](const NetworkEntry& network) {
                          return network.normal && network.vni == application->vni;
                        });
    numbers[port.number] = normal;
    all[port.name] = {port.number, normal};
  }
  auto changed = bridge_.set_flooding(numbers);
  if (!changed) {
    problems.push_back(changed.error().message + ".");
    return flooding_.clear();
  }
  for (const auto& [name, flooding] : all) {
    auto left = flooding_.find(name);
    if (left != flooding_.end() && left->second.number == flooding.number &&
        left->second.on == flooding.on &&
        std::ranges::find(*changed, flooding.number) != changed->end()) {
      mended.push_back(fmt::format("the flooding of the port {} was changed", name));
    }
  }
  flooding_ = std::move(all);
}

BridgePorts BridgeMembers::usable(const std::vector<BridgePort>& ports) const {
  BridgePorts result;
  const bool netdev = is_netdev();
  result.answers_nd = netdev;
  // The kernel fragments outer packets of IPv4.
  result.answers_too_big = netdev || (options_.local_vtep && options_.local_vtep->is_v6());
  std::map<std::string, policy::TrafficClass> told;
  for (const policy::TrafficClass each : kTold) told[name_of_tunnel(options_, each)] = each;
  for (const BridgePort& port : ports) {
    if (port.number <= 0) continue;
    if (port.name == options_.tunnel_port) {
      result.tunnel = port.number;
    } else if (auto tunnel = told.find(port.name); tunnel != told.end()) {
      result.class_tunnels[tunnel->second] = port.number;
    } else if (port.name == host_end_ && port.owner == kHostOwner) {
      result.host = port.number;
    } else {
      result.numbers[port.name] = port.number;
    }
  }
  return result;
}

}  // namespace homeport::overlay::ovs
