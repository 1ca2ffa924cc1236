#include "overlay/link/route.h"

#include "overlay/link/route_objects.h"

#include <fmt/format.h>
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <net/if.h>

#include <array>

namespace homeport::overlay {

namespace {

using netlink::AddressObject;
using netlink::kFamilies;
using netlink::Message;
using netlink::RouteObject;
using netlink::RuleObject;
using netlink::to_object;

RouteObject route_object(const RouteTable& table, int device, const policy::IpAddress& to) {
  RouteObject route(rtnl_route_alloc());
  AddressObject destination = to_object(to);
  rtnl_route_set_dst(route.get(), destination.get());
  rtnl_route_set_table(route.get(), table.number);
  rtnl_route_set_protocol(route.get(), netlink::kRouteProtocol);
  rtnl_route_set_type(route.get(), RTN_UNICAST);
  rtnl_route_set_scope(route.get(), to.is_v4() ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE);
  rtnl_nexthop* next = rtnl_route_nh_alloc();
  rtnl_route_nh_set_ifindex(next, device);
  rtnl_route_add_nexthop(route.get(), next);
  return route;
}

RuleObject rule_object(const RouteTable& table, int family) {
  RuleObject rule(rtnl_rule_alloc());
  rtnl_rule_set_family(rule.get(), family);
  rtnl_rule_set_table(rule.get(), table.number);
  rtnl_rule_set_prio(rule.get(), table.rule_priority);
  rtnl_rule_set_action(rule.get(), FR_ACT_TO_TBL);
  return rule;
}

struct Listing {
  std::vector<Route> routes;
  std::vector<RouteObject> others;
};

/// As set_route() makes it; nullopt for one that it does not make.
std::optional<Route> to_route(rtnl_route* raw, int device) {
  rtnl_nexthop* next = rtnl_route_nexthop_n(raw, 0);
  if (!next || rtnl_route_nh_get_ifindex(next) != device) return std::nullopt;
  if (rtnl_route_get_protocol(raw) != netlink::kRouteProtocol) return std::nullopt;
  nl_addr* destination = rtnl_route_get_dst(raw);
  auto to = netlink::to_ip(destination);
  if (!to || nl_addr_get_prefixlen(destination) != (to->is_v4() ? 32u : 128u)) return std::nullopt;
  Route route{*to, netlink::to_ip(rtnl_route_get_pref_src(raw)), 0};
  std::uint32_t mtu = 0;
  if (rtnl_route_get_metric(raw, RTAX_MTU, &mtu) == 0) route.mtu = mtu;
  return route;
}

int take_found(nl_msg* message, void* context) {
  auto& found = *static_cast<RouteTaken*>(context);
  rtnl_route* raw = nullptr;
  if (rtnl_route_parse(nlmsg_hdr(message), &raw) < 0) return NL_SKIP;
  RouteObject object(raw);
  if (rtnl_nexthop* next = rtnl_route_nexthop_n(raw, 0)) {
    found.device = rtnl_route_nh_get_ifindex(next);
  }
  if (unsigned mtu = 0; rtnl_route_get_metric(raw, RTAX_MTU, &mtu) == 0) found.mtu = mtu;
  return NL_OK;
}

Result<Listing> list_table(const RouteTable& table, int device) {
  auto socket = netlink::connect();
  if (!socket) return socket.error();
  auto all = netlink::routes_of(socket->get(), table.number);
  if (!all) return all.error();
  Listing listing;
  for (RouteObject& object : *all) {
    if (auto route = to_route(object.get(), device)) {
      listing.routes.push_back(std::move(*route));
    } else {
      listing.others.push_back(std::move(object));
    }
  }
  return listing;
}

std::string destination_of(rtnl_route* route) {
  nl_addr* destination = rtnl_route_get_dst(route);
  if (!destination || nl_addr_get_prefixlen(destination) == 0) return "default";
  std::array<char, 64> text{};
  return nl_addr2str(destination, text.data(), text.size());
}

}  // namespace

Result<TableRoutes> list_routes(const RouteTable& table, int device) {
  auto listing = list_table(table, device);
  if (!listing) return listing.error();
  return TableRoutes{std::move(listing->routes), listing->others.size()};
}

Result<std::vector<std::string>> remove_other_routes(const RouteTable& table, int device) {
  auto listing = list_table(table, device);
  if (!listing) return listing.error();
  auto socket = netlink::connect();
  if (!socket) return socket.error();
  std::vector<std::string> removed;
  for (const RouteObject& route : listing->others) {
    std::string to = destination_of(route.get());
    if (int result = rtnl_route_delete(socket->get(), route.get(), 0);
        result < 0 && result != -NLE_OBJ_NOTFOUND) {
      return netlink::error(
          fmt::format("The route to {} in table {} cannot be removed", to, table.number), result);
    }
    removed.push_back(std::move(to));
  }
  return removed;
}

Result<void> set_route(const RouteTable& table, int device, const Route& route) {
  auto socket = netlink::connect();
  if (!socket) return socket.error();
  RouteObject object = route_object(table, device, route.to);
  if (route.source) {
    AddressObject source = to_object(*route.source);
    rtnl_route_set_pref_src(object.get(), source.get());
  }
  if (route.mtu) rtnl_route_set_metric(object.get(), RTAX_MTU, route.mtu);
  if (int result = rtnl_route_add(socket->get(), object.get(), NLM_F_CREATE | NLM_F_REPLACE);
      result < 0) {
    return netlink::error("The route to " + route.to.to_string() + " cannot be set", result);
  }
  return {};
}

Result<void> remove_route(const RouteTable& table, int device, const policy::IpAddress& to) {
  auto socket = netlink::connect();
  if (!socket) return socket.error();
  RouteObject object = route_object(table, device, to);
  if (int result = rtnl_route_delete(socket->get(), object.get(), 0);
      result < 0 && result != -NLE_OBJ_NOTFOUND) {
    return netlink::error("The route to " + to.to_string() + " cannot be removed", result);
  }
  return {};
}

Result<RouteTaken> find_route(const policy::IpAddress& to,
                              const std::optional<policy::IpAddress>& source) {
  auto socket = netlink::connect();
  if (!socket) return socket.error();
  Message message(nlmsg_alloc_simple(RTM_GETROUTE, 0));
  rtmsg header{};
  header.rtm_family = to.is_v4() ? AF_INET : AF_INET6;
  header.rtm_dst_len = to.is_v4() ? 32 : 128;
  AddressObject destination = to_object(to), from;
  if (source) {
    from = to_object(*source);
    header.rtm_src_len = header.rtm_dst_len;
  }
  nlmsg_append(message.get(), &header, sizeof(header), NLMSG_ALIGNTO);
  nla_put_addr(message.get(), RTA_DST, destination.get());
  if (from) nla_put_addr(message.get(), RTA_SRC, from.get());
  RouteTaken found;
  nl_socket_modify_cb(socket->get(), NL_CB_VALID, NL_CB_CUSTOM, take_found, &found);
  int result = nl_send_auto(socket->get(), message.get());
  if (result >= 0) result = nl_recvmsgs_default(socket->get());
  // What libnl makes of the ways in which the kernel says that there is none: ENETUNREACH,
  // EHOSTUNREACH, EACCES of a prohibited one, EINVAL of a source that is not the host's.
  if (result < 0 && result != -NLE_NOADDR && result != -NLE_OBJ_NOTFOUND &&
      result != -NLE_FAILURE && result != -NLE_INVAL && result != -NLE_NOACCESS) {
    return netlink::error("The route to " + to.to_string() + " cannot be read", result);
  }
  return found;
}

Result<std::set<std::string>> default_route_devices() {
  auto socket = netlink::connect();
  if (!socket) return socket.error();
  auto routes = netlink::routes_of(socket->get(), RT_TABLE_MAIN);
  if (!routes) return routes.error();
  std::set<std::string> devices;
  for (const RouteObject& route : *routes) {
    nl_addr* destination = rtnl_route_get_dst(route.get());
    if (destination && nl_addr_get_prefixlen(destination) != 0) continue;
    for (int i = 0; i < rtnl_route_get_nnexthops(route.get()); ++i) {
      char name[IF_NAMESIZE] = {};
      rtnl_nexthop* next = rtnl_route_nexthop_n(route.get(), i);
      const auto index = static_cast<unsigned>(rtnl_route_nh_get_ifindex(next));
      if (index != 0 && ::if_indextoname(index, name)) devices.insert(name);
    }
  }
  return devices;
}

Result<bool> add_rules(const RouteTable& table) {
  auto socket = netlink::connect();
  if (!socket) return socket.error();
  bool added = false;
  for (const int family : kFamilies) {
    RuleObject rule = rule_object(table, family);
    const int result = rtnl_rule_add(socket->get(), rule.get(), NLM_F_CREATE | NLM_F_EXCL);
    if (result < 0 && result != -NLE_EXIST) {
      return netlink::error(fmt::format("The rule for table {} cannot be added", table.number),
                            result);
    }
    added = added || result >= 0;
  }
  return added;
}

Result<bool> has_rules(const RouteTable& table) {
  auto socket = netlink::connect();
  if (!socket) return socket.error();
  auto rules = netlink::list_rules(socket->get());
  if (!rules) return rules.error();
  for (const int family : kFamilies) {
    bool found = false;
    for (nl_object* it = nl_cache_get_first(rules->get()); it && !found;
         it = nl_cache_get_next(it)) {
      auto* rule = reinterpret_cast<rtnl_rule*>(it);  // as libnl's own casts between objects
      found = rtnl_rule_get_family(rule) == family && rtnl_rule_get_table(rule) == table.number &&
              rtnl_rule_get_prio(rule) == table.rule_priority;
    }
    if (!found) return false;
  }
  return true;
}

Result<void> remove_rules(const RouteTable& table) {
  auto socket = netlink::connect();
  if (!socket) return socket.error();
  for (const int family : kFamilies) {
    RuleObject rule = rule_object(table, family);
    if (int result = rtnl_rule_delete(socket->get(), rule.get(), 0);
        result < 0 && result != -NLE_OBJ_NOTFOUND) {
      return netlink::error(fmt::format("The rule for table {} cannot be removed", table.number),
                            result);
    }
  }
  return {};
}

}  // namespace homeport::overlay
