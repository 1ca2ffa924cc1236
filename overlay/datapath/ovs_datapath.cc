#include "overlay/datapath/ovs_datapath.h"

#include "overlay/datapath/host_port.h"
#include "overlay/datapath/ovs/answerer.h"
#include "overlay/datapath/ovs/arrivals.h"
#include "overlay/datapath/ovs/differences.h"
#include "overlay/datapath/ovs/flow_image.h"
#include "overlay/datapath/ovs/pipeline.h"
#include "overlay/datapath/ovs/tracing.h"
#include "overlay/datapath/ovs/tunnel.h"
#include "overlay/link/link.h"

#include <fmt/format.h>
#include <boost/algorithm/string/join.hpp>

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <utility>

namespace homeport::overlay {

namespace {

using namespace ovs;
using vswitch::Bridge;
using vswitch::BridgePort;
using vswitch::Flow;
using vswitch::FlowChange;
using Problems = std::vector<std::string>;

constexpr const char* kPortOwner = "port";
constexpr const char* kHostOwner = "host";

class OvsDatapath final : public Datapath {
 public:
  explicit OvsDatapath(const OvsOptions& options)
      : options_(options), bridge_(options.bridge), host_port_(options.host_device) {}

  Result<void> start() {
    auto ready = ensure_tunnel(bridge_, options_);
    if (ready) answerer_.start();
    return ready;
  }

  Result<void> apply(const DesiredState& desired) override;
  const std::vector<std::string>& mended() const override { return mended_; }
  Result<DesiredState> read_back() override;
  Result<void> set_address(const AddressEntry& entry) override;
  Result<PortCounters> counters(const std::string& device) override;
  Result<TotalCounters> counters() override;
  Result<TraceAnswer> trace(const TraceOrigin& origin, const TracedPacket& packet) override;
  Result<std::unique_ptr<TraceCounter>> count(const TraceOrigin& origin,
                                              const TracedPacket& packet) override;

 private:
  /// What is known of the switch's flows: those there should be, and what they are for.
  struct Programmed {
    FlowImage flows;  ///< in the switch's own words
    DesiredState carried;
    BridgePorts ports;
  };

  std::vector<BridgePort> wanted_ports(const DesiredState& desired) const;
  Result<void> ensure_host_device(const DesiredState& desired);
  void keep_routes(const DesiredState& desired, const std::vector<HostRoute>& routes,
                   Problems& problems);
  void keep_apart(const std::vector<BridgePort>& ports, const DesiredState& desired,
                  Problems& problems);
  Result<void> tell_missing_ports(const DesiredState& desired, Problems& missing);
  Result<std::vector<BridgePort>> add_ports(const DesiredState& desired, Problems& problems);
  void remove_ports(const std::vector<BridgePort>& ports, const DesiredState& desired,
                    Problems& problems);
  BridgePorts usable(const std::vector<BridgePort>& ports) const;
  Result<FlowImage> in_switch_words(const FlowImage& flows);
  Result<FlowImage> own_flows();
  static std::set<std::int64_t> senders(const DesiredState& desired, const BridgePorts& ports);
  Result<void> spare_others(FlowImage& wanted, const FlowImage& current, Problems& problems);
  Result<Programmed> found();
  Result<void> in_force(const FlowImage& flows);

