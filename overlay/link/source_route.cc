#include "overlay/link/source_route.h"

#include "overlay/link/route_objects.h"

#include <fmt/format.h>
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>

#include <algorithm>
#include <compare>
#include <map>
#include <optional>
#include <set>
#include <string>

namespace homeport::overlay {

namespace {

using netlink::RouteObject;
using netlink::RuleObject;

constexpr unsigned kOnLink = RTNH_F_ONLINK;  // the gateway is there though no route says so

/// What of a route is copied. By the device, as its table has no others.
struct Copy {
  bool v6 = false;
  policy::IpAddress prefix;
  unsigned length = 0;
  std::optional<policy::IpAddress> gateway;
  bool on_link = false;
  std::uint32_t metric = 0;
  std::uint32_t mtu = 0;  ///< 0: the device's
  std::weak_ordering operator<=>(const Copy&) const = default;
};

struct Rule {
  policy::IpAddress from;
  std::uint32_t table = 0;
  std::weak_ordering operator<=>(const Rule&) const = default;
};

using Tables = std::map<int, std::set<Copy>>;  // by device

rtnl_nexthop* next_hop_by(rtnl_route* route, int device) {
  for (int i = 0; i < rtnl_route_get_nnexthops(route); ++i) {
    rtnl_nexthop* next = rtnl_route_nexthop_n(route, i);
    if (rtnl_route_nh_get_ifindex(next) == device) return next;
  }
  return nullptr;
}

/// nullopt for what is of no use to a source address: another device's, one that refuses, one whose
/// next hop is of the other family.
std::optional<Copy> copy_of(rtnl_route* route, int device) {
  rtnl_nexthop* next = next_hop_by(route, device);
  if (!next || rtnl_route_get_type(route) != RTN_UNICAST || rtnl_route_nh_get_via(next)) {
    return std::nullopt;
  }
  nl_addr* destination = rtnl_route_get_dst(route);
  Copy copy;
  copy.v6 = rtnl_route_get_family(route) == AF_INET6;
  if (copy.v6) copy.prefix = boost::asio::ip::address_v6();
  if (destination && nl_addr_get_prefixlen(destination) > 0) {
    copy.length = nl_addr_get_prefixlen(destination);
    copy.prefix = netlink::to_ip(destination).value_or(copy.prefix);
  }
  copy.gateway = netlink::to_ip(rtnl_route_nh_get_gateway(next));
  copy.on_link = (rtnl_route_nh_get_flags(next) & kOnLink) != 0;
  copy.metric = rtnl_route_get_priority(route);
  if (unsigned mtu = 0; rtnl_route_get_metric(route, RTAX_MTU, &mtu) == 0) copy.mtu = mtu;
  return copy;
}

RouteObject object_of(const Copy& copy, int device, std::uint32_t table) {
  RouteObject route(rtnl_route_alloc());
  rtnl_route_set_family(route.get(), copy.v6 ? AF_INET6 : AF_INET);
  const auto destination = netlink::to_object(copy.prefix);
  nl_addr_set_prefixlen(destination.get(), static_cast<int>(copy.length));
  rtnl_route_set_dst(route.get(), destination.get());
  rtnl_route_set_table(route.get(), table);
  rtnl_route_set_protocol(route.get(), netlink::kRouteProtocol);
  rtnl_route_set_type(route.get(), RTN_UNICAST);
  rtnl_route_set_scope(route.get(), copy.v6 || copy.gateway ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK);
  rtnl_route_set_priority(route.get(), copy.metric);
  if (copy.mtu) rtnl_route_set_metric(route.get(), RTAX_MTU, copy.mtu);
  rtnl_nexthop* next = rtnl_route_nh_alloc();
  rtnl_route_nh_set_ifindex(next, device);
  if (copy.gateway) {
    const auto gateway = netlink::to_object(*copy.gateway);
    rtnl_route_nh_set_gateway(next, gateway.get());
  }
  if (copy.on_link) rtnl_route_nh_set_flags(next, kOnLink);
  rtnl_route_add_nexthop(route.get(), next);
  return route;
}

std::string text_of(const Copy& copy) {
  return fmt::format("{}/{}", copy.prefix.to_string(), copy.length);
}

RuleObject object_of(const Rule& rule, std::uint32_t priority) {
  RuleObject object(rtnl_rule_alloc());
  rtnl_rule_set_family(object.get(), rule.from.is_v4() ? AF_INET : AF_INET6);
  const auto from = netlink::to_object(rule.from);
  rtnl_rule_set_src(object.get(), from.get());
  rtnl_rule_set_table(object.get(), rule.table);
  rtnl_rule_set_prio(object.get(), priority);
  rtnl_rule_set_action(object.get(), FR_ACT_TO_TBL);
  return object;
}

/// Those that keep_source_routes() makes.
Result<std::set<Rule>> rules_now(nl_sock* socket, const SourceRouting& routing) {
  auto rules = netlink::list_rules(socket);
  if (!rules) return rules.error();
  std::set<Rule> found;
  for (nl_object* it = nl_cache_get_first(rules->get()); it; it = nl_cache_get_next(it)) {
    auto* rule = reinterpret_cast<rtnl_rule*>(it);  // as libnl's own casts between objects
    const std::uint32_t table = rtnl_rule_get_table(rule);
    if (rtnl_rule_get_prio(rule) != routing.rule_priority || table < routing.first_table ||
        table > routing.last_table) {
      continue;
    }
    if (auto from = netlink::to_ip(rtnl_rule_get_src(rule))) found.insert({*from, table});
  }
  return found;
}

class Keeper {
 public:
  Keeper(nl_sock* socket, const SourceRouting& routing) : socket_(socket), routing_(routing) {}

