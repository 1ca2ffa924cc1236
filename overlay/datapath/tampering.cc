#include "overlay/datapath/tampering.h"

#include "overlay/datapath/map_rules.h"

#include <fmt/format.h>

namespace homeport::overlay {

namespace {

std::string name_of(const hp_address_key& key) {
  return fmt::format("{} of network {}", mac_address(key.mac).to_string(), key.vni);
}

std::string name_of(const hp_neighbor_key& key) {
  return fmt::format("{} of network {}", neighbor_address(key).to_string(), key.vni);
}

std::string name_of(const hp_member_key& key) {
  return fmt::format("{} of network {}", key.index, key.vni);
}

std::string name_of(const hp_ip& ip) {
  return ip_address(ip).to_string();
}

std::string name_of(const hp_vtep& vtep) {
  return vtep_address(vtep).to_string();
}

std::string name_of(const hp_path_key& key) {
  return fmt::format("of {} traffic to {}",
                     to_string(static_cast<policy::TrafficClass>(key.traffic_class)),
                     name_of(key.host));
}

std::string name_of(const hp_port_rule_key& key) {
  return ports_text(key);
}

std::string name_of(const hp_label_key& key) {
  return fmt::format("of network {} ({})", key.vni, key.labels);
}

std::string name_of(__u32 number) {
  return std::to_string(number);
}

class Comparison {
 public:
  template <class Map>
  void add(const char* what, const Map& left, const Map& found) {
    const auto changes = difference(found, left);
    for (const auto& [key, value] : changes.updates) {
      tell(what, name_of(key), found.contains(key) ? "changed" : "missing");
    }
    for (const auto& key : changes.removals) tell(what, name_of(key), "added");
  }

  std::vector<std::string> result() && {
    if (untold_ > 0) told_.push_back(fmt::format("and {} more", untold_));
    return std::move(told_);
  }

 private:
  void tell(const char* what, const std::string& name, const char* how) {
    if (told_.size() == kToldOfTampering) {
      ++untold_;
    } else {
      told_.push_back(fmt::format("the {} {} was {}", what, name, how));
    }
  }

  std::vector<std::string> told_;
  std::size_t untold_ = 0;
};

}  // namespace

std::vector<std::string> tampering(const MapImage& left, const MapImage& found) {
  Comparison comparison;
  comparison.add("port with index", left.ports, found.ports);
  comparison.add("address", left.addresses, found.addresses);
  comparison.add("address", left.neighbors, found.neighbors);
  comparison.add("held address", left.held, found.held);
  comparison.add("network", left.networks, found.networks);
  comparison.add("host", left.network_hosts, found.network_hosts);
  comparison.add("port", left.network_ports, found.network_ports);
  comparison.add("host", left.vteps, found.vteps);
  comparison.add("path", left.paths, found.paths);
  comparison.add("rule for", left.port_rules, found.port_rules);
  comparison.add("label", left.labels, found.labels);
  comparison.add("relayed label", left.relays, found.relays);
  comparison.add("route to", left.routes, found.routes);
  comparison.add("host's address", left.hosts, found.hosts);
  return std::move(comparison).result();
}

}  // namespace homeport::overlay
