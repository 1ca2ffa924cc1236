#include "overlay/link/route_objects.h"

#include <fmt/format.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>

namespace homeport::overlay::netlink {

namespace {

int take_route(nl_msg* message, void* context) {
  rtnl_route* route = nullptr;
  if (rtnl_route_parse(nlmsg_hdr(message), &route) < 0) return NL_SKIP;
  static_cast<std::vector<RouteObject>*>(context)->emplace_back(route);
  return NL_OK;
}

}  // namespace

AddressObject to_object(const policy::IpAddress& address) {
  if (address.is_v4()) {
    const auto bytes = address.to_v4().to_bytes();
    return AddressObject(nl_addr_build(AF_INET, bytes.data(), bytes.size()));
  }
  const auto bytes = address.to_v6().to_bytes();
  return AddressObject(nl_addr_build(AF_INET6, bytes.data(), bytes.size()));
}

Result<std::vector<RouteObject>> routes_of(nl_sock* socket, std::uint32_t table) {
  const int strict = 1;
  if (::setsockopt(nl_socket_get_fd(socket), SOL_NETLINK, NETLINK_GET_STRICT_CHK, &strict,
                   sizeof(strict)) < 0) {
    return policy::errno_error("The kernel's routes cannot be asked for by table");
  }
  std::vector<RouteObject> routes;
  nl_socket_modify_cb(socket, NL_CB_VALID, NL_CB_CUSTOM, take_route, &routes);
  int result = 0;
  for (const int family : kFamilies) {
    Message message(nlmsg_alloc_simple(RTM_GETROUTE, NLM_F_DUMP));
    rtmsg header{};
    header.rtm_family = static_cast<unsigned char>(family);
    nlmsg_append(message.get(), &header, sizeof(header), NLMSG_ALIGNTO);
    nla_put_u32(message.get(), RTA_TABLE, table);
    result = nl_send_auto(socket, message.get());
    if (result >= 0) result = nl_recvmsgs_default(socket);
    // A table that has never been written to does not exist.
    if (result == -NLE_OBJ_NOTFOUND) result = 0;
    if (result < 0) break;
  }
  nl_socket_modify_cb(socket, NL_CB_VALID, NL_CB_DEFAULT, nullptr, nullptr);
  if (result < 0) {
    return error(fmt::format("The routes of table {} cannot be listed", table), result);
  }
  return routes;
}

Result<Cache> list_rules(nl_sock* socket) {
  nl_cache* rules = nullptr;
  if (int result = rtnl_rule_alloc_cache(socket, AF_UNSPEC, &rules); result < 0) {
    return error("The kernel's routing rules cannot be listed", result);
  }
  return Cache(rules);
}

}  // namespace homeport::overlay::netlink
