#include "overlay/datapath/ovs_datapath.h"

#include "overlay/datapath/host_port.h"
#include "overlay/datapath/ovs/answerer.h"
#include "overlay/datapath/ovs/arrivals.h"
#include "overlay/datapath/ovs/asks.h"
#include "overlay/datapath/ovs/differences.h"
#include "overlay/datapath/ovs/flow_image.h"
#include "overlay/datapath/ovs/flow_patch.h"
#include "overlay/datapath/ovs/members.h"
#include "overlay/datapath/ovs/paths.h"
#include "overlay/datapath/ovs/pipeline.h"
#include "overlay/datapath/ovs/probes.h"
#include "overlay/datapath/ovs/switch_words.h"
#include "overlay/datapath/ovs/tracing.h"
#include "overlay/datapath/ovs/tunnel_routes.h"
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
using vswitch::FlowDigest;
using Problems = std::vector<std::string>;

class OvsDatapath final : public Datapath {
 public:
  explicit OvsDatapath(const OvsOptions& options)
      : options_(options), bridge_(options.bridge), host_port_(options.host_device) {}

  Result<void> start() {
    auto ready = members_.ensure_tunnel(mended_);
    if (ready) answerer_.start(probes_);
    return ready;
  }

  Result<void> apply(const DesiredState& desired) override;
  Result<bool> update(const StateChange& change) override;
  Result<bool> untouched() override;
  const std::vector<std::string>& mended() const override { return mended_; }
  Result<DesiredState> read_back() override;
  Result<void> set_address(const AddressEntry& entry) override;
  Result<void> set_path(const PathEntry& entry) override;
  Result<std::unique_ptr<ProbeWire>> probe_wire() override {
    return make_probe_wire(probes_, asks_, options_.bridge);
  }
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
    bool whole = false;  ///< All that was desired is carried, and nothing in it contradicts itself.
    bool done = false;   ///< What is not carried is not for a reason that may pass by itself.
    std::optional<FlowDigest> seen = {};  ///< Of `flows`, as the switch has been seen to have them.
  };

  Result<void> ensure_host_device(const DesiredState& desired);
  Result<std::optional<BridgePorts>> change_ports(const DesiredState& around,
                                                  std::vector<BridgePort>& all);
  Result<bool> change_flows(const FlowPatch& patch);
  Result<FlowImage> replace_flows(const FlowImage& before, const FlowImage& now);
  Result<bool> flows_untouched();
  std::vector<Route> in_routing(const std::vector<HostRoute>& routes,
                                const DesiredState& desired) const;
  void keep_routes(const DesiredState& desired, const std::vector<HostRoute>& routes,
                   Problems& problems);
  bool is_netdev() const { return options_.bridge.datapath_type == "netdev"; }
  Result<BridgePorts> usable(const std::vector<BridgePort>& ports,
                             const std::vector<policy::IpAddress>& vteps);
  Result<FlowImage> own_flows();
  Result<void> spare_others(FlowImage& wanted, const FlowImage& current, Problems& problems);
  Result<Programmed> found();
  Result<void> know_left();  ///< what the switch has, where this object has left nothing yet
  Result<void> in_force(const FlowImage& flows);

  const OvsOptions options_;
  Bridge bridge_;
  Answerer answerer_{bridge_};
  const std::shared_ptr<Probes> probes_ = std::make_shared<Probes>(options_.local_vtep);
  Arrivals arrivals_{bridge_};
  Asks asks_{bridge_, options_};
  Tracing tracing_{bridge_, options_};
  TunnelRoutes tunnel_routes_{bridge_, options_};
  SwitchWords words_{bridge_};
  HostPort host_port_;
  BridgeMembers members_{bridge_, options_, host_port_.other_end()};
  int host_index_ = 0;  ///< of the host port's device; 0: it is not needed
  /// What this object left; none before it has written anything, or when it could not write
  /// everything.
  std::optional<Programmed> left_;
  std::vector<std::string> mended_;
  bool took_over_ = false;  ///< What an earlier agent left on the host has been dealt with.
};

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
    if (auto gone = members_.remove(host_port_.other_end()); !gone) return gone;
  }
  host_index_ = device->index;
  return set_offloads_off(host_port_.device());
}