  const OvsOptions options_;
  Bridge bridge_;
  Answerer answerer_{bridge_};
  Arrivals arrivals_{bridge_};
  Tracing tracing_{bridge_, options_};
  HostPort host_port_;
  int host_index_ = 0;  ///< of the host port's device; 0: it is not needed
  /// What this object left; none before it has written anything, or when it could not write
  /// everything.
  std::optional<Programmed> left_;
  /// Flows and how the switch words them, of the last apply(): most stay.
  std::map<std::pair<vswitch::FlowKey, std::string>, std::pair<std::string, std::string>> words_;
  std::vector<std::string> mended_;
  std::set<std::string> left_ports_;  ///< What the last apply() left in the bridge.
  /// By port, whether the last apply() left it to what other people's flows send to all.
  std::map<std::string, bool> flooded_;
  bool took_over_ = false;  ///< What an earlier agent left on the host has been dealt with.
};

BridgePorts OvsDatapath::usable(const std::vector<BridgePort>& ports) const {
  BridgePorts result;
  const bool netdev = options_.bridge.datapath_type == "netdev";
  result.answers_nd = netdev;
  // The kernel fragments outer packets of IPv4.
  result.answers_too_big = netdev || (options_.local_vtep && options_.local_vtep->is_v6());
  for (const BridgePort& port : ports) {
    if (port.number <= 0) continue;
    if (port.name == options_.tunnel_port) {
      result.tunnel = port.number;
    } else if (port.name == host_port_.other_end() && port.owner == kHostOwner) {
      result.host = port.number;
    } else {
      result.numbers[port.name] = port.number;
    }
  }
  return result;
}

/// What is in the bridge besides the tunnel.
std::vector<BridgePort> OvsDatapath::wanted_ports(const DesiredState& desired) const {
  std::vector<BridgePort> wanted;
  for (const Port& port : desired.ports) {
    wanted.push_back({port.device, "", kPortOwner, "", "", -1});
  }
  if (needs_host_port(desired)) {
    wanted.push_back({host_port_.other_end(), "", kHostOwner, "", "", -1});
  }
  return wanted;
}

/// The device of the host's own processes, where a network needs it. What comes out of it is read
/// by a packet socket.
Result<void> OvsDatapath::ensure_host_device(const DesiredState& desired) {
  if (!needs_host_port(desired)) {
    if (host_index_ == 0 && took_over_) return {};
    host_index_ = 0;
    took_over_ = true;
    return host_port_.remove();
  }
  took_over_ = true;
  auto device = host_port_.ensure_device();
  if (!device) return device.error();
  if (device->index == host_index_) return {};
  if (host_index_ != 0) {
    mended_.push_back(fmt::format("the device {} was missing", host_port_.device()));
    // ovs-vswitchd is not to take the new device for the one that it knows.
    if (auto gone = bridge_.change_ports({}, {host_port_.other_end()}); !gone) return gone;
  }
  host_index_ = device->index;
  return set_offloads_off(host_port_.device());
}

/// The routes that lead there.
void OvsDatapath::keep_routes(const DesiredState& desired, const std::vector<HostRoute>& found,
                              Problems& problems) {
  if (host_index_ == 0) return;
  std::vector<Route> routes;
  for (const HostRoute& route : found) {
    routes.push_back(
        {route.to, own_address(desired, options_.local_vtep, route.to.is_v6()), route.mtu});
  }
  const auto mended = host_port_.set_routes(host_index_, std::move(routes), problems);
  mended_.insert(mended_.end(), mended.begin(), mended.end());
}

/// Names the ports that this object left in the bridge, and that somebody has taken out of it
/// although their devices are there.
Result<void> OvsDatapath::tell_missing_ports(const DesiredState& desired, Problems& missing) {
  if (left_ports_.empty()) return {};
  auto ports = bridge_.ports();
  if (!ports) return ports.error();
  const std::vector<BridgePort> wanted = wanted_ports(desired);
  for (const std::string& name : left_ports_) {
    const bool is_wanted = name == options_.tunnel_port || find_port(wanted, name);
    if (!is_wanted || find_port(*ports, name)) continue;
    missing.push_back(fmt::format("the port {} was missing", name));
    flooded_.erase(name);
  }
  return {};
}

/// Takes the devices of ports into the bridge that are not there, and has ovs-vswitchd look again
/// at those it could not use. Returns all ports of the bridge.
Result<std::vector<BridgePort>> OvsDatapath::add_ports(const DesiredState& desired,
                                                       Problems& problems) {
  auto ports = bridge_.ports();
  if (!ports) return ports;
  auto links = list_links();
  if (!links) return links.error();
  std::set<std::string> devices;
  for (const Link& link : *links) devices.insert(link.name);
  if (options_.bridge.datapath_type == "netdev") {
    if (auto widened = widen_taps(desired.ports, *links); !widened) {
      problems.push_back(widened.error().message + ".");
    }
  }

  const std::vector<BridgePort> wanted = wanted_ports(desired);
  std::vector<BridgePort> added;
  bool stale = false;
  for (const BridgePort& port : wanted) {
    if (!devices.contains(port.name)) {
      problems.push_back(
          fmt::format("The port {} is not carried: there is no such device.", port.name));
      continue;
    }
    const BridgePort* present = find_port(*ports, port.name);
    if (!present) added.push_back(port);
    stale = stale || (present && present->number <= 0);
  }
  if (added.empty() && !stale) return ports;
  if (auto changed = bridge_.change_ports(added, {}); !changed) return changed.error();
  ports = bridge_.ports();
  if (!ports) return ports;
  for (const BridgePort& port : wanted) {
    const BridgePort* present = find_port(*ports, port.name);
    if (present && present->number <= 0 && devices.contains(port.name)) {
      problems.push_back(
          fmt::format("The port {} is not carried: ovs-vswitchd cannot use the device: {}.",
                      port.name, present->error));
    }
  }
  return ports;
}

/// Takes Homeport's ports out of the bridge that are no longer wanted. Other people's stay.
void OvsDatapath::remove_ports(const std::vector<BridgePort>& ports, const DesiredState& desired,
                               Problems& problems) {
  const std::vector<BridgePort> wanted = wanted_ports(desired);
  std::vector<std::string> removed;
  for (const BridgePort& port : ports) {
    const bool own = port.owner == kPortOwner || port.owner == kHostOwner;
    if (own && !find_port(wanted, port.name)) removed.push_back(port.name);
  }
  if (removed.empty()) return;
  if (auto changed = bridge_.change_ports({}, removed); !changed) {
    problems.push_back(changed.error().message + ".");
  }
}

/// What other people's flows send to all ports of the bridge is for applications of networks with
/// a normal way, and for nothing else of Homeport's.
void OvsDatapath::keep_apart(const std::vector<BridgePort>& ports, const DesiredState& desired,
                             Problems& problems) {
  std::map<std::int64_t, bool> numbers;
  std::map<std::string, bool> wanted;
  for (const BridgePort& port : ports) {
    if (port.owner.empty() || port.number <= 0) continue;
    auto application = std::ranges::find(desired.ports, port.name, &Port::device);
    const bool normal = application != desired.ports.end() &&
                        std::ranges::any_of(desired.networks, [&](const NetworkEntry& network) {
                          return network.normal && network.vni == application->vni;
                        });
    numbers[port.number] = wanted[port.name] = normal;
  }
  auto changed = bridge_.set_flooding(numbers);
  if (!changed) {
    problems.push_back(changed.error().message + ".");
    return flooded_.clear();
  }
  for (const BridgePort& port : ports) {
    auto left = flooded_.find(port.name);
    if (left != flooded_.end() && wanted.contains(port.name) && left->second == wanted[port.name] &&
        std::ranges::find(*changed, port.number) != changed->end()) {
      mended_.push_back(fmt::format("the flooding of the port {} was changed", port.name));
    }
  }
  flooded_ = std::move(wanted);
}

/// The flows as the switch would tell of them.
Result<FlowImage> OvsDatapath::in_switch_words(const FlowImage& flows) {
  std::vector<Flow> unknown;
  for (const auto& [key, flow] : flows) {
    if (!words_.contains({key, flow.body.actions})) unknown.push_back({key, flow.body, {}});
  }
  auto translated = bridge_.canonical(unknown);
  if (!translated) return translated.error();
  for (std::size_t i = 0; i < unknown.size(); ++i) {
    const Flow& as_told = (*translated)[i];
    words_[{unknown[i].key, unknown[i].body.actions}] = {as_told.key.match, as_told.body.actions};
  }
  FlowImage result;
  for (const auto& [key, flow] : flows) {
    const auto& [match, actions] = words_.at({key, flow.body.actions});
    result[{key.table, key.priority, match}] = {{flow.body.cookie, actions}, flow.owner};
  }
  return result;
}

Result<FlowImage> OvsDatapath::own_flows() {
  auto flows = bridge_.flows(kCookie, kCookieMask);
  if (!flows) return flows.error();
  FlowImage image;
  for (Flow& flow : *flows) image[std::move(flow.key)] = {std::move(flow.body), ""};
  return image;
}

/// Takes those out of `wanted` whose place in a table has a flow of somebody else.
Result<void> OvsDatapath::spare_others(FlowImage& wanted, const FlowImage& current,
                                       Problems& problems) {
  const bool news = std::any_of(wanted.begin(), wanted.end(),
                                [&](const auto& flow) { return !current.contains(flow.first); });
  if (!news) return {};
  auto flows = bridge_.flows(0, 0);
  if (!flows) return flows.error();
  for (const Flow& flow : *flows) {
    if ((flow.body.cookie & kCookieMask) == kCookie) continue;
    auto taken = wanted.find(flow.key);
    if (taken == wanted.end()) continue;
    problems.push_back(
        fmt::format("{} is not whole: a flow that is not Homeport's has a place in table {} of the "
                    "bridge {} (priority {}, {}).",
                    taken->second.owner, flow.key.table, options_.bridge.name, flow.key.priority,
                    flow.key.match.empty() ? "any packet" : flow.key.match));
    wanted.erase(taken);
  }
  return {};
}

/// The OpenFlow ports from which the agent may be handed what is too big.
std::set<std::int64_t> OvsDatapath::senders(const DesiredState& desired, const BridgePorts& ports) {
  std::set<std::int64_t> numbers;
  if (!ports.answers_too_big) return numbers;
  for (const Port& port : desired.ports) numbers.insert(ports.numbers.at(port.device));
  if (ports.host != 0) numbers.insert(ports.host);
  return numbers;
}

Result<void> OvsDatapath::apply(const DesiredState& desired) {
  mended_.clear();
  Problems missing;
  if (auto told = tell_missing_ports(desired, missing); !told) return told;
  if (auto ready = ensure_tunnel(bridge_, options_); !ready) return ready;
  Problems problems;
  if (auto ready = ensure_host_device(desired); !ready) {
    problems.push_back(ready.error().message + ".");
  }
  auto ports = add_ports(desired, problems);
  if (!ports) return ports.error();
  left_ports_.clear();
  for (const BridgePort& port : *ports) {
    if (port.name == options_.tunnel_port || find_port(wanted_ports(desired), port.name)) {
      left_ports_.insert(port.name);
    }
  }
  auto current = own_flows();
  if (!current) return current.error();
  keep_apart(*ports, desired, problems);
  mended_.insert(mended_.end(), missing.begin(), missing.end());
  if (left_) {
    const auto changed = differences(left_->flows, *current);
    mended_.insert(mended_.end(), changed.begin(), changed.end());
  }

  const BridgePorts numbers = usable(*ports);
  if (options_.bridge.datapath_type == "netdev" && options_.local_vtep &&
      options_.local_vtep->is_v4()) {
    auto taken = arrivals_.take(options_.local_vtep->to_v4(), options_.udp_port, numbers.tunnel);
    if (!taken) problems.push_back(taken.error().message + ".");
  }
  DesiredState possible = desired;
  std::erase_if(possible.ports,
                [&](const Port& port) { return !numbers.numbers.contains(port.device); });
  CompiledFlows compiled = compile(possible, numbers);
  problems.insert(problems.end(), compiled.problems.begin(), compiled.problems.end());
  auto wanted = in_switch_words(compiled.flows);
  if (!wanted) return wanted.error();
  const std::size_t left_out = problems.size();
  if (auto spared = spare_others(*wanted, *current, problems); !spared) return spared;
  if (auto kept = answerer_.keep_meters(senders(possible, numbers), mended_); !kept) return kept;
  if (auto changed = bridge_.change_flows(changes(*current, *wanted)); !changed) {
    left_.reset();
    return changed.error();
  }
  if (auto dropped = answerer_.drop_meters(); !dropped)
    problems.push_back(dropped.error().message + ".");
  remove_ports(*ports, desired, problems);
  keep_routes(desired, compiled.routes, problems);
  // Of the words, those of flows that have gone are forgotten now and then.
  if (words_.size() > 2 * compiled.flows.size() + 1000) words_.clear();

  // Before another host is told to send here what waits there.
  const bool holds = std::ranges::any_of(compiled.carried.ports, [&](const Port& port) {
    return port.held && !(left_ && std::ranges::count(left_->carried.ports, port) > 0);
  });
  if (holds) {
    if (auto settled = in_force(*wanted); !settled) {
      problems.push_back(settled.error().message + ".");
    }
  }
  left_.reset();
  if (problems.size() == left_out) {
    left_ = Programmed{std::move(*wanted), std::move(compiled.carried), numbers};
  }
  if (problems.empty()) return {};
  return policy::make_error(boost::system::errc::invalid_argument,
                            boost::algorithm::join(problems, " "));
}

/// What the switch has, as far as it is whole: what the records in the flows say, less everything
/// of which a flow is missing or different.
Result<OvsDatapath::Programmed> OvsDatapath::found() {
  auto ports = bridge_.ports();
  if (!ports) return ports.error();
  auto flows = bridge_.flows(kCookie, kCookieMask);
  if (!flows) return flows.error();
  Programmed result;
  result.ports = usable(*ports);
  FlowImage current;
  for (const Flow& flow : *flows) current[flow.key] = {flow.body, ""};
  DesiredState recorded = decompile(*flows);
  std::erase_if(recorded.ports,
                [&](const Port& port) { return !result.ports.numbers.contains(port.device); });
  CompiledFlows compiled = compile(recorded, result.ports);
  auto should_be = in_switch_words(compiled.flows);
  if (!should_be) return should_be.error();
  std::set<std::string> broken;
  for (const auto& [key, flow] : *should_be) {
    auto there = current.find(key);
    if (there == current.end() || !(there->second.body == flow.body)) broken.insert(flow.owner);
  }
  result.flows = std::move(*should_be);
  result.carried = without(compiled.carried, broken);
  return result;
}

Result<DesiredState> OvsDatapath::read_back() {
  auto programmed = found();
  if (!programmed) return programmed.error();
  return std::move(programmed->carried);
}

/// Returns when what has been changed, of which `flows` are, holds for every packet: none is on its
/// way any more to a port that has been left, and none is sent on from here that has been taken.
Result<void> OvsDatapath::in_force(const FlowImage& flows) {
  const auto& [key, flow] = *flows.begin();
  return bridge_.wait_revalidated({key, flow.body, {}});
}

Result<void> OvsDatapath::set_address(const AddressEntry& entry) {
  if (!left_) {
    auto programmed = found();
    if (!programmed) return programmed.error();
    left_ = std::move(*programmed);
  }
  Programmed& now = *left_;
  if (const auto* local = std::get_if<LocalPort>(&entry.location)) {
    const bool is_port =
        std::any_of(now.carried.ports.begin(), now.carried.ports.end(),
                    [&](const Port& port) { return port.device == local->device; });
    if (!is_port) {
      return policy::make_error(
          boost::system::errc::no_such_device,
          fmt::format("The address {} cannot be delivered to {}, which is not a port",
                      entry.mac.to_string(), local->device));
    }
  }
  // It takes its IP addresses from whoever has them.
  FlowImage before, after;
  bool moves = true;
  DesiredState state = now.carried;
  state.addresses.clear();
  for (const AddressEntry& other : now.carried.addresses) {
    AddressEntry rest = other;
    const bool same = other.vni == entry.vni && other.mac == entry.mac;
    if (same) {
      moves = other.location != entry.location;
      rest = entry;
    } else if (other.vni == entry.vni) {
      std::erase_if(rest.ips, [&](const policy::IpAddress& ip) {
        return std::find(entry.ips.begin(), entry.ips.end(), ip) != entry.ips.end();
      });
    }
    if (!same) state.addresses.push_back(rest);
    if (rest == other) continue;
    before.merge(compile_address(other, now.carried, now.ports));
    if (!same) after.merge(compile_address(rest, now.carried, now.ports));
  }
  state.addresses.push_back(entry);
  normalize(state);
  // What is now its own, it may have taken from another.
  for (auto& [key, flow] : compile_address(entry, now.carried, now.ports)) after[key] = flow;

  auto old_flows = in_switch_words(before);
  if (!old_flows) return old_flows.error();
  auto new_flows = in_switch_words(after);
  if (!new_flows) return new_flows.error();
  if (auto changed = bridge_.change_flows(changes(*old_flows, *new_flows)); !changed) {
    left_.reset();
    return changed;
  }
  for (const auto& [key, flow] : *old_flows) now.flows.erase(key);
  for (const auto& [key, flow] : *new_flows) now.flows[key] = flow;
  now.carried = std::move(state);
  return moves ? in_force(*new_flows) : Result<void>();
}

Result<PortCounters> OvsDatapath::counters(const std::string& device) {
  auto ports = bridge_.ports();
  if (!ports) return ports.error();
  const BridgePort* port = find_port(*ports, device);
  PortCounters result;
  bool is_port = false;
  if (port && port->number > 0) {
    for (auto [table, match, packets, bytes] :
         {std::tuple{
              kEntry,
              fmt::format("reg1=0/{:#x},in_port={}", static_cast<unsigned>(kLeft), port->number),
              &result.received_packets, &result.received_bytes},
          std::tuple{kDeliver, fmt::format("reg5={:#x}", port->number), &result.delivered_packets,
                     &result.delivered_bytes}}) {
      auto flows = bridge_.flows(kCookie, kCookieMask, table);
      if (!flows) return flows.error();
      for (const Flow& flow : *flows) {
        if (flow.key.match != match) continue;
        is_port = true;
        *packets = flow.counts.packets;
        *bytes = flow.counts.bytes;
      }
    }
  }
  if (is_port) return result;
  return policy::make_error(boost::system::errc::no_such_device,
                            fmt::format("The device {} is not a port of the datapath", device));
}

Result<TotalCounters> OvsDatapath::counters() {
  auto flows = bridge_.flows(kCookie, kCookieMask, kCount);
  if (!flows) return flows.error();
  std::map<std::string, std::uint64_t> packets;
  for (const Flow& flow : *flows) packets[flow.key.match] = flow.counts.packets;
  TotalCounters totals;
#define X(name) totals.name = packets[fmt::format("reg6={:#x}", static_cast<int>(Counter::name))];
  HOMEPORT_OVS_COUNTERS(X)
#undef X
  // What is too big is not to be counted by flows: see pipeline.h.
  if (auto counted = answerer_.count(totals); !counted) return counted.error();
  arrivals_.count(totals);
  return totals;
}

/// What is there: a flow that is not as the agent has left it is named as such.
Result<TraceAnswer> OvsDatapath::trace(const TraceOrigin& origin, const TracedPacket& packet) {
  auto ports = bridge_.ports();
  if (!ports) return ports.error();
  const BridgePorts numbers = usable(*ports);
  auto told = tracing_.trace({numbers, left_ ? &left_->flows : nullptr}, origin, packet);
  if (!told) return told.error();
  return TraceAnswer{std::move(told->trace), {}};
}

Result<std::unique_ptr<TraceCounter>> OvsDatapath::count(const TraceOrigin& origin,
                                                         const TracedPacket& packet) {
  auto ports = bridge_.ports();
  if (!ports) return ports.error();
  return tracing_.count(usable(*ports), origin, packet);
}

}  // namespace

Result<std::unique_ptr<Datapath>> make_ovs_datapath(const OvsOptions& options) {
  auto datapath = std::make_unique<OvsDatapath>(options);
  if (auto started = datapath->start(); !started) return started.error();
  return datapath;
}

}  // namespace homeport::overlay
