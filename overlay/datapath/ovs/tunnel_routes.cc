#include "overlay/datapath/ovs/tunnel_routes.h"

#include <fmt/format.h>
#include <boost/asio/ip/network_v4.hpp>
#include <boost/asio/ip/network_v6.hpp>

#include <algorithm>
#include <sstream>
#include <utility>

namespace homeport::overlay::ovs {

namespace asio = boost::asio;
using policy::IpAddress;

std::map<IpAddress, GivenRoute> read_given_routes(std::string_view shown) {
  std::map<IpAddress, GivenRoute> routes;
  std::istringstream lines{std::string(shown)};
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string kind, to, dev, device, src, source;
    if (!(words >> kind >> to >> dev >> device >> src >> source)) continue;
    if (kind != "User:" || dev != "dev" || src != "SRC") continue;
    const auto slash = to.find('/');
    boost::system::error_code bad_to, bad_source;
    const auto address = asio::ip::make_address(to.substr(0, slash), bad_to);
    const auto from = asio::ip::make_address(source, bad_source);
    if (bad_to || bad_source || slash == to.npos) continue;
    if (to.substr(slash + 1) != (address.is_v6() ? "128" : "32")) continue;
    routes[address] = {device, from};
  }
  return routes;
}

bool is_on_link(const IpAddress& host, const LinkAddress& own) {
  if (host.is_v6() != own.address.is_v6()) return false;
  const auto prefix = static_cast<unsigned short>(own.prefix_length);
  if (host.is_v4()) {
    return asio::ip::network_v4(host.to_v4(), prefix).canonical() ==
           asio::ip::network_v4(own.address.to_v4(), prefix).canonical();
  }
  return asio::ip::network_v6(host.to_v6(), prefix).canonical() ==
         asio::ip::network_v6(own.address.to_v6(), prefix).canonical();
}

Result<TunnelRoutes::Given> TunnelRoutes::given() {
  auto shown = bridge_.ask("ovs/route/show", {});
  if (!shown) return shown.error();
  return read_given_routes(*shown);
}

Result<void> TunnelRoutes::change(const std::string& command, const IpAddress& host,
                                  const std::string& device) {
  std::vector<std::string> arguments{
      fmt::format("{}/{}", host.to_string(), host.is_v6() ? 128 : 32)};
  if (!device.empty()) arguments.push_back(device);
  auto done = bridge_.ask(command, arguments);
  if (done) return {};
  return policy::with_context(
      fmt::format("ovs-vswitchd does not take the way to the host {}", host.to_string()),
      done.error());
}

/// Hosts and the VTEP as they are now, beside what the switch has been given.
Result<TunnelRoutes::Ways> TunnelRoutes::look(const std::vector<IpAddress>& hosts) {
  auto addresses = list_addresses();
  if (!addresses) return addresses.error();
  auto links = list_links();
  if (!links) return links.error();
  auto there = given();
  if (!there) return there.error();
  Ways ways{std::move(*there), {}, {}};
  auto own = std::ranges::find(*addresses, *options_.local_vtep, &LinkAddress::address);
  if (own == addresses->end()) return ways;
  auto link = std::ranges::find(*links, own->link_index, &Link::index);
  if (link == links->end()) return ways;
  ways.own = {link->name, own->address};
  for (const IpAddress& host : hosts) {
    if (is_on_link(host, *own)) ways.wanted.insert(host);
  }
  return ways;
}

/// The source was chosen when the route was given, and maybe among other addresses.
bool TunnelRoutes::is_right(const Ways& ways, const IpAddress& host) const {
  auto found = ways.given.find(host);
  return found != ways.given.end() && found->second.device == ways.own.device &&
         (left_.contains(host) || found->second.source == ways.own.source);
}

Result<void> TunnelRoutes::keep(const std::vector<IpAddress>& hosts,
                                std::vector<std::string>& mended) {
  auto ways = look(hosts);
  if (!ways) return ways.error();
  for (const IpAddress& host : left_) {
    if (ways->wanted.contains(host) || !ways->given.contains(host)) continue;
    if (auto gone = change("ovs/route/del", host, ""); !gone) return gone;
  }
  for (const IpAddress& host : ways->wanted) {
    if (is_right(*ways, host)) continue;
    if (left_.contains(host)) {
      mended.push_back(fmt::format("the way of ovs-vswitchd to the host {} was {}",
                                   host.to_string(),
                                   ways->given.contains(host) ? "changed" : "missing"));
    }
    if (auto made = change("ovs/route/add", host, ways->own.device); !made) return made;
  }
  left_ = std::move(ways->wanted);
  return {};
}

IpAddress TunnelRoutes::source_by(const Given& given, const std::vector<IpAddress>& hosts) const {
  const IpAddress vtep = *options_.local_vtep;
  const bool all = std::ranges::all_of(hosts, [&](const IpAddress& host) {
    auto found = given.find(host);
    return host.is_v6() != vtep.is_v6() || (found != given.end() && found->second.source == vtep);
  });
  if (!all) return vtep;
  return vtep.is_v6() ? IpAddress(asio::ip::address_v6::any())
                      : IpAddress(asio::ip::address_v4::any());
}

Result<IpAddress> TunnelRoutes::source(const std::vector<IpAddress>& hosts) {
  auto there = given();
  if (!there) return there.error();
  return source_by(*there, hosts);
}

Result<bool> TunnelRoutes::untouched(const std::vector<IpAddress>& hosts,
                                     const std::optional<IpAddress>& source) {
  auto ways = look(hosts);
  if (!ways) return ways.error();
  return ways->wanted == left_ &&
         std::ranges::all_of(left_, [&](const IpAddress& host) { return is_right(*ways, host); }) &&
         source_by(ways->given, hosts) == source;
}

}  // namespace homeport::overlay::ovs
