// Routes to single addresses in a routing table of one's own, and the rule that makes the kernel
// look there first. Route netlink (rtnetlink(7)) through libnl, as in link.h.
#pragma once

#include "policy/address.h"
#include "policy/error.h"

#include <compare>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace homeport::overlay {

using policy::Result;

/// Of one address, over a device, without a gateway.
struct Route {
  policy::IpAddress to;
  std::optional<policy::IpAddress> source;  ///< that a process gets which has not chosen its own
  std::uint32_t mtu = 0;                    ///< of the path; 0: the device's
  std::weak_ordering operator<=>(const Route&) const = default;
};

/// A routing table, with all routes in it: nobody else should write there.
struct RouteTable {
  std::uint32_t number = 0;
  std::uint32_t rule_priority = 0;  ///< of the rule that looks there; smaller comes first
};

struct TableRoutes {
  std::vector<Route> routes;  ///< of the kind that set_route() makes over the device, in no order
  std::size_t others = 0;     ///< how many are not
};
Result<TableRoutes> list_routes(const RouteTable& table, int device);
/// Removes the others. Returns what each leads to, as `ip route` writes it.
Result<std::vector<std::string>> remove_other_routes(const RouteTable& table, int device);
/// Takes the place of the route to the same address. An error names it.
Result<void> set_route(const RouteTable& table, int device, const Route& route);
/// It is not an error if there is none.
Result<void> remove_route(const RouteTable& table, int device, const policy::IpAddress& to);

/// How the kernel sends.
struct RouteTaken {
  int device = 0;         ///< its index; 0: there is no route
  std::uint32_t mtu = 0;  ///< of the path: the route's own, or what was learned; 0: the device's
};
/// For what goes there from `source`; none: it chooses.
Result<RouteTaken> find_route(const policy::IpAddress& to,
                              const std::optional<policy::IpAddress>& source);

/// The devices by which a default route of the main table leaves, of either family, by name.
Result<std::set<std::string>> default_route_devices();

/// Makes the kernel look in the table, of both families. True if that was new.
Result<bool> add_rules(const RouteTable& table);
/// Whether add_rules() would find them there.
Result<bool> has_rules(const RouteTable& table);
/// It is not an error if there are none.
Result<void> remove_rules(const RouteTable& table);

}  // namespace homeport::overlay
