#include "tests/unit/overlay/link/devices.h"

#include "overlay/link/netlink.h"
#include "overlay/link/route_objects.h"
#include "overlay/link/unique_fd.h"

#include <linux/ethtool.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <netlink/route/link/veth.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <chrono>
#include <stdexcept>
#include <thread>

namespace homeport::overlay {

namespace {

using AddressObject = std::unique_ptr<rtnl_addr, Deleter<rtnl_addr_put>>;
using AbstractAddress = std::unique_ptr<nl_addr, Deleter<nl_addr_put>>;

void check(int result, const std::string& what) {
  if (result < 0) throw std::runtime_error(netlink::error(what, result).message);
}

AddressObject address_object(nl_sock* socket, const std::string& name,
                             const policy::IpAddress& address, int prefix_length) {
  const std::string text = address.to_string() + "/" + std::to_string(prefix_length);
  nl_addr* raw = nullptr;
  check(nl_addr_parse(text.c_str(), AF_UNSPEC, &raw), text);
  const AbstractAddress parsed(raw);
  AddressObject object(rtnl_addr_alloc());
  rtnl_addr_set_ifindex(object.get(),
                        rtnl_link_get_ifindex(netlink::get_link(socket, name).value().get()));
  rtnl_addr_set_local(object.get(), parsed.get());
  if (address.is_v6()) rtnl_addr_set_flags(object.get(), IFA_F_NODAD);
  return object;
}

/// Waits until the kernel takes what comes to the address of that device.
void await_local_route(nl_sock* socket, int device, const policy::IpAddress& address) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(5);
  while (true) {
    // Fails now and then: while it is read the table changes.
    const auto routes = netlink::routes_of(socket, RT_TABLE_LOCAL);
    if (routes && std::any_of(routes->begin(), routes->end(), [&](const auto& route) {
          rtnl_nexthop* next = rtnl_route_nexthop_n(route.get(), 0);
          return rtnl_route_get_type(route.get()) == RTN_LOCAL && next &&
                 rtnl_route_nh_get_ifindex(next) == device &&
                 netlink::to_ip(rtnl_route_get_dst(route.get())) == address;
        })) {
      return;
    }
    if (std::chrono::steady_clock::now() >= deadline) {
      throw std::runtime_error("add_address: " + address.to_string() + " does not serve");
    }
    std::this_thread::yield();
  }
}

}  // namespace

void create_veth(const std::string& name, const std::string& peer,
                 std::optional<int> peer_namespace) {
  auto socket = netlink::connect().value();
  const netlink::LinkObject object(rtnl_link_veth_alloc());
  rtnl_link_set_name(object.get(), name.c_str());
  const netlink::LinkObject other(rtnl_link_veth_get_peer(object.get()));
  rtnl_link_set_name(other.get(), peer.c_str());
  if (peer_namespace) rtnl_link_set_ns_fd(other.get(), *peer_namespace);
  check(rtnl_link_add(socket.get(), object.get(), NLM_F_CREATE | NLM_F_EXCL),
        "The veth pair " + name + ", " + peer + " cannot be made");
}

void add_address(const std::string& name, const policy::IpAddress& address, int prefix_length) {
  auto socket = netlink::connect().value();
  auto object = address_object(socket.get(), name, address, prefix_length);
  check(rtnl_addr_add(socket.get(), object.get(), NLM_F_CREATE | NLM_F_EXCL),
        "add_address " + name);
  if (address.is_v6()) {
    await_local_route(socket.get(), rtnl_addr_get_ifindex(object.get()), address);
  }
}

void remove_address(const std::string& name, const policy::IpAddress& address, int prefix_length) {
  auto socket = netlink::connect().value();
  auto object = address_object(socket.get(), name, address, prefix_length);
  check(rtnl_addr_delete(socket.get(), object.get(), 0), "remove_address " + name);
}

namespace {

std::uint64_t counter(const std::string& name, rtnl_link_stat_id_t which) {
  auto socket = netlink::connect().value();
  return rtnl_link_get_stat(netlink::get_link(socket.get(), name).value().get(), which);
}

}  // namespace

std::uint64_t sent_packets(const std::string& name) {
  return counter(name, RTNL_LINK_TX_PACKETS);
}

std::uint64_t received_packets(const std::string& name) {
  return counter(name, RTNL_LINK_RX_PACKETS);
}

}  // namespace homeport::overlay
