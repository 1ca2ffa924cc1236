#include "overlay/link/link.h"

#include "overlay/link/netlink.h"
#include "overlay/link/unique_fd.h"

#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/if.h>
#include <linux/if_link.h>
#include <linux/sockios.h>
#include <netlink/route/link/inet6.h>
#include <netlink/route/link/veth.h>
#include <netlink/route/link/vxlan.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cerrno>
#include <system_error>

namespace homeport::overlay {

using netlink::LinkObject;

namespace {

/// Reads the device, lets `edit` fill in a change, and sends the change.
template <class Edit>
Result<void> change_link(const std::string& name, const std::string& what, Edit edit) {
  auto socket = netlink::connect();
  if (!socket) return socket.error();
  auto link = netlink::get_link(socket->get(), name);
  if (!link) return link.error();
  LinkObject change(rtnl_link_alloc());
  edit(change.get());
  if (int result = rtnl_link_change(socket->get(), link->get(), change.get(), 0); result < 0) {
    return netlink::error("The network device " + name + " cannot be " + what, result);
  }
  return {};
}

}  // namespace

Result<std::vector<Link>> list_links() {
  auto socket = netlink::connect();
  if (!socket) return socket.error();
  nl_cache* raw = nullptr;
  if (int result = rtnl_link_alloc_cache(socket->get(), AF_UNSPEC, &raw); result < 0) {
    return netlink::error("The network devices cannot be listed", result);
  }
  netlink::Cache cache(raw);
  std::vector<Link> links;
  for (nl_object* object = nl_cache_get_first(raw); object; object = nl_cache_get_next(object)) {
    links.push_back(netlink::to_link(reinterpret_cast<rtnl_link*>(object)));
  }
  return links;
}

Result<Link> find_link(const std::string& name) {
  auto socket = netlink::connect();
  if (!socket) return socket.error();
  auto link = netlink::get_link(socket->get(), name);
  if (!link) return link.error();
  return netlink::to_link(link->get());
}

Result<void> set_link_up(const std::string& name, bool up) {
  return change_link(name, up ? "brought up" : "taken down", [up](rtnl_link* change) {
    if (up) {
      rtnl_link_set_flags(change, IFF_UP);
    } else {
      rtnl_link_unset_flags(change, IFF_UP);
    }
  });
}

Result<void> set_link_mtu(const std::string& name, std::uint32_t mtu) {
  return change_link(name, "given an MTU of " + std::to_string(mtu),
                     [mtu](rtnl_link* change) { rtnl_link_set_mtu(change, mtu); });
}

Result<void> set_link_mac(const std::string& name, const policy::MacAddress& mac) {
  const std::unique_ptr<nl_addr, Deleter<nl_addr_put>> address(
      nl_addr_build(AF_LLC, mac.bytes.data(), mac.bytes.size()));
  return change_link(name, "given the MAC address " + mac.to_string(),
                     [&](rtnl_link* change) { rtnl_link_set_addr(change, address.get()); });
}

Result<void> set_tx_queue_length(const std::string& name, std::uint32_t packets) {
  return change_link(name, "given a queue of " + std::to_string(packets) + " packets",
                     [packets](rtnl_link* change) { rtnl_link_set_txqlen(change, packets); });
}

Result<void> set_ipv6_silent(const std::string& name) {
  return change_link(name, "kept from making IPv6 addresses", [](rtnl_link* change) {
    rtnl_link_inet6_set_addr_gen_mode(change, IN6_ADDR_GEN_MODE_NONE);
  });
}

namespace {

Result<void> write_ipv6_disabled(const std::string& name, const char* value) {
  // In the network namespace of the thread that opens it. There is none where the kernel has no
  // IPv6.
  const std::string path = "/proc/sys/net/ipv6/conf/" + name + "/disable_ipv6";
  const UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd && errno == ENOENT) return {};
  if (!fd || ::write(fd.get(), value, 1) != 1) {
    return policy::make_error(static_cast<boost::system::errc::errc_t>(errno),
                              "IPv6 of the network device " + name + " cannot be set by " + path +
                                  ": " + std::generic_category().message(errno));
  }
  return {};
}

}  // namespace

Result<void> set_ipv6_off(const std::string& name) {
  return write_ipv6_disabled(name, "1");
}

Result<void> set_offloads_off(const std::string& name) {
  const UniqueFd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  for (std::uint32_t command : {ETHTOOL_STXCSUM, ETHTOOL_SGSO}) {
    ethtool_value value{command, 0};
    ifreq request{};
    name.copy(request.ifr_name, sizeof(request.ifr_name) - 1);
    request.ifr_data = reinterpret_cast<char*>(&value);
    if (::ioctl(fd.get(), SIOCETHTOOL, &request) < 0) {
      return policy::make_error(
          static_cast<boost::system::errc::errc_t>(errno),
          "The network device " + name + " cannot be told to complete its packets");
    }
  }
  return {};
}

