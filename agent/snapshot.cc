#include "agent/snapshot.h"

#include "agent/control/interest.h"
#include "agent/process_figures.h"
#include "agent/task_snapshot.h"
#include "overlay/log/log.h"
#include "policy/version.h"

#include <net/if.h>

#include <algorithm>
#include <chrono>

namespace homeport::agent {

using namespace std::chrono_literals;

namespace {

bool has_device(const Contents& contents, const std::string& application) {
  const auto bindings = contents.bindings_of(application);
  return std::all_of(bindings.begin(), bindings.end(), [&](const Binding* binding) {
    return ::if_nametoindex(device_of(contents, *binding).c_str()) != 0;
  });
}

std::string state_of(const SnapshotSources& sources, const Application& application,
                     const Ownership& owner) {
  if (sources.tasks.moving(application.name)) return "moving";
  const MoveView* move = sources.network.move_of(application.name);
  if (move && move->place == MoveView::Place::incoming) return "incoming";
  if (owner.location.empty()) return "nowhere";
  if (owner.location != sources.host) return "remote";
  if (application.driver == Driver::netdev) {
    return has_device(sources.database.contents(), application.name) ? "attached" : "detached";
  }
  return sources.guests.running(application.name) ? "running" : "stopped";
}

PortSnapshot port(const SnapshotSources& sources, const Binding& binding, bool here) {
  PortSnapshot port;
  port.binding = binding.name;
  port.network = binding.network;
  port.mac = binding.mac;
  port.prior_addresses = binding.prior_addresses;
  port.current_addresses = binding.current_addresses;
  if (!here) return port;
  port.device = device_of(sources.database.contents(), binding);
  const MoveView* move = sources.network.move_of(binding.application);
  port.held = move && move->place == MoveView::Place::incoming;
  if (auto counters = sources.datapath.counters(port.device)) {
    port.traffic = PortTraffic{counters->delivered_packets, counters->delivered_bytes,
                               counters->received_packets, counters->received_bytes};
  }
  return port;
}

DatapathSnapshot datapath(const SnapshotSources& sources) {
  DatapathSnapshot snapshot;
  snapshot.kind = sources.datapath_kind;
  snapshot.problems = sources.network.problems();
  const std::vector<std::string>& limits = sources.bulk_limits.problems();
  snapshot.problems.insert(snapshot.problems.end(), limits.begin(), limits.end());
  if (auto state = sources.datapath.read_back()) {
    snapshot.ports = state->ports.size();
    snapshot.addresses = state->addresses.size();
    snapshot.relayed_addresses = static_cast<std::uint64_t>(std::ranges::count_if(
        state->addresses, [](const overlay::AddressEntry& entry) { return entry.relayed; }));
  } else {
    snapshot.problems.push_back(state.error().message);
  }
  if (auto total = sources.datapath.counters()) {
    snapshot.packets = {{"forwarded", total->forwarded},
                        {"relayed", total->relayed},
                        {"delivered_held", total->delivered_held},
                        {"delivered_fast", total->delivered_fast},
                        {"sent_fast", total->sent_fast},
                        {"neighbor_answers", total->neighbor_answers},
                        {"announcements", total->announcements},
                        {"multicast", total->multicast},
                        {"routed", total->routed},
                        {"probes", total->probes},
                        {"too_big_answers", total->too_big_answers},
                        {"fragmented", total->fragmented}};
    snapshot.dropped_packets = {{"unknown_port", total->drop_unknown_port},
                                {"unknown_address", total->drop_unknown_address},
                                {"elsewhere", total->drop_elsewhere},
                                {"unknown_neighbor", total->drop_unknown_neighbor},
                                {"forged_source", total->drop_forged_source},
                                {"forged_announcement", total->drop_forged_announcement},
                                {"multicast", total->drop_multicast},
                                {"expired", total->drop_expired},
                                {"unknown_network", total->drop_unknown_network},
                                {"unknown_vtep", total->drop_unknown_vtep},
                                {"unknown_label", total->drop_unknown_label},
                                {"forwarded_twice", total->drop_forwarded_twice},
                                {"too_big", total->drop_too_big},
                                {"malformed", total->drop_malformed}};
  }
  return snapshot;
}

MoveHistory history(const MoveTotals& totals) {
  MoveHistory history;
  for (const auto& [state, count] : totals.ended) history.ended[to_string(state)] = count;
  history.bytes_sent = totals.bytes_sent;
  history.total_ms = static_cast<std::uint64_t>(totals.total.count());
  history.downtime_ms = static_cast<std::uint64_t>(totals.downtime.count());
  history.last_downtime_ms = milliseconds(totals.last_downtime);
  history.worst_downtime_ms = milliseconds(totals.worst_downtime);
  for (const auto& [phase, took] : totals.phases) {
    history.phases[phase] = {took.count, static_cast<std::uint64_t>(took.total.count())};
  }
  return history;
}

LogSnapshot log_lines() {
  const overlay::log::Totals totals = overlay::log::program_log().totals();
  LogSnapshot snapshot;
  for (overlay::log::Level level : overlay::log::kLevels) {
    snapshot.written[std::string(to_string(level))] = totals.lines[static_cast<std::size_t>(level)];
  }
  snapshot.suppressed = totals.left_out;
  return snapshot;
}

std::vector<std::string> not_ready(const SnapshotSources& sources) {
  const Contents& contents = sources.database.contents();
  if (!sources.database.synced()) {
    const std::string why = sources.database.problem();
    return {"the control database is not in sync" + (why.empty() ? "" : ": " + why)};
  }
  if (!sources.network.programmed()) return {"the datapath has not been programmed yet"};
  if (!contents.hosts.contains(sources.host)) {
    return {"this host's row is not in the control database yet"};
  }
  if (!sources.tasks.ready()) {
    return {"the guests and moves of this host's last agent are being looked at"};
  }
  if (!told_ready(contents, sources.host)) {
    return {"the control database has not been told yet that this host is ready"};
  }
  return {};
}

std::vector<PeerSnapshot> peers(const SnapshotSources& sources) {
  const Contents& contents = sources.database.contents();
  std::vector<PeerSnapshot> peers;
  for (const auto& [name, host] : contents.hosts) {
    if (name == sources.host) continue;
    PeerSnapshot peer;
    peer.host = name;
    peer.vteps = host.vteps;
    if (auto status = contents.host_status.find(name); status != contents.host_status.end()) {
      peer.last_seen = known(status->second.last_seen);
    }
    // In a large fleet nobody follows the signs of life of all.
    if (contents.hosts.size() <= kSmallFleet) {
      peer.alive = sources.peers.alive(contents, name);
    }
    peers.push_back(std::move(peer));
  }
  return peers;
}

std::vector<NetworkSnapshot> networks(const Contents& contents) {
  std::vector<NetworkSnapshot> networks;
  for (const auto& [name, network] : contents.networks) {
    NetworkSnapshot snapshot{name, network.vni, {}, std::nullopt};
    for (const Subnet& subnet : network.subnets) snapshot.subnets.push_back(subnet.to_string());
    if (network.mtu) snapshot.mtu = static_cast<std::uint32_t>(*network.mtu);
    networks.push_back(std::move(snapshot));
  }
  return networks;
}

std::vector<ApplicationSnapshot> applications(const SnapshotSources& sources) {
  const Contents& contents = sources.database.contents();
  std::vector<ApplicationSnapshot> applications;
  for (const auto& [name, application] : contents.applications) {
    const Ownership owner = ownership(contents, name);
    ApplicationSnapshot snapshot;
    snapshot.name = name;
    snapshot.driver = to_string(application.driver);
    snapshot.location = owner.location;
    snapshot.generation = owner.generation;
    snapshot.state = state_of(sources, application, owner);
    const bool here = owner.location == sources.host || sources.network.move_of(name);
    for (const Binding* binding : contents.bindings_of(name)) {
      snapshot.ports.push_back(port(sources, *binding, here));
    }
    applications.push_back(std::move(snapshot));
  }
  return applications;
}

}  // namespace

StatusModel snapshot(const SnapshotSources& sources, const StatusWanted& wanted) {
  const Contents& contents = sources.database.contents();
  const StatusPart part = wanted.part;
  const bool all = part == StatusPart::all;
  StatusModel model;
  model.host = sources.host;
  model.version = policy::kVersion;
  model.now = std::chrono::system_clock::now();
  model.started = sources.started;
  model.database.remote = sources.remotes;
  model.database.state =
      sources.database.synced() ? DatabaseState::synchronized : DatabaseState::disconnected;
  model.database.disconnections = sources.database.disconnections();
  model.not_ready = not_ready(sources);
  if (all || part == StatusPart::applications) model.applications = applications(sources);
  if (all || part == StatusPart::tasks || part == StatusPart::events) {
    for (const auto& [uuid, status] : contents.task_status)
      model.tasks.push_back(to_snapshot(status));
  }
  if (part == StatusPart::datapath) {
    model.datapath = datapath(sources);
    // Before the database is known, there is nothing to compare with.
    if (sources.network.programmed()) {
      auto differences = sources.network.differences();
      model.datapath.differences =
          differences ? std::move(*differences) : std::vector{differences.error().message};
    }
  }
  if (part == StatusPart::events) model.path_events = sources.paths.events();
  if (all || part == StatusPart::paths) model.paths = sources.paths.snapshot(wanted.peer);
  if (!all) return model;
  model.process = process_figures();
  model.log = log_lines();
  model.peers = peers(sources);
  model.networks = networks(contents);
  model.datapath = datapath(sources);
  model.moves = history(sources.tasks.totals());
  return model;
}

}  // namespace homeport::agent