std::vector<Route> OvsDatapath::in_routing(const std::vector<HostRoute>& routes,
                                           const DesiredState& desired) const {
  std::vector<Route> result;
  for (const HostRoute& route : routes) {
    result.push_back(
        {route.to, own_address(desired, options_.local_vtep, route.to.is_v6()), route.mtu});
  }
  return result;
}

/// The routes that lead there.
void OvsDatapath::keep_routes(const DesiredState& desired, const std::vector<HostRoute>& found,
                              Problems& problems) {
  if (host_index_ == 0) return;
  const auto mended = host_port_.set_routes(host_index_, in_routing(found, desired), problems);
  mended_.insert(mended_.end(), mended.begin(), mended.end());
}

/// As flows to and from these hosts are to use it.
Result<BridgePorts> OvsDatapath::usable(const std::vector<BridgePort>& ports,
                                        const std::vector<policy::IpAddress>& vteps) {
  BridgePorts numbers = members_.usable(ports);
  if (!is_netdev() || !options_.local_vtep) return numbers;
  auto source = tunnel_routes_.source(vteps);
  if (!source) return source.error();
  numbers.source = *source;
  return numbers;
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

Result<void> OvsDatapath::apply(const DesiredState& desired) {
  mended_.clear();
  if (left_) left_->done = false;  // and stays so where this fails
  if (auto ready = members_.ensure_tunnel(mended_); !ready) return ready;
  Problems problems;
  if (auto ready = ensure_host_device(desired); !ready) {
    problems.push_back(ready.error().message + ".");
  }
  auto ports = members_.add(desired, problems, mended_);
  if (!ports) return ports.error();
  auto current = own_flows();
  if (!current) return current.error();
  members_.keep_apart(*ports, desired, problems, mended_);
  if (left_) {
    const auto changed = differences(left_->flows, *current);
    mended_.insert(mended_.end(), changed.begin(), changed.end());
  }

  if (is_netdev() && options_.local_vtep) {
    if (auto kept = tunnel_routes_.keep(desired.vteps, mended_); !kept) {
      problems.push_back(kept.error().message + ".");
    }
  }
  auto found = usable(*ports, desired.vteps);
  if (!found) return found.error();
  const BridgePorts& numbers = *found;
  if (is_netdev() && options_.local_vtep) {
    auto taken = arrivals_.take(*options_.local_vtep, options_.udp_port, numbers.tunnel);
    if (!taken) problems.push_back(taken.error().message + ".");
  }
  DesiredState possible = desired;
  std::erase_if(possible.ports,
                [&](const Port& port) { return !numbers.numbers.contains(port.device); });
  CompiledFlows compiled = compile(possible, numbers);
  const bool done = problems.empty();
  problems.insert(problems.end(), compiled.problems.begin(), compiled.problems.end());
  auto wanted = words_.of(compiled.flows);
  if (!wanted) return wanted.error();
  const std::size_t left_out = problems.size();
  if (auto spared = spare_others(*wanted, *current, problems); !spared) return spared;
  if (auto kept = answerer_.keep_meters(possible.ports, numbers, mended_); !kept) return kept;
  if (auto changed = bridge_.change_flows(changes(*current, *wanted)); !changed) {
    left_.reset();
    return changed.error();
  }
  if (auto dropped = answerer_.drop_meters(); !dropped)
    problems.push_back(dropped.error().message + ".");
  members_.remove_others(*ports, desired, problems);
  keep_routes(desired, compiled.routes, problems);
  words_.forget(compiled.flows.size());

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
    left_ = Programmed{std::move(*wanted), std::move(compiled.carried), numbers, problems.empty(),
                       done};
  }
  if (problems.empty()) return {};
  return policy::make_error(boost::system::errc::invalid_argument,
                            boost::algorithm::join(problems, " "));
}

/// Has the ports of `around` in the bridge, `all` of whose ports it tells. nullopt: not all can be.
Result<std::optional<BridgePorts>> OvsDatapath::change_ports(const DesiredState& around,
                                                             std::vector<BridgePort>& all) {
  Problems problems;
  auto ports = members_.add(around, problems, mended_);
  if (!ports) return ports.error();
  members_.keep_apart(*ports, around, problems, mended_);
  auto numbers = usable(*ports, left_->carried.vteps);
  if (!numbers) return numbers.error();
  const bool there = std::ranges::all_of(
      around.ports, [&](const Port& port) { return numbers->numbers.contains(port.device); });
  if (!problems.empty() || !there) return std::optional<BridgePorts>();
  if (auto kept = answerer_.keep_meters(around.ports, *numbers, mended_); !kept) {
    return kept.error();
  }
  all = std::move(*ports);
  return std::optional(std::move(*numbers));
}