  Result<bool> keep(const std::vector<LinkAddress>& addresses) {
    Tables wanted;
    std::set<Rule> rules;
    for (const LinkAddress& each : addresses) {
      wanted[each.link_index];
      rules.insert({each.address, table_of(each.link_index)});
    }
    auto before = rules_now(socket_, routing_);
    if (!before) return before.error();
    // Of devices that no address is named of any more, too.
    for (const Rule& rule : *before) wanted[static_cast<int>(rule.table - routing_.first_table)];
    if (auto done = find_copies(addresses, wanted); !done) return done.error();
    for (const auto& [device, copies] : wanted) {
      if (auto done = add_routes(device, copies); !done) return done.error();
    }
    if (auto done = change_rules(*before, rules); !done) return done.error();
    for (const auto& [device, copies] : wanted) {
      if (auto done = remove_routes(device, copies); !done) return done.error();
    }
    return changed_;
  }

 private:
  std::uint32_t table_of(int device) const {
    return routing_.first_table + static_cast<std::uint32_t>(device);
  }

  /// What the tables should have: nothing for a device without addresses.
  Result<void> find_copies(const std::vector<LinkAddress>& addresses, Tables& wanted) {
    auto main = netlink::routes_of(socket_, RT_TABLE_MAIN);
    if (!main) return main.error();
    std::set<int> devices;
    for (const LinkAddress& each : addresses) devices.insert(each.link_index);
    for (const RouteObject& route : *main) {
      for (const int device : devices) {
        if (auto copy = copy_of(route.get(), device)) wanted[device].insert(*copy);
      }
    }
    return {};
  }

  Result<std::set<Copy>> copies_now(int device) {
    auto routes = netlink::routes_of(socket_, table_of(device));
    if (!routes) return routes.error();
    std::set<Copy> copies;
    for (const RouteObject& route : *routes) {
      if (auto copy = copy_of(route.get(), device)) copies.insert(*copy);
    }
    return copies;
  }

  Result<void> add_routes(int device, const std::set<Copy>& wanted) {
    auto now = copies_now(device);
    if (!now) return now.error();
    // The subnets first, as gateways are looked for in them.
    for (const bool gateway : {false, true}) {
      for (const Copy& copy : wanted) {
        if (now->contains(copy) || copy.gateway.has_value() != gateway) continue;
        const auto object = object_of(copy, device, table_of(device));
        const int result = rtnl_route_add(socket_, object.get(), NLM_F_CREATE | NLM_F_REPLACE);
        if (result < 0) {
          return netlink::error(fmt::format("The route to {} cannot be set in table {}",
                                            text_of(copy), table_of(device)),
                                result);
        }
        changed_ = true;
      }
    }
    return {};
  }

  Result<void> remove_routes(int device, const std::set<Copy>& wanted) {
    auto now = copies_now(device);
    if (!now) return now.error();
    for (const Copy& copy : *now) {
      if (wanted.contains(copy)) continue;
      const auto object = object_of(copy, device, table_of(device));
      const int result = rtnl_route_delete(socket_, object.get(), 0);
      if (result < 0 && result != -NLE_OBJ_NOTFOUND) {
        return netlink::error(fmt::format("The route to {} cannot be removed from table {}",
                                          text_of(copy), table_of(device)),
                              result);
      }
      changed_ = true;
    }
    return {};
  }

  Result<void> change_rules(const std::set<Rule>& before, const std::set<Rule>& wanted) {
    for (const Rule& rule : wanted) {
      if (before.contains(rule)) continue;
      const auto object = object_of(rule, routing_.rule_priority);
      const int result = rtnl_rule_add(socket_, object.get(), NLM_F_CREATE | NLM_F_EXCL);
      if (result < 0 && result != -NLE_EXIST) {
        return netlink::error(
            "The rule for what comes from " + rule.from.to_string() + " cannot be added", result);
      }
      changed_ = true;
    }
    for (const Rule& rule : before) {
      if (wanted.contains(rule)) continue;
      const auto object = object_of(rule, routing_.rule_priority);
      const int result = rtnl_rule_delete(socket_, object.get(), 0);
      if (result < 0 && result != -NLE_OBJ_NOTFOUND) {
        return netlink::error(
            "The rule for what comes from " + rule.from.to_string() + " cannot be removed", result);
      }
      changed_ = true;
    }
    return {};
  }

  nl_sock* socket_;
  const SourceRouting& routing_;
  bool changed_ = false;
};

}  // namespace

Result<bool> keep_source_routes(const SourceRouting& routing,
                                const std::vector<LinkAddress>& addresses) {
  auto socket = netlink::connect();
  if (!socket) return socket.error();
  return Keeper(socket->get(), routing).keep(addresses);
}

}  // namespace homeport::overlay
