#include "overlay/datapath/ovs/paths.h"

#include "overlay/datapath/ovs/records.h"
#include "overlay/datapath/ovs/words.h"

#include <fmt/format.h>

namespace homeport::overlay::ovs {

namespace {

/// All of the tunnel's key but the mark.
std::string call_it(policy::Vni vni) {
  return fmt::format("load:{:#x}->NXM_NX_TUN_ID[0..22]", vni);
}

std::string ports_text(const policy::PortPrefix& prefix) {
  return fmt::format("{:#x}/{:#x}", prefix.port, prefix.mask());
}

}  // namespace

std::string name_of(const PathEntry& path) {
  return fmt::format("the {} path to the host {}", to_string(path.traffic_class),
                     path.vtep.to_string());
}

std::string name_of(const policy::PortRule& rule) {
  return fmt::format("the rule for {}", to_string(rule.ports));
}

std::string name_of(const RelayEntry& relay) {
  return fmt::format("the label {}", relay.label);
}

void PathsCarried::path(PathEntry path, DesiredState& carried, std::vector<std::string>& problems) {
  if (auto possible = check_path(path); !possible) {
    return problems.push_back(possible.error().message + ".");
  }
  if (!path.relayed) path.labels.clear();
  if (path.labels.size() > kMostLabels - labels_) {
    if (labels_ < kMostLabels) {
      problems.push_back(fmt::format(
          "This host has its limit of {} labels; what has none is not relayed.", kMostLabels));
    }
    path.labels.resize(kMostLabels - labels_);
  }
  labels_ += path.labels.size();
  carried.paths.push_back(std::move(path));
}

void PathsCarried::relay(const RelayEntry& relay, DesiredState& carried,
                         std::vector<std::string>& problems) {
  if (auto possible = check_relay(relay); !possible) {
    problems.push_back(possible.error().message + ".");
  } else if (relays_.contains(relay.label)) {
    problems.push_back(
        fmt::format("The label {} is listed twice; the first is carried.", relay.label));
  } else if (relays_.size() >= kMostLabels) {
    problems.push_back(
        fmt::format("The label {} is left out: this host has its limit of {} that it relays.",
                    relay.label, kMostLabels));
  } else {
    relays_.insert(relay.label);
    carried.relays.push_back(relay);
  }
}

void PathsCarried::port_rules(std::vector<policy::PortRule> rules, DesiredState& carried,
                              std::vector<std::string>& problems) {
  policy::settle(rules);
  if (rules.size() > kMostRules) {
    problems.push_back(fmt::format("Of {} rules for ports those behind the first {} are left out.",
                                   rules.size(), kMostRules));
    rules.resize(kMostRules);
  }
  carried.port_rules = std::move(rules);
}

FlowImage compile_rules(const std::vector<policy::PortRule>& rules) {
  FlowImage image;
  auto priority = static_cast<unsigned>(rules.size());
  for (const policy::PortRule& rule : rules) {
    const Emitter add(image, name_of(rule));
    const auto& [protocol, first, last] = rule.ports;
    for (const policy::PortPrefix& prefix : policy::prefixes_of(first, last)) {
      for (const char* version : {"", "6"}) {
        for (const char* end : {"dst", "src"}) {
          // A packet in fragments shows its ports in the first alone.
          add(kClass, priority,
              fmt::format("{}{},ip_frag=no,tp_{}={}", policy::transport_name(protocol), version,
                          end, ports_text(prefix)),
              fmt::format("{},{}", set_class(rule.traffic_class), record(rule)));
        }
      }
    }
    --priority;
  }
  return image;
}

FlowImage compile_path(const PathEntry& path) {
  FlowImage image;
  const Emitter add(image, name_of(path));
  const std::string there =
      fmt::format("reg7={:#x},{}={}", static_cast<unsigned>(path.traffic_class),
                  path.vtep.is_v6() ? "tun_ipv6_dst" : "tun_dst", path.vtep.to_string());
  const std::string way = fmt::format("{},{}", came_from(path.local), tunnel_to(path.remote));
  if (!path.relayed) {
    add(kPath, 2, there, fmt::format("{},{},{}", way, go(kTunnel), record(path)));
    return image;
  }
  add(kPath, 2, fmt::format("{},{}", there, known(0, kDirect)),
      fmt::format("{},{}", go(kLabel), record(path)));
  for (const NetworkLabel& network : path.labels) {
    // To a group, the copy for the next host is made of what is left of this one.
    add(kLabel, 1, fmt::format("{},reg0={:#x}", there, network.vni),
        fmt::format("{},{},{},{},{}", way, call_it(network.label), go(kTunnel),
                    call_it(network.vni), record(path, network)));
  }
  return image;
}

FlowImage compile_relay(const RelayEntry& relay, const BridgePorts& ports) {
  FlowImage image;
  const Emitter add(image, name_of(relay));
  add(kRelay, 1, fmt::format("reg0={:#x},{}", relay.label, tunnel_from(relay.from)),
      fmt::format("{},{},{},{},{},{}{},{}", count(Counter::relayed), kForgetPort,
                  call_it(relay.vni), tunnel_to(relay.to), learn(kDirect), tunnel_source(ports),
                  kWay, record(relay)));
  return image;
}

}  // namespace homeport::overlay::ovs
