// What the files of this folder share around libnl: ownership, a connected socket, errors.
#pragma once

#include "overlay/deleter.h"
#include "overlay/link/link.h"

#include <netlink/errno.h>
#include <netlink/netlink.h>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>
#include <netlink/socket.h>

#include <memory>
#include <optional>
#include <string>

namespace homeport::overlay::netlink {

using Socket = std::unique_ptr<nl_sock, Deleter<nl_socket_free>>;
using LinkObject = std::unique_ptr<rtnl_link, Deleter<rtnl_link_put>>;
using Cache = std::unique_ptr<nl_cache, Deleter<nl_cache_free>>;

/// A route netlink socket in the calling thread's network namespace.
Result<Socket> connect();

/// An error from a negative libnl result, with `message` before it.
policy::Error error(std::string message, int result);

/// The device as the kernel has it now.
Result<LinkObject> get_link(nl_sock* socket, const std::string& name);

Link to_link(rtnl_link* object);
/// nullopt for none, and for an address family other than IPv4 and IPv6.
std::optional<policy::IpAddress> to_ip(nl_addr* object);
/// nullopt for an address family other than IPv4 and IPv6.
std::optional<LinkAddress> to_address(rtnl_addr* object);

}  // namespace homeport::overlay::netlink
