#include "overlay/datapath/ovs/records.h"

#include "overlay/datapath/ovs/pipeline.h"

#include <fmt/format.h>

#include <charconv>
#include <map>
#include <optional>
#include <sstream>

namespace homeport::overlay::ovs {

namespace {

using vswitch::Flow;

std::string note(const std::string& text) {
  std::string action = "note:";
  for (unsigned char c : text) action += fmt::format("{:02x}.", c);
  action.pop_back();
  return action;
}

/// The text of the note among actions; empty when there is none.
std::string noted(const std::string& actions) {
  const auto at = actions.find("note:");
  std::string text;
  if (at == std::string::npos) return text;
  for (std::size_t i = at + 5; i + 1 < actions.size(); i += 3) {
    unsigned value = 0;
    auto [end, error] = std::from_chars(&actions[i], &actions[i] + 2, value, 16);
    if (error != std::errc() || end != &actions[i] + 2 || value == 0) break;  // Padded with zeros.
    text += static_cast<char>(value);
    if (i + 2 >= actions.size() || actions[i + 2] != '.') break;
  }
  return text;
}

std::optional<policy::IpAddress> address(const std::string& text) {
  boost::system::error_code error;
  auto parsed = boost::asio::ip::make_address(text, error);
  if (error) return std::nullopt;
  return parsed;
}

std::optional<Port> read_port(std::istream& words) {
  Port port;
  std::string mac;
  if (!(words >> port.device >> port.vni >> mac >> port.held)) return std::nullopt;
  auto parsed = policy::MacAddress::parse(mac);
  if (!parsed) return std::nullopt;
  port.mac = *parsed;
  std::string name;
  const auto traffic_class =
      words >> name ? policy::parse_traffic_class(name) : policy::TrafficClass::best_effort;
  if (!traffic_class) return std::nullopt;
  port.traffic_class = *traffic_class;
  return port;
}

std::optional<AddressEntry> read_address(std::istream& words) {
  AddressEntry entry;
  std::string mac, kind, where;
  if (!(words >> entry.vni >> mac >> entry.generation >> kind >> where)) return std::nullopt;
  auto parsed = policy::MacAddress::parse(mac);
  if (!parsed) return std::nullopt;
  entry.mac = *parsed;
  if (kind == "here") {
    entry.location = LocalPort{where};
  } else if (auto vtep = address(where)) {
    entry.location = RemoteHost{*vtep};
    entry.relayed = kind == "left";
  } else {
    return std::nullopt;
  }
  for (std::string ip; words >> ip;) {
    auto one = address(ip);
    if (!one) return std::nullopt;
    entry.ips.push_back(*one);
  }
  return entry;
}

std::optional<NetworkEntry> read_network(std::istream& words) {
  NetworkEntry network;
  if (!(words >> network.vni >> network.mtu >> network.normal >> network.host_access)) {
    return std::nullopt;
  }
  for (std::string ip; words >> ip;) {
    auto gateway = address(ip);
    if (!gateway) return std::nullopt;
    network.gateways.push_back(*gateway);
  }
  return network;
}

std::optional<VtepAlias> read_alias(std::istream& words) {
  std::string one, other;
  if (!(words >> one >> other)) return std::nullopt;
  auto alias = address(one), vtep = address(other);
  if (!alias || !vtep) return std::nullopt;
  return VtepAlias{*alias, *vtep};
}

std::optional<PathEntry> read_path(std::istream& words) {
  std::string host, name, from, to;
  if (!(words >> host >> name >> from >> to)) return std::nullopt;
  auto vtep = address(host), local = address(from), remote = address(to);
  const auto traffic_class = policy::parse_traffic_class(name);
  if (!vtep || !traffic_class || !local || !remote) return std::nullopt;
  std::string kind;
  const bool relayed = words >> kind && kind == "relayed";
  return PathEntry{*vtep, *traffic_class, *local, *remote, relayed, {}};
}

std::optional<RelayEntry> read_relay(std::istream& words) {
  RelayEntry relay;
  std::string from, to;
  if (!(words >> relay.label >> from >> to >> relay.vni)) return std::nullopt;
  auto sender = address(from), receiver = address(to);
  if (!sender || !receiver) return std::nullopt;
  relay.from = *sender;
  relay.to = *receiver;
  return relay;
}

std::optional<policy::PortRule> read_rule(std::istream& words) {
  std::string text, name;
  if (!(words >> text >> name)) return std::nullopt;
  const auto ports = policy::parse_ports(text);
  const auto traffic_class = policy::parse_traffic_class(name);
  if (!ports || !traffic_class) return std::nullopt;
  return policy::PortRule{*ports, *traffic_class};
}

/// The labels of paths, by the VTEP and class of each.
using Labels =
    std::map<std::pair<policy::IpAddress, policy::TrafficClass>, std::vector<NetworkLabel>>;

void read_label(std::istream& words, Labels& labels) {
  std::string host, name;
  NetworkLabel network;
  if (!(words >> host >> name >> network.vni >> network.label)) return;
  auto vtep = address(host);
  const auto traffic_class = policy::parse_traffic_class(name);
  if (vtep && traffic_class) labels[{*vtep, *traffic_class}].push_back(network);
}

std::optional<HostAddress> read_host(std::istream& words) {
  std::string ip, where;
  if (!(words >> ip >> where)) return std::nullopt;
  auto parsed = address(ip), vtep = address(where);
  if (!parsed || (!vtep && where != "here")) return std::nullopt;
  return HostAddress{*parsed, vtep};
}

/// What follows `key` up to a character that ends it.
std::string value_after(const std::string& text, std::string_view key) {
  const auto at = text.find(key);
  if (at == std::string::npos) return "";
  const auto begin = at + key.size();
  return text.substr(begin, text.find_first_of(",/", begin) - begin);
}

/// To which hosts a network's announcements are sent.
std::vector<policy::IpAddress> hosts_of(const std::string& actions) {
  static constexpr std::string_view kSet = "set_field:";
  std::vector<policy::IpAddress> hosts;
  for (auto at = actions.find(kSet); at != std::string::npos; at = actions.find(kSet, at + 1)) {
    const auto begin = at + kSet.size();
    const auto arrow = actions.find("->", begin);
    if (arrow == std::string::npos) break;
    const std::string_view field = std::string_view(actions).substr(arrow + 2);
    if (!field.starts_with("tun_dst") && !field.starts_with("tun_ipv6_dst")) continue;
    if (auto host = address(actions.substr(begin, arrow - begin))) hosts.push_back(*host);
  }
  return hosts;
}

}  // namespace

std::string record(const Port& port) {
  return note(fmt::format("port {} {} {} {:d} {}", port.device, port.vni, port.mac.to_string(),
                          port.held, to_string(port.traffic_class)));
}

std::string record(const VtepAlias& alias) {
  return note(fmt::format("alias {} {}", alias.address.to_string(), alias.vtep.to_string()));
}

std::string record(const PathEntry& path) {
  return note(fmt::format("path {} {} {} {}{}", path.vtep.to_string(),
                          to_string(path.traffic_class), path.local.to_string(),
                          path.remote.to_string(), path.relayed ? " relayed" : ""));
}

std::string record(const PathEntry& path, const NetworkLabel& network) {
  return note(fmt::format("label {} {} {} {}", path.vtep.to_string(), to_string(path.traffic_class),
                          network.vni, network.label));
}

std::string record(const RelayEntry& relay) {
  return note(fmt::format("relay {} {} {} {}", relay.label, relay.from.to_string(),
                          relay.to.to_string(), relay.vni));
}

std::string record(const policy::PortRule& rule) {
  return note(fmt::format("rule {} {}", to_string(rule.ports), to_string(rule.traffic_class)));
}

std::string record(const NetworkEntry& network) {
  std::string text = fmt::format("network {} {} {:d} {:d}", network.vni, network.mtu,
                                 network.normal, network.host_access);
  for (const policy::IpAddress& gateway : network.gateways) text += " " + gateway.to_string();
  return note(text);
}

std::string record(const HostAddress& host) {
  return note(fmt::format("host {} {}", host.address.to_string(),
                          host.vtep ? host.vtep->to_string() : "here"));
}

std::string record(const AddressEntry& entry) {
  std::string text =
      fmt::format("address {} {} {} ", entry.vni, entry.mac.to_string(), entry.generation);
  if (const auto* host = std::get_if<RemoteHost>(&entry.location)) {
    text += (entry.relayed ? "left " : "at ") + host->vtep.to_string();
  } else {
    text += "here " + std::get<LocalPort>(entry.location).device;
  }
  for (const policy::IpAddress& ip : entry.ips) text += " " + ip.to_string();
  return note(text);
}

std::string hex(std::string_view mac) {
  std::string digits;
  for (char c : mac) {
    if (c != ':') digits += c;
  }
  return digits;
}

DesiredState decompile(const std::vector<Flow>& flows) {
  DesiredState state;
  std::map<policy::Vni, std::vector<policy::IpAddress>> hosts;
  Labels labels;
  for (const Flow& flow : flows) {
    if (flow.key.table == kFromTunnel && flow.key.priority == kKnownPriority) {
      const bool is_alias = noted(flow.body.actions).starts_with("alias ");
      for (std::string_view key : {"tun_src=", "tun_ipv6_src="}) {
        if (is_alias) break;
        if (auto vtep = address(value_after(flow.key.match, key))) state.vteps.push_back(*vtep);
      }
    } else if (flow.key.table == kSpread) {
      policy::Vni vni = 0;
      const std::string text = value_after(flow.key.match, "reg0=0x");
      std::from_chars(text.data(), text.data() + text.size(), vni, 16);
      auto& all = hosts[vni];
      for (const auto& host : hosts_of(flow.body.actions)) all.push_back(host);
    }
    std::istringstream words(noted(flow.body.actions));
    std::string kind;
    words >> kind;
    if (kind == "port") {
      if (auto port = read_port(words)) state.ports.push_back(*port);
    } else if (kind == "address") {
      if (auto entry = read_address(words)) state.addresses.push_back(*entry);
    } else if (kind == "network") {
      if (auto network = read_network(words)) state.networks.push_back(*network);
    } else if (kind == "alias") {
      if (auto alias = read_alias(words)) state.aliases.push_back(*alias);
    } else if (kind == "path") {
      if (auto path = read_path(words)) state.paths.push_back(*path);
    } else if (kind == "label") {
      read_label(words, labels);
    } else if (kind == "relay") {
      if (auto relay = read_relay(words)) state.relays.push_back(*relay);
    } else if (kind == "rule") {
      if (auto rule = read_rule(words)) state.port_rules.push_back(*rule);
    } else if (kind == "host") {
      if (auto host = read_host(words)) state.hosts.push_back(*host);
    }
  }
  for (NetworkEntry& network : state.networks) network.hosts = std::move(hosts[network.vni]);
  for (PathEntry& path : state.paths) {
    if (path.relayed) path.labels = std::move(labels[{path.vtep, path.traffic_class}]);
  }
  normalize(state);
  return state;
}

}  // namespace homeport::overlay::ovs
