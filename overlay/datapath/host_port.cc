#include "overlay/datapath/host_port.h"

#include "overlay/datapath/tampering.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <utility>

namespace homeport::overlay {

namespace {

/// Numbers of our own; before the kernel's main table (32766), behind its local one (0).
constexpr RouteTable kTable{.number = 18544, .rule_priority = 18544};

std::vector<Route> minus(const std::vector<Route>& a, const std::vector<Route>& b) {
  std::vector<Route> rest;
  std::set_difference(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(rest));
  return rest;
}

/// Of sorted routes.
bool has_address(const std::vector<Route>& routes, const policy::IpAddress& to) {
  auto route = std::ranges::lower_bound(routes, to, {}, &Route::to);
  return route != routes.end() && route->to == to;
}

}  // namespace

Result<RouteTaken> route_of_host(const TracedPacket& packet) {
  std::optional<policy::IpAddress> source;
  if (!packet.source.is_unspecified()) {
    source = packet.source;
    auto own = list_addresses();
    if (!own) return own.error();
    if (std::ranges::find(*own, *source, &LinkAddress::address) == own->end()) {
      return policy::make_error(
          boost::system::errc::invalid_argument,
          fmt::format("{} is no address of this host: leave --source out, or name one that is",
                      source->to_string()));
    }
  }
  auto route = find_route(packet.destination, source);
  if (!route || route->device == 0 || route->mtu != 0) return route;
  auto links = list_links();
  if (!links) return links.error();
  auto link = std::ranges::find(*links, route->device, &Link::index);
  if (link == links->end()) return RouteTaken{};  // it has just gone, and the route with it
  route->mtu = link->mtu;
  return route;
}

bool needs_host_port(const DesiredState& desired) {
  return std::ranges::any_of(desired.networks, [](const NetworkEntry& network) {
    return network.host_access || (network.normal && !network.gateways.empty());
  });
}

std::optional<policy::IpAddress> own_address(const DesiredState& desired,
                                             const std::optional<policy::IpAddress>& vtep,
                                             bool v6) {
  if (vtep && vtep->is_v6() == v6) return vtep;
  for (const HostAddress& host : desired.hosts) {
    if (!host.vtep && host.address.is_v6() == v6) return host.address;
  }
  return std::nullopt;
}

Result<Link> HostPort::ensure_device() {
  auto link = find_link(device_);
  if (!link && link.error().code == boost::system::errc::no_such_device) {
    link = create_route_device(device_, kRouterMac);
    if (link) own_ = link->index;
    return link;
  }
  if (!link) return link.error();
  if (link->kind == "veth" && link->mac != kRouterMac && link->index == own_) {
    if (auto set = set_link_mac(device_, kRouterMac); !set) return set.error();
    mended_.push_back(fmt::format("the MAC address of {} was another", device_));
  } else if (link->kind != "veth" || link->mac != kRouterMac) {
    return policy::make_error(
        boost::system::errc::file_exists,
        fmt::format("The device {} for the host's own processes exists and is another's: delete it "
                    "or configure another name ([underlay] host_device)",
                    device_));
  }
  const bool known = link->index == own_;
  if (!known) own_ = 0;
  for (const std::string& end : {device_, other_end()}) {
    if (auto up = ensure_end(end); !up) return up.error();
  }
  own_ = link->index;
  return link;
}

Result<void> HostPort::ensure_end(const std::string& name) {
  auto link = find_link(name);
  if (!link) return link.error();
  if (link->up) return {};
  if (own_ != 0) mended_.push_back(fmt::format("the device {} was down", name));
  return set_link_up(name, true);
}

std::vector<std::string> HostPort::set_routes(int device, std::vector<Route> routes,
                                              std::vector<std::string>& problems) {
  std::vector<std::string> mended = std::exchange(mended_, {});
  const std::size_t before = problems.size();
  auto note = [&](const policy::Error& error) { problems.push_back(error.message + "."); };
  auto tell = [&](std::string clause) {
    if (mended.size() < kToldOfTampering) mended.push_back(std::move(clause));
  };
  std::sort(routes.begin(), routes.end());
  auto table = list_routes(kTable, device);
  if (!table) {
    note(table.error());
    return mended;
  }
  std::vector<Route>& found = table->routes;
  std::sort(found.begin(), found.end());
  for (const Route& lost : minus(left_, found)) {
    tell(fmt::format("the route to {} was {}", lost.to.to_string(),
                     has_address(found, lost.to) ? "changed" : "missing"));
  }
  if (table->others > 0) {
    auto removed = remove_other_routes(kTable, device);
    if (!removed) {
      note(removed.error());
    } else {
      for (const std::string& to : *removed) {
        tell(fmt::format("a route to {} was in table {}", to, kTable.number));
      }
    }
  }
  for (const Route& stray : minus(found, routes)) {
    if (has_address(routes, stray.to)) continue;  // replaced below
    if (auto removed = remove_route(kTable, device, stray.to); !removed) note(removed.error());
  }
  for (const Route& route : minus(routes, found)) {
    if (auto set = set_route(kTable, device, route); !set) note(set.error());
  }
  auto added = add_rules(kTable);
  if (!added) {
    note(added.error());
  } else if (*added && rules_left_) {
    tell(fmt::format("the rule for table {} was missing", kTable.number));
  }
  rules_left_ = true;
  left_.clear();
  if (problems.size() == before) left_ = std::move(routes);
  return mended;
}

void HostPort::change_routes(int device, const std::vector<Route>& set,
                             const std::vector<policy::IpAddress>& without,
                             std::vector<std::string>& problems) {
  auto forget = [&](const policy::IpAddress& to) {
    auto route = std::ranges::lower_bound(left_, to, {}, &Route::to);
    if (route != left_.end() && route->to == to) left_.erase(route);
  };
  for (const Route& route : set) {
    if (auto done = set_route(kTable, device, route); !done) {
      problems.push_back(done.error().message + ".");
      continue;
    }
    forget(route.to);
    left_.insert(std::ranges::lower_bound(left_, route.to, {}, &Route::to), route);
  }
  for (const policy::IpAddress& to : without) {
    if (auto done = remove_route(kTable, device, to); !done) {
      problems.push_back(done.error().message + ".");
      continue;
    }
    forget(to);
  }
}

Result<bool> HostPort::untouched(int device) const {
  auto link = find_link(device_);
  auto other = find_link(other_end());
  if (!link || link->index != device || !link->up || link->mac != kRouterMac) return false;
  if (!other || !other->up) return false;
  auto rules = has_rules(kTable);
  if (!rules || !*rules) return rules;
  auto table = list_routes(kTable, device);
  if (!table) return table.error();
  std::sort(table->routes.begin(), table->routes.end());
  return table->others == 0 && table->routes == left_;
}

Result<void> HostPort::remove() {
  left_.clear();
  rules_left_ = false;
  own_ = 0;
  if (auto removed = remove_rules(kTable); !removed) return removed;
  auto link = find_link(device_);
  if (!link && link.error().code == boost::system::errc::no_such_device) return {};
  if (!link) return link.error();
  if (link->kind != "veth" || link->mac != kRouterMac) return {};  // another's
  return delete_device(device_);
}

}  // namespace homeport::overlay