/// False, with nothing done, where the flows are not those that the patch is for.
Result<bool> OvsDatapath::change_flows(const FlowPatch& patch) {
  auto before = words_.of(patch.before);
  if (!before) return before.error();
  auto now = words_.of(patch.now);
  if (!now) return now.error();
  const FlowPatch in_words{std::move(*before), std::move(*now), {}, {}};
  if (!fits(left_->flows, in_words)) return false;
  std::vector<vswitch::FlowKey> places;
  for (const auto& [key, flow] : in_words.now) {
    if (!in_words.before.contains(key)) places.push_back(key);
  }
  auto there = bridge_.flows_at(places);
  if (!there) return there.error();
  // It is for apply() to say which.
  if (std::ranges::any_of(
          *there, [](const Flow& flow) { return (flow.body.cookie & kCookieMask) != kCookie; })) {
    return false;
  }
  if (auto done = bridge_.change_flows(changes(in_words.before, in_words.now)); !done) {
    left_.reset();
    return done.error();
  }
  left_->seen.reset();
  for (const auto& [key, flow] : in_words.before) left_->flows.erase(key);
  for (const auto& [key, flow] : in_words.now) left_->flows[key] = flow;
  return true;
}

Result<bool> OvsDatapath::update(const StateChange& change) {
  mended_.clear();
  if (!left_ || !left_->whole) return false;
  DesiredState around{left_->carried.networks, left_->carried.ports, {}, {}, {}};
  around =
      changed(std::move(around),
              {{}, {}, change.networks, change.networks_gone, change.ports_before, change.ports});
  if (needs_host_port(around) != (host_index_ != 0)) return false;
  BridgePorts numbers = left_->ports;
  std::vector<BridgePort> all;
  const bool ports_change = !change.ports.empty() || !change.ports_before.empty() ||
                            !change.networks.empty() || !change.networks_gone.empty();
  if (ports_change) {
    auto found = change_ports(around, all);
    if (!found) return found.error();
    if (!*found) return false;
    numbers = std::move(**found);
  }
  auto patch = patch_of(left_->carried, change, left_->ports, numbers);
  if (!patch) return false;
  auto done = change_flows(*patch);
  if (!done || !*done) return done;

  Problems problems;
  if (ports_change) {
    if (auto dropped = answerer_.drop_meters(); !dropped) {
      problems.push_back(dropped.error().message + ".");
    }
    members_.remove_others(all, around, problems);
  }
  std::vector<policy::IpAddress> without;
  for (const HostRoute& route : patch->routes_before) {
    if (std::ranges::find(patch->routes, route.to, &HostRoute::to) == patch->routes.end()) {
      without.push_back(route.to);
    }
  }
  if (!patch->routes.empty() || !without.empty()) {
    host_port_.change_routes(host_index_, in_routing(patch->routes, left_->carried), without,
                             problems);
  }
  left_->carried = changed(std::move(left_->carried), change);
  left_->ports = std::move(numbers);
  words_.forget(left_->flows.size());
  if (moves_here(change)) {
    if (auto settled = in_force(left_->flows); !settled) {
      problems.push_back(settled.error().message + ".");
    }
  }
  if (problems.empty()) return true;
  left_.reset();
  return policy::make_error(boost::system::errc::invalid_argument,
                            boost::algorithm::join(problems, " "));
}

/// The cheap looks first. That at the flows is the dearest, and still costs far less than to
/// compute what they should be.
Result<bool> OvsDatapath::untouched() {
  if (!left_ || !left_->done) return false;
  const auto ports = bridge_.ports_at_hand();
  if (!ports) return false;
  auto as_left = members_.untouched(*ports, left_->carried.ports);
  if (as_left && *as_left && host_index_ != 0) as_left = host_port_.untouched(host_index_);
  if (as_left && *as_left && is_netdev() && options_.local_vtep) {
    as_left = tunnel_routes_.untouched(left_->carried.vteps, left_->ports.source);
  }
  if (as_left && *as_left) as_left = answerer_.untouched();
  if (!as_left || !*as_left) return as_left;
  return flows_untouched();
}

