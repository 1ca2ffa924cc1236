#include "agent/network/underlay.h"

#include "overlay/datapath/datapath.h"
#include "overlay/link/ethtool.h"
#include "overlay/link/link.h"

#include <fmt/format.h>

#include <algorithm>

namespace homeport::agent {

using policy::Result;

namespace {

const overlay::Link* link_of(const std::vector<overlay::Link>& links, int index) {
  auto found = std::find_if(links.begin(), links.end(),
                            [&](const overlay::Link& link) { return link.index == index; });
  return found == links.end() ? nullptr : &*found;
}

LinkState state_of(const overlay::Link& link) {
  return link.carrier ? LinkState::up : LinkState::down;
}

/// The loopback device has more than the schema takes, and may carry a routed address.
std::int64_t mtu_of(const overlay::Link& link) {
  return std::min<std::int64_t>(link.mtu, 65535);
}

bool usable(const policy::IpAddress& address) {
  if (address.is_loopback() || address.is_unspecified()) return false;
  return !(address.is_v6() && address.to_v6().is_link_local());
}

std::int64_t megabits(const Result<std::uint64_t>& bits_per_second) {
  return static_cast<std::int64_t>((bits_per_second ? *bits_per_second : 0) / 1'000'000);
}

}  // namespace

Result<std::uint32_t> tunnel_mtu_of(const policy::IpAddress& vtep) {
  auto links = overlay::list_links();
  if (!links) return links.error();
  auto addresses = overlay::list_addresses();
  if (!addresses) return addresses.error();
  for (const overlay::LinkAddress& item : *addresses) {
    if (item.address != vtep) continue;
    const overlay::Link* link = link_of(*links, item.link_index);
    if (link && link->mtu > overlay::kTunnelOverhead) return overlay::tunnel_mtu(link->mtu);
  }
  return policy::make_error(boost::system::errc::address_not_available,
                            fmt::format("no interface of this host has the VTEP address {}: set "
                                        "[underlay] vtep to one that it has",
                                        vtep.to_string()));
}

Result<std::vector<Interface>> interfaces_of(const std::string& host) {
  auto links = overlay::list_links();
  if (!links) return links.error();
  auto addresses = overlay::list_addresses();
  if (!addresses) return addresses.error();
  std::vector<Interface> interfaces;
  for (const overlay::LinkAddress& item : *addresses) {
    const overlay::Link* link = link_of(*links, item.link_index);
    if (!link || !usable(item.address) || link->kind == "vxlan") continue;
    Interface interface;
    interface.host = host;
    interface.name = link->name;
    interface.address = item.address;
    interface.mtu = mtu_of(*link);
    // A device that has gone in between is told of by the next look.
    interface.speed_mbps = megabits(overlay::link_speed(link->name));
    interface.state = state_of(*link);
    interfaces.push_back(std::move(interface));
  }
  return interfaces;
}

bool may_change(const std::vector<Interface>& interfaces, const overlay::LinkEvent& event) {
  struct Visitor {
    const std::vector<Interface>& interfaces;

    bool operator()(const overlay::LinkChanged& changed) const {
      return std::ranges::any_of(interfaces, [&](const Interface& each) {
        return each.name == changed.link.name &&
               (each.state != state_of(changed.link) || each.mtu != mtu_of(changed.link));
      });
    }
    bool operator()(const overlay::LinkRemoved& removed) const {
      return std::ranges::any_of(interfaces,
                                 [&](const Interface& each) { return each.name == removed.name; });
    }
    bool operator()(const overlay::AddressAdded& added) const {
      return usable(added.address.address);
    }
    bool operator()(const overlay::AddressRemoved& removed) const {
      return usable(removed.address.address);
    }
    bool operator()(const overlay::EventsLost&) const { return true; }
  };
  return std::visit(Visitor{interfaces}, event);
}

}  // namespace homeport::agent
