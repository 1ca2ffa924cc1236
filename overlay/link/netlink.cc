#include "overlay/link/netlink.h"

#include <linux/if.h>

#include <algorithm>
#include <cstring>

namespace homeport::overlay::netlink {

Result<Socket> connect() {
  Socket socket(nl_socket_alloc());
  if (!socket) return error("A netlink socket cannot be made", -NLE_NOMEM);
  if (int result = nl_connect(socket.get(), NETLINK_ROUTE); result < 0) {
    return error("The kernel's route netlink cannot be reached", result);
  }
  return socket;
}

policy::Error error(std::string message, int result) {
  using namespace boost::system::errc;
  errc_t code = io_error;
  switch (-result) {
    case NLE_NODEV:
    case NLE_OBJ_NOTFOUND:
      code = no_such_device;
      break;
    case NLE_EXIST:
      code = file_exists;
      break;
    case NLE_BUSY:
      code = device_or_resource_busy;
      break;
    case NLE_PERM:
    case NLE_NOACCESS:
      code = operation_not_permitted;
      break;
    case NLE_NOMEM:
      code = not_enough_memory;
      break;
    case NLE_INVAL:
    case NLE_RANGE:
      code = invalid_argument;
      break;
    case NLE_OPNOTSUPP:
    case NLE_AF_NOSUPPORT:
      code = operation_not_supported;
      break;
  }
  return policy::make_error(code, std::move(message) + ": " + nl_geterror(result));
}

Result<LinkObject> get_link(nl_sock* socket, const std::string& name) {
  if (name.empty() || name.size() >= IFNAMSIZ) {
    return policy::make_error(
        boost::system::errc::no_such_device,
        "There is no network device \"" + name + "\": a name has 1 to 15 characters");
  }
  rtnl_link* object = nullptr;
  if (int result = rtnl_link_get_kernel(socket, 0, name.c_str(), &object); result < 0) {
    return error("The network device " + name + " cannot be read", result);
  }
  return LinkObject(object);
}

Link to_link(rtnl_link* object) {
  Link link;
  link.index = rtnl_link_get_ifindex(object);
  if (const char* name = rtnl_link_get_name(object)) link.name = name;
  if (const char* kind = rtnl_link_get_type(object)) link.kind = kind;
  if (nl_addr* mac = rtnl_link_get_addr(object); mac && nl_addr_get_len(mac) == 6) {
    std::memcpy(link.mac.bytes.data(), nl_addr_get_binary_addr(mac), 6);
  }
  link.mtu = rtnl_link_get_mtu(object);
  link.tx_queue_length = rtnl_link_get_txqlen(object);
  const unsigned flags = rtnl_link_get_flags(object);
  link.up = flags & IFF_UP;
  link.carrier = flags & IFF_LOWER_UP;
  std::int32_t peer_namespace = -1;
  link.peer_elsewhere = link.kind == "veth" &&
                        rtnl_link_get_link_netnsid(object, &peer_namespace) == 0 &&
                        peer_namespace >= 0;
  return link;
}

std::optional<policy::IpAddress> to_ip(nl_addr* object) {
  if (!object) return std::nullopt;
  const auto* bytes = static_cast<const unsigned char*>(nl_addr_get_binary_addr(object));
  if (nl_addr_get_family(object) == AF_INET && nl_addr_get_len(object) == 4) {
    boost::asio::ip::address_v4::bytes_type v4;
    std::copy_n(bytes, v4.size(), v4.begin());
    return boost::asio::ip::address_v4(v4);
  }
  if (nl_addr_get_family(object) == AF_INET6 && nl_addr_get_len(object) == 16) {
    boost::asio::ip::address_v6::bytes_type v6;
    std::copy_n(bytes, v6.size(), v6.begin());
    return boost::asio::ip::address_v6(v6);
  }
  return std::nullopt;
}

std::optional<LinkAddress> to_address(rtnl_addr* object) {
  const auto local = to_ip(rtnl_addr_get_local(object));
  if (!local) return std::nullopt;
  return LinkAddress{rtnl_addr_get_ifindex(object), *local, rtnl_addr_get_prefixlen(object)};
}

}  // namespace homeport::overlay::netlink