/// The first look after a change compares each flow, and remembers what they are in sum: the next
/// ones have no need of their words.
Result<bool> OvsDatapath::flows_untouched() {
  if (left_->seen) {
    auto digest = bridge_.digest(kCookie, kCookieMask);
    if (!digest) return digest.error();
    return *digest == *left_->seen;
  }
  auto found = bridge_.digested_flows(kCookie, kCookieMask);
  if (!found) return found.error();
  if (!same(left_->flows, found->first)) return false;
  left_->seen = found->second;
  return true;
}

/// What the switch has, as far as it is whole: what the records in the flows say, less everything
/// of which a flow is missing or different.
Result<OvsDatapath::Programmed> OvsDatapath::found() {
  auto ports = bridge_.ports();
  if (!ports) return ports.error();
  auto flows = bridge_.flows(kCookie, kCookieMask);
  if (!flows) return flows.error();
  DesiredState recorded = decompile(*flows);
  auto numbers = usable(*ports, recorded.vteps);
  if (!numbers) return numbers.error();
  Programmed result;
  result.ports = std::move(*numbers);
  FlowImage current;
  for (const Flow& flow : *flows) current[flow.key] = {flow.body, ""};
  std::erase_if(recorded.ports,
                [&](const Port& port) { return !result.ports.numbers.contains(port.device); });
  CompiledFlows compiled = compile(recorded, result.ports);
  auto should_be = words_.of(compiled.flows);
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

Result<void> OvsDatapath::know_left() {
  if (left_) return {};
  auto programmed = found();
  if (!programmed) return programmed.error();
  left_ = std::move(*programmed);
  return {};
}

/// Of what is left there: `before` goes, `now` comes. Returns what has come, in the switch's words.
Result<FlowImage> OvsDatapath::replace_flows(const FlowImage& before, const FlowImage& now) {
  auto old_flows = words_.of(before);
  if (!old_flows) return old_flows.error();
  auto new_flows = words_.of(now);
  if (!new_flows) return new_flows.error();
  if (auto changed = bridge_.change_flows(changes(*old_flows, *new_flows)); !changed) {
    left_.reset();
    return changed.error();
  }
  left_->seen.reset();
  for (const auto& [key, flow] : *old_flows) left_->flows.erase(key);
  for (const auto& [key, flow] : *new_flows) left_->flows[key] = flow;
  return new_flows;
}

Result<void> OvsDatapath::set_address(const AddressEntry& entry) {
  if (auto known = know_left(); !known) return known;
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

  auto written = replace_flows(before, after);
  if (!written) return written.error();
  now.carried = std::move(state);
  return moves ? in_force(*written) : Result<void>();
}

Result<void> OvsDatapath::set_path(const PathEntry& entry) {
  if (auto possible = check_path(entry); !possible) return possible;
  if (auto known = know_left(); !known) return known;
  std::vector<PathEntry> paths = left_->carried.paths;
  FlowImage before;
  std::erase_if(paths, [&](const PathEntry& path) {
    if (path.vtep != entry.vtep || path.traffic_class != entry.traffic_class) return false;
    before.merge(compile_path(path));
    return true;
  });
  paths.push_back(entry);
  std::ranges::sort(paths.back().labels);
  std::ranges::sort(paths);
  if (auto written = replace_flows(before, compile_path(entry)); !written) return written.error();
  left_->carried.paths = std::move(paths);
  return {};
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
  const BridgePorts numbers = members_.usable(*ports);
  auto told = tracing_.trace({numbers, left_ ? &left_->flows : nullptr}, origin, packet);
  if (!told) return told.error();
  return TraceAnswer{std::move(told->trace), {}};
}

Result<std::unique_ptr<TraceCounter>> OvsDatapath::count(const TraceOrigin& origin,
                                                         const TracedPacket& packet) {
  auto ports = bridge_.ports();
  if (!ports) return ports.error();
  return tracing_.count(members_.usable(*ports), origin, packet);
}

}  // namespace

Result<std::unique_ptr<Datapath>> make_ovs_datapath(const OvsOptions& options) {
  auto datapath = std::make_unique<OvsDatapath>(options);
  if (auto started = datapath->start(); !started) return started.error();
  return datapath;
}

}  // namespace homeport::overlay
