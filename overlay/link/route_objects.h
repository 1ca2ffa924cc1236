// What the files about routes share around libnl: ownership, and the routes of one table.
#pragma once

#include "overlay/deleter.h"
#include "overlay/link/netlink.h"

#include <netlink/msg.h>
#include <netlink/route/nexthop.h>
#include <netlink/route/route.h>
#include <netlink/route/rule.h>
#include <sys/socket.h>

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

namespace homeport::overlay::netlink {

using RouteObject = std::unique_ptr<rtnl_route, Deleter<rtnl_route_put>>;
using RuleObject = std::unique_ptr<rtnl_rule, Deleter<rtnl_rule_put>>;
using AddressObject = std::unique_ptr<nl_addr, Deleter<nl_addr_put>>;
using Message = std::unique_ptr<nl_msg, Deleter<nlmsg_free>>;

/// Whose routes they are, as `ip route` shows it (/etc/iproute2/rt_protos): no one else's number.
inline constexpr std::uint8_t kRouteProtocol = 72;
inline constexpr std::array kFamilies = {AF_INET, AF_INET6};

/// With the prefix length of a single address.
AddressObject to_object(const policy::IpAddress& address);

/// Of both families, and of this table only: a router's others may hold a million.
Result<std::vector<RouteObject>> routes_of(nl_sock* socket, std::uint32_t table);

/// All rules, of both families: they belong to the cache.
Result<Cache> list_rules(nl_sock* socket);

}  // namespace homeport::overlay::netlink
