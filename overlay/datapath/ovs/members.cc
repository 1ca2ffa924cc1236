#include "overlay/datapath/ovs/members.h"

#include "overlay/datapath/host_port.h"
#include "overlay/datapath/ovs/answerer.h"
#include "overlay/link/link.h"

#include <fmt/format.h>

#include <algorithm>
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

BridgePort tunnel_port(const OvsOptions& options) {
  // Where the kernel carries the tunnel, it may fragment outer packets.
  std::string text = fmt::format("df_default=false,dst_port={},key=flow", options.udp_port);
  if (options.local_vtep) {
    // A userspace switch is told by flows: see TunnelRoutes.
    text +=
        ",local_ip=" + (options.bridge.datapath_type == "netdev" ? std::string("flow")
                                                                 : options.local_vtep->to_string());
  }
  return {options.tunnel_port, "vxlan", kTunnelOwner, text + ",remote_ip=flow", "", -1};
}

}  // namespace

void BridgeMembers::note_made(const std::string& name, std::vector<std::string>& mended) const {
  if (left_.contains(name)) mended.push_back(fmt::format("the port {} was missing", name));
}

Result<void> BridgeMembers::ensure_tunnel(std::vector<std::string>& mended) {
  if (auto made = bridge_.ensure(); !made) return made;
  auto ports = bridge_.ports();
  if (!ports) return ports.error();
  const BridgePort wanted = tunnel_port(options_);
  if (const BridgePort* port = find_port(*ports, wanted.name)) {
    if (port->owner != wanted.owner) {
      return policy::make_error(
          boost::system::errc::file_exists,
          fmt::format("The bridge {} has a port {} that is not Homeport's: configure another name "
                      "for the VXLAN device",
                      options_.bridge.name, wanted.name));
    }
    const bool known = !left_.insert(wanted.name).second;
    if (port->options == wanted.options && port->number > 0) return {};
    if (port->options != wanted.options) {
      if (known)
        mended.push_back(fmt::format("the options of the port {} were others", port->name));
      if (auto gone = bridge_.change_ports({}, {wanted.name}); !gone) return gone;
      if (auto made = bridge_.change_ports({wanted}, {}); !made) return made;
    } else if (auto looked = bridge_.change_ports({}, {}); !looked) {
      return looked;
    }
  } else {
    if (auto made = bridge_.change_ports({wanted}, {}); !made) return made;
    note_made(wanted.name, mended);
    left_.insert(wanted.name);
  }
  ports = bridge_.ports();
  if (!ports) return ports.error();
  const BridgePort* port = find_port(*ports, wanted.name);
  if (port && port->number > 0) return {};
  return policy::make_error(
      boost::system::errc::io_error,
      fmt::format("ovs-vswitchd cannot make the tunnel {} for UDP port {}: {}", wanted.name,
                  options_.udp_port,
                  port && !port->error.empty() ? port->error : "no reason given"));
}

/// What is in the bridge besides the tunnel.
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
  std::set<std::string> left{options_.tunnel_port};
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
  for (const BridgePort& port : ports) {
    if (port.number <= 0) continue;
    if (port.name == options_.tunnel_port) {
      result.tunnel = port.number;
    } else if (port.name == host_end_ && port.owner == kHostOwner) {
      result.host = port.number;
    } else {
      result.numbers[port.name] = port.number;
    }
  }
  return result;
}

}  // namespace homeport::overlay::ovs