Result<void> delete_device(const std::string& name) {
  auto socket = netlink::connect();
  if (!socket) return socket.error();
  auto link = netlink::get_link(socket->get(), name);
  if (!link) return link.error();
  if (int result = rtnl_link_delete(socket->get(), link->get()); result < 0) {
    return netlink::error("The network device " + name + " cannot be deleted", result);
  }
  return {};
}

Result<Link> create_vxlan(const std::string& name, std::uint16_t udp_port) {
  auto socket = netlink::connect();
  if (!socket) return socket.error();
  LinkObject object(rtnl_link_vxlan_alloc());
  rtnl_link_set_name(object.get(), name.c_str());
  rtnl_link_vxlan_set_collect_metadata(object.get(), 1);
  rtnl_link_vxlan_set_port(object.get(), udp_port);
  rtnl_link_vxlan_set_learning(object.get(), 0);
  rtnl_link_vxlan_set_udp_zero_csum6_rx(object.get(), 1);
  rtnl_link_vxlan_set_udp_zero_csum6_tx(object.get(), 1);
  if (int result = rtnl_link_add(socket->get(), object.get(), NLM_F_CREATE | NLM_F_EXCL);
      result < 0) {
    return netlink::error(
        "The VXLAN device " + name + " on UDP port " + std::to_string(udp_port) +
            " cannot be made (another device may have the name, or another VXLAN the port)",
        result);
  }
  // The host itself has no business on this device.
  if (auto silent = set_ipv6_silent(name); !silent) return silent.error();
  if (auto up = set_link_up(name, true); !up) return up.error();
  return find_link(name);
}

Result<Link> create_route_device(const std::string& name, const policy::MacAddress& mac) {
  auto socket = netlink::connect();
  if (!socket) return socket.error();
  const std::string other = name + "p";
  LinkObject object(rtnl_link_veth_alloc());
  rtnl_link_set_name(object.get(), name.c_str());
  const std::unique_ptr<nl_addr, Deleter<nl_addr_put>> address(
      nl_addr_build(AF_LLC, mac.bytes.data(), mac.bytes.size()));
  rtnl_link_set_addr(object.get(), address.get());
  {
    const LinkObject peer(rtnl_link_veth_get_peer(object.get()));
    rtnl_link_set_name(peer.get(), other.c_str());
  }
  if (int result = rtnl_link_add(socket->get(), object.get(), NLM_F_CREATE | NLM_F_EXCL);
      result < 0) {
    return netlink::error("The devices " + name + " and " + other + " cannot be made", result);
  }
  for (const std::string& end : {name, other}) {
    auto done = set_ipv6_silent(end);
    // Its routes are of both families, also where devices are made without IPv6.
    if (done && end == name) done = write_ipv6_disabled(name, "0");
    if (done) {
      done = change_link(end, "brought up", [](rtnl_link* change) {
        rtnl_link_set_flags(change, IFF_UP | IFF_NOARP);
      });
    }
    if (done) continue;
    (void)delete_device(name);  // half made, it would be taken for whole next time
    return done.error();
  }
  return find_link(name);
}

Result<VxlanSettings> vxlan_settings(const std::string& name) {
  auto socket = netlink::connect();
  if (!socket) return socket.error();
  auto link = netlink::get_link(socket->get(), name);
  if (!link) return link.error();
  if (!rtnl_link_is_vxlan(link->get())) {
    return policy::make_error(boost::system::errc::invalid_argument,
                              "The network device " + name + " is not a VXLAN device");
  }
  VxlanSettings settings;
  std::uint32_t port = 0;
  rtnl_link_vxlan_get_port(link->get(), &port);
  settings.udp_port = static_cast<std::uint16_t>(port);
  settings.external = rtnl_link_vxlan_get_collect_metadata(link->get()) > 0;
  settings.udp6_zero_checksum_rx = rtnl_link_vxlan_get_udp_zero_csum6_rx(link->get()) > 0;
  return settings;
}

Result<std::vector<LinkAddress>> list_addresses() {
  auto socket = netlink::connect();
  if (!socket) return socket.error();
  nl_cache* raw = nullptr;
  if (int result = rtnl_addr_alloc_cache(socket->get(), &raw); result < 0) {
    return netlink::error("The addresses of the network devices cannot be listed", result);
  }
  netlink::Cache cache(raw);
  std::vector<LinkAddress> addresses;
  for (nl_object* object = nl_cache_get_first(raw); object; object = nl_cache_get_next(object)) {
    if (auto address = netlink::to_address(reinterpret_cast<rtnl_addr*>(object))) {
      addresses.push_back(*address);
    }
  }
  return addresses;
}

}  // namespace homeport::overlay
