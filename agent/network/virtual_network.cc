#include "agent/network/virtual_network.h"

#include "overlay/link/link.h"
#include "overlay/link/tap.h"
#include "overlay/log/log.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <net/if.h>

#include <algorithm>
#include <chrono>
#include <utility>

namespace homeport::agent {

using migration::PortSpec;
using migration::Result;
using overlay::UniqueFd;

namespace {

const Changes kNoChanges{.all = false, .bindings = {}, .applications = {}, .tables = {}};

policy::Error no_place(const Binding& binding, const std::vector<std::string>& problems) {
  return policy::make_error(boost::system::errc::no_such_device,
                            problems.empty()
                                ? fmt::format("{} has no place in the network", binding.name)
                                : problems.front());
}

std::set<std::string> all_devices() {
  std::set<std::string> devices;
  if (auto links = overlay::list_links()) {
    for (const overlay::Link& link : *links) devices.insert(link.name);
  } else {
    overlay::log::error("cannot list network devices: {}", links.error().message);
  }
  return devices;
}

}  // namespace

VirtualNetwork::Devices VirtualNetwork::devices_here() {
  return {all_devices, [](const std::string& name) { return ::if_nametoindex(name.c_str()) != 0; }};
}

VirtualNetwork::VirtualNetwork(const ControlDatabase& database, overlay::Datapath& datapath,
                               LocalView self, Devices devices)
    : database_(database),
      datapath_(datapath),
      devices_(std::move(devices)),
      view_(std::move(self)) {}

/// A move's word on where an application is gives way once the database says the same. Adds those
/// of which it did.
void VirtualNetwork::settle_views(std::set<std::string>& applications) {
  std::erase_if(view_.moves, [&](const auto& item) {
    if (item.second.place != MoveView::Place::here) return false;
    const Ownership owner = ownership(database_.contents(), item.first);
    if (owner.kind != Ownership::Kind::owned || owner.location != view_.host) return false;
    applications.insert(item.first);
    return true;
  });
}

/// What others told gives way in the same manner.
void VirtualNetwork::settle_hearsay(std::set<std::string>& applications) {
  const Contents& contents = database_.contents();
  hearsay_.follow(contents, database_.synced(), std::chrono::steady_clock::now());
  report_alarms();
  if (view_.told == hearsay_.told()) return;
  auto add = [&](const std::map<std::string, Hearsay::Told>& told) {
    for (const auto& [name, one] : told) {
      auto binding = contents.bindings.find(name);
      if (binding != contents.bindings.end()) applications.insert(binding->second.application);
    }
  };
  add(view_.told);
  add(hearsay_.told());
  view_.told = hearsay_.told();
}

/// What an earlier agent of this host had here, or sent on: others may not know yet that it left.
/// And the ways that it had chosen.
void VirtualNetwork::adopt() {
  auto programmed = datapath_.read_back();
  if (!programmed) {
    overlay::log::error("what is programmed cannot be read: {}", programmed.error().message);
    return;
  }
  for (const overlay::PathEntry& path : programmed->paths) {
    view_.ways.try_emplace({path.vtep, path.traffic_class},
                           Way{path.local, path.remote, path.relayed, path.labels});
  }
  view_.relays = programmed->relays;
  for (const overlay::VtepAlias& alias : programmed->aliases) {
    if (alias_owners_.emplace(alias.address, alias.vtep).second) {
      view_.aliases[alias.vtep].insert(alias.address);
    }
  }
  std::set<std::pair<policy::Vni, policy::MacAddress>> been_here;
  for (const overlay::AddressEntry& entry : programmed->addresses) {
    const bool here = std::holds_alternative<overlay::LocalPort>(entry.location);
    if (here || entry.relayed) been_here.emplace(entry.vni, entry.mac);
  }
  if (been_here.empty()) return;
  const Contents& contents = database_.contents();
  for (const auto& [name, binding] : contents.bindings) {
    auto network = contents.networks.find(binding.network);
    if (network == contents.networks.end()) continue;
    if (been_here.contains({network->second.vni, binding.mac})) view_.been_here.insert(name);
  }
}

void VirtualNetwork::reconcile() {
  if (!database_.synced() && !programmed_) return;
  if (!programmed_) adopt();
  std::set<std::string> any;
  settle_views(any);
  settle_hearsay(any);
  view_.devices = devices_.all();
  const auto networks = std::move(desired_.state.networks);
  desired_ = desired_state(database_.contents(), view_);
  if (networks != desired_.state.networks) ++neighbors_version_;
  for (const auto& [name, own] : desired_.own) {
    if (own.is_here()) view_.been_here.insert(name);
  }
  std::erase_if(view_.been_here, [&](const std::string& name) {
    return !database_.contents().bindings.contains(name);
  });
  auto applied = datapath_.apply(desired_.state);
  report_mended();
  not_applied_ = applied ? std::string() : applied.error().message;
  // What change_of() does not look at may be long.
  desired_.state.addresses = {};
  desired_.state.ports = {};
  programmed_ = true;
  due_ = false;
  tell();
}

/// Of the bindings that may have one here.
void VirtualNetwork::look_for_devices(const std::set<std::string>& bindings) {
  for (const std::string& name : bindings) {
    auto binding = database_.contents().bindings.find(name);
    if (binding == database_.contents().bindings.end() || !is_own(view_, binding->second)) continue;
    const std::string device = device_of(database_.contents(), binding->second);
    if (!device.empty() && devices_.has(device)) {
      view_.devices.insert(device);
    } else {
      view_.devices.erase(device);
    }
  }
}

bool VirtualNetwork::update(const Changes& changes, std::set<std::string> applications) {
  if (!programmed_ || due_) return false;
  due_ = true;  // until it is done
  settle_views(applications);
  settle_hearsay(applications);
  const Contents& contents = database_.contents();
  const std::set<std::string> bindings = bindings_of(contents, changes, applications);
  look_for_devices(bindings);
  auto change = change_of(contents, view_, changes, applications, desired_);
  if (!change) return false;
  if (!change->networks.empty() || !change->networks_gone.empty()) ++neighbors_version_;
  if (!change->empty()) {
    auto updated = datapath_.update(*change);
    report_mended();
    if (!updated || !*updated) return false;
  }
  for (const std::string& name : bindings) {
    auto own = desired_.own.find(name);
    if (own != desired_.own.end() && own->second.is_here()) view_.been_here.insert(name);
    if (!contents.bindings.contains(name)) view_.been_here.erase(name);
  }
  due_ = false;
  tell();
  return true;
}

void VirtualNetwork::report_mended() {
  const auto& mended = datapath_.mended();
  if (mended.empty()) return;
  overlay::log::warn("the datapath was changed from outside and is mended: {}",
                     fmt::join(mended, "; "));
}

/// To the log and to problems().
void VirtualNetwork::tell() {
  std::vector<std::string> problems = desired_.problems();
  if (!not_applied_.empty()) problems.push_back(not_applied_);
  problems.insert(problems.end(), alarms_.begin(), alarms_.end());
  if (problems == problems_) return;
  problems_ = std::move(problems);
  if (problems_.empty()) return;
  overlay::log::info("virtual network: {}", fmt::join(problems_, "; "));
}

Result<std::vector<std::string>> VirtualNetwork::differences() const {
  auto programmed = datapath_.read_back();
  if (!programmed) return programmed.error();
  auto detached = datapath_.detached();
  if (!detached) return detached.error();
  LocalView view = view_;
  view.devices = devices_.all();
  auto all = overlay::differences(desired_state(database_.contents(), view).state, *programmed);
  all.insert(all.end(), detached->begin(), detached->end());
  return all;
}

void VirtualNetwork::report_alarms() {
  std::vector<std::string> alarms = hearsay_.alarms();
  for (const std::string& alarm : alarms) {
    if (std::ranges::find(alarms_, alarm) == alarms_.end()) overlay::log::error("{}", alarm);
  }
  alarms_ = std::move(alarms);
}

std::string VirtualNetwork::hear(const std::string& from, const Moved& moved) {
  // What is programmed may be of an earlier agent, and older than the news.
  if (!programmed_) return "this host does not know the control database yet";
  const auto now = std::chrono::steady_clock::now();
  const bool reading = database_.synced() && !database_.settled();
  Hearsay::Judgement judgement = hearsay_.hear(database_.contents(), reading, from, moved, now);
  report_alarms();
  if (judgement.verdict != Hearsay::Verdict::news) {
    tell();
  } else {
    const std::string application = database_.contents().bindings.at(moved.binding).application;
    if (auto done = program(application); !done) return done.error().message;
  }
  return judgement.why;
}

void VirtualNetwork::settled(const std::string& binding) {
  if (view_.been_here.erase(binding) == 0) return;
  auto row = database_.contents().bindings.find(binding);
  if (row == database_.contents().bindings.end()) return;
  if (auto done = program(row->second.application); !done) {
    overlay::log::error("{}", done.error().message);
  }
}

void VirtualNetwork::follow(const Changes& changes) {
  if (!update(changes, {})) reconcile();
}

void VirtualNetwork::follow_application(const std::string& application) {
  if (!update(kNoChanges, {application})) reconcile();
}

void VirtualNetwork::repair() {
  if (!update(kNoChanges, {})) return reconcile();
  auto untouched = datapath_.untouched();
  if (!untouched || !*untouched) reconcile();
}

void VirtualNetwork::on_link_event(const overlay::LinkEvent& event) {
  // Addresses are of no interest to ports.
  if (std::holds_alternative<overlay::AddressAdded>(event) ||
      std::holds_alternative<overlay::AddressRemoved>(event)) {
    return;
  }
  if (std::holds_alternative<overlay::EventsLost>(event)) {
    removed_.clear();
    return reconcile();
  }
  std::string device;
  if (const auto* changed = std::get_if<overlay::LinkChanged>(&event)) device = changed->link.name;
  const auto* gone = std::get_if<overlay::LinkRemoved>(&event);
  if (gone) device = gone->name;
  std::set<std::string> applications;
  for (const auto& [name, own] : desired_.own) {
    if (own.device != device) continue;
    auto binding = database_.contents().bindings.find(name);
    if (binding != database_.contents().bindings.end()) {
      applications.insert(binding->second.application);
    }
  }
  const bool removed_here = removed_.contains(device);
  if (gone) removed_.erase(device);
  if (!applications.empty() ? update(kNoChanges, applications) : removed_here) return;
  reconcile();
}

std::map<policy::IpAddress, std::set<policy::Vni>> VirtualNetwork::neighbors() const {
  std::map<policy::IpAddress, std::set<policy::Vni>> networks;
  for (const overlay::NetworkEntry& network : desired_.state.networks) {
    for (const policy::IpAddress& vtep : network.hosts) networks[vtep].insert(network.vni);
  }
  return networks;
}

std::set<policy::Vni> VirtualNetwork::open_networks() const {
  std::set<policy::Vni> networks;
  for (const overlay::NetworkEntry& network : desired_.state.networks) {
    if (network.host_access) networks.insert(network.vni);
  }
  return networks;
}

void VirtualNetwork::use_way(const WayKey& key, const Way& way) {
  view_.ways[key] = way;
  if (!programmed_) return;
  auto set =
      datapath_.set_path({key.first, key.second, way.local, way.remote, way.relayed, way.labels});
  if (set) return;
  overlay::log::error("{}", set.error().message);
  due_ = true;
}

bool VirtualNetwork::set_aliases(const policy::IpAddress& vtep,
                                 std::set<policy::IpAddress> addresses) {
  std::erase_if(addresses, [&](const policy::IpAddress& address) {
    auto owner = alias_owners_.find(address);
    return owner != alias_owners_.end() && owner->second != vtep && is_vtep(owner->second);
  });
  std::set<policy::IpAddress>& known = view_.aliases[vtep];
  if (known == addresses) return false;
  for (const policy::IpAddress& address : known) {
    auto owner = alias_owners_.find(address);
    if (owner != alias_owners_.end() && owner->second == vtep) alias_owners_.erase(owner);
  }
  for (const policy::IpAddress& address : addresses) {
    auto [owner, is_new] = alias_owners_.try_emplace(address, vtep);
    if (is_new || owner->second == vtep) continue;
    view_.aliases[owner->second].erase(address);  // of a host that is gone
    owner->second = vtep;
  }
  known = std::move(addresses);
  due_ = true;
  return true;
}

bool VirtualNetwork::forget_ways(const policy::IpAddress& vtep) {
  bool had =
      std::erase_if(view_.ways, [&](const auto& way) { return way.first.first == vtep; }) > 0;
  std::erase_if(alias_owners_, [&](const auto& owner) { return owner.second == vtep; });
  if (auto aliases = view_.aliases.extract(vtep)) had = had || !aliases.mapped().empty();
  due_ = due_ || had;
  return had;
}

bool VirtualNetwork::has_address(const policy::IpAddress& vtep,
                                 const policy::IpAddress& address) const {
  auto owner = alias_owners_.find(address);
  return address == vtep || (owner != alias_owners_.end() && owner->second == vtep);
}

bool VirtualNetwork::set_relays(std::vector<overlay::RelayEntry> relays) {
  std::ranges::sort(relays);
  if (relays == view_.relays) return false;
  view_.relays = std::move(relays);
  due_ = true;
  return true;
}

bool VirtualNetwork::is_vtep(const policy::IpAddress& address) const {
  return std::ranges::any_of(database_.contents().hosts, [&](const auto& host) {
    return std::ranges::count(host.second.vteps, address) > 0;
  });
}

const MoveView* VirtualNetwork::move_of(const std::string& application) const {
  auto move = view_.moves.find(application);
  return move == view_.moves.end() ? nullptr : &move->second;
}

Result<UniqueFd> VirtualNetwork::create_port(const std::string& application, const PortSpec& port) {
  if (auto made = overlay::create_tap({port.device, port.mtu, overlay::kTapQueueLength}); !made) {
    if (made.error().code != boost::system::errc::file_exists) return made.error();
    // Left by an agent that was killed between making it and starting the guest. If a guest still
    // holds it, opening its queue is refused below.
    if (auto set = overlay::set_link_mtu(port.device, port.mtu); !set) return set.error();
    if (auto set = overlay::set_tx_queue_length(port.device, overlay::kTapQueueLength); !set) {
      return set.error();
    }
  }
  taps_[application].insert(port.device);
  removed_.erase(port.device);
  return overlay::open_tap_queue(port.device);
}

Result<UniqueFd> VirtualNetwork::provide(const std::string& application, const PortSpec& port) {
  Result<UniqueFd> queue = create_port(application, port);
  if (!queue) return queue;
  view_.moves[application] = {MoveView::Place::incoming, {}};
  follow_application(application);
  return queue;
}

Result<void> VirtualNetwork::hold(const std::string& application, const PortSpec& port) {
  if (auto link = overlay::find_link(port.device); !link) return link.error();
  view_.moves[application] = {MoveView::Place::incoming, {}};
  follow_application(application);
  return {};
}

Result<void> VirtualNetwork::program(const std::string& application) {
  if (!update(kNoChanges, {application})) return program_alone(application);
  for (const Binding* binding : database_.contents().bindings_of(application)) {
    auto own = desired_.own.find(binding->name);
    // Whatever is none of its own, is as the database has it.
    if (own == desired_.own.end() || own->second.address) continue;
    return no_place(*binding, own->second.problems);
  }
  return {};
}

/// Where the datapath cannot say that it has done it all: the address comes first, of an
/// application that has come it lets every frame in, redirected or not. The port's own mark as held
/// means nothing once the address is local, and goes with the next reconcile().
Result<void> VirtualNetwork::program_alone(const std::string& application) {
  view_.told = hearsay_.told();
  look_for_devices(bindings_of(database_.contents(), kNoChanges, {application}));
  for (const Binding* binding : database_.contents().bindings_of(application)) {
    std::vector<std::string> problems;
    auto entry = address_of(database_.contents(), view_, *binding, problems);
    if (!entry) return no_place(*binding, problems);
    if (auto set = datapath_.set_address(*entry); !set) return set.error();
    if (std::holds_alternative<overlay::LocalPort>(entry->location)) {
      view_.been_here.insert(binding->name);
    }
  }
  return {};
}

Result<void> VirtualNetwork::take(const std::string& application) {
  view_.moves[application] = {MoveView::Place::here, {}};
  return program(application);
}

Result<void> VirtualNetwork::give_up(const std::string& application) {
  view_.moves[application] = {MoveView::Place::incoming, {}};
  return program(application);
}

Result<void> VirtualNetwork::redirect(const std::string& application, const std::string& host) {
  view_.moves[application] = {MoveView::Place::redirected, host};
  return program(application);
}

Result<void> VirtualNetwork::reinstate(const std::string& application) {
  view_.moves.erase(application);
  return program(application);
}

void VirtualNetwork::remove_ports(const std::string& application) {
  // Also those that an earlier agent of this host made.
  std::set<std::string> taps;
  if (auto made = taps_.extract(application)) taps = std::move(made.mapped());
  auto row = database_.applications().find(application);
  if (row != database_.applications().end() && row->second.driver == Driver::qemu) {
    for (const Binding* binding : database_.contents().bindings_of(application)) {
      taps.insert(tap_name(binding->name));
    }
  }
  for (const std::string& tap : taps) {
    auto removed = overlay::delete_device(tap);
    if (removed) removed_.insert(tap);
    if (!removed && removed.error().code != boost::system::errc::no_such_device) {
      overlay::log::error({{"application", application}}, "{}", removed.error().message);
    }
  }
  follow_application(application);
}

void VirtualNetwork::release(const std::string& application) {
  view_.moves.erase(application);
  remove_ports(application);
}

}  // namespace homeport::agent
