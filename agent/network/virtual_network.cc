#include "agent/network/virtual_network.h"

#include "overlay/link/link.h"
#include "overlay/link/tap.h"
#include "overlay/log/log.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <utility>

namespace homeport::agent {

using migration::PortSpec;
using migration::Result;
using overlay::UniqueFd;

namespace {

std::set<std::string> devices_here() {
  std::set<std::string> devices;
  if (auto links = overlay::list_links()) {
    for (const overlay::Link& link : *links) devices.insert(link.name);
  } else {
    overlay::log::error("cannot list network devices: {}", links.error().message);
  }
  return devices;
}

}  // namespace

VirtualNetwork::VirtualNetwork(const ControlDatabase& database, overlay::Datapath& datapath,
                               std::string host, std::uint32_t mtu_limit, Devices devices)
    : database_(database),
      datapath_(datapath),
      host_(std::move(host)),
      mtu_limit_(mtu_limit),
      devices_(devices ? std::move(devices) : devices_here) {}

LocalView VirtualNetwork::view() const {
  return {host_, devices_(), mtu_limit_, moves_, been_here_, hearsay_.told()};
}

/// A move's word on where an application is gives way once the database says the same.
void VirtualNetwork::settle_views() {
  std::erase_if(moves_, [&](const auto& item) {
    if (item.second.place != MoveView::Place::here) return false;
    const Ownership owner = ownership(database_.contents(), item.first);
    return owner.kind == Ownership::Kind::owned && owner.location == host_;
  });
}

/// What an earlier agent of this host had here, or sent on: others may not know yet that it left.
void VirtualNetwork::adopt() {
  auto programmed = datapath_.read_back();
  if (!programmed) {
    overlay::log::error("what is programmed cannot be read: {}", programmed.error().message);
    return;
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
    if (been_here.contains({network->second.vni, binding.mac})) been_here_.insert(name);
  }
}

void VirtualNetwork::reconcile() {
  if (!database_.synced() && !programmed_) return;
  if (!programmed_) adopt();
  settle_views();
  settle_hearsay();
  Desired desired = desired_state(database_.contents(), view());
  been_here_.insert(desired.here.begin(), desired.here.end());
  std::erase_if(been_here_, [&](const std::string& name) {
    return !database_.contents().bindings.contains(name);
  });
  if (auto applied = datapath_.apply(desired.state); !applied) {
    desired.problems.push_back(applied.error().message);
  }
  if (const auto& mended = datapath_.mended(); !mended.empty()) {
    overlay::log::warn("the datapath was changed from outside and is mended: {}",
                       fmt::join(mended, "; "));
  }
  desired.problems.insert(desired.problems.end(), alarms_.begin(), alarms_.end());
  if (desired.problems != desired_.problems && !desired.problems.empty()) {
    overlay::log::info("virtual network: {}", fmt::join(desired.problems, "; "));
  }
  desired.state.addresses = {};
  desired_ = std::move(desired);
  programmed_ = true;
  due_ = false;
}

/// What others told gives way in the same manner. True if that changed anything.
bool VirtualNetwork::settle_hearsay() {
  const auto told = hearsay_.told();
  const auto alarms = alarms_;
  hearsay_.follow(database_.contents(), database_.synced(), std::chrono::steady_clock::now());
  report_alarms();
  return told != hearsay_.told() || alarms != alarms_;
}

Result<std::vector<std::string>> VirtualNetwork::differences() const {
  auto programmed = datapath_.read_back();
  if (!programmed) return programmed.error();
  auto detached = datapath_.detached();
  if (!detached) return detached.error();
  auto all = overlay::differences(desired_state(database_.contents(), view()).state, *programmed);
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
  const auto alarms = alarms_;
  report_alarms();
  due_ = due_ || alarms != alarms_;
  if (judgement.verdict == Hearsay::Verdict::news) {
    const std::string application = database_.contents().bindings.at(moved.binding).application;
    if (auto done = program(application); !done) return done.error().message;
  }
  return judgement.why;
}

void VirtualNetwork::settled(const std::string& binding) {
  if (been_here_.erase(binding) == 0) return;
  auto row = database_.contents().bindings.find(binding);
  if (row == database_.contents().bindings.end()) return;
  if (auto done = program(row->second.application); !done) {
    overlay::log::error("{}", done.error().message);
  }
}

void VirtualNetwork::follow(const Changes& changes) {
  if (!programmed_ || due_ || settle_hearsay() || !follow_remote(changes)) reconcile();
}

/// False where the whole state has to be looked at.
bool VirtualNetwork::follow_remote(const Changes& changes) {
  // A move of which the database has come to say the same leaves other hosts' bindings behind.
  const std::size_t moves = moves_.size();
  settle_views();
  if (moves_.size() != moves) return false;
  // Devices say nothing about what is elsewhere.
  const LocalView view{host_, {}, mtu_limit_, moves_, been_here_, hearsay_.told()};
  auto change = remote_change(database_.contents(), view, changes, desired_);
  if (!change) return false;
  if (!change->before.empty() || !change->now.empty()) {
    auto updated = datapath_.update(*change);
    if (!updated || !*updated) return false;
  }
  for (const auto& [name, before] : changes.bindings) {
    if (!database_.contents().bindings.contains(name)) been_here_.erase(name);
  }
  return true;
}

void VirtualNetwork::repair() {
  if (!programmed_ || due_ || settle_hearsay()) return reconcile();
  auto untouched = datapath_.untouched();
  if (!untouched || !*untouched) reconcile();
}

void VirtualNetwork::on_link_event(const overlay::LinkEvent& event) {
  // Addresses are of no interest to ports; whatever else happened, the whole state is compared.
  if (std::holds_alternative<overlay::AddressAdded>(event) ||
      std::holds_alternative<overlay::AddressRemoved>(event)) {
    return;
  }
  reconcile();
}

const MoveView* VirtualNetwork::move_of(const std::string& application) const {
  auto move = moves_.find(application);
  return move == moves_.end() ? nullptr : &move->second;
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
  return overlay::open_tap_queue(port.device);
}

Result<UniqueFd> VirtualNetwork::provide(const std::string& application, const PortSpec& port) {
  Result<UniqueFd> queue = create_port(application, port);
  if (!queue) return queue;
  moves_[application] = {MoveView::Place::incoming, {}};
  reconcile();
  return queue;
}

Result<void> VirtualNetwork::hold(const std::string& application, const PortSpec& port) {
  if (auto link = overlay::find_link(port.device); !link) return link.error();
  moves_[application] = {MoveView::Place::incoming, {}};
  reconcile();
  return {};
}

Result<void> VirtualNetwork::program(const std::string& application) {
  due_ = true;
  const LocalView now = view();
  for (const Binding* binding : database_.contents().bindings_of(application)) {
    std::vector<std::string> problems;
    auto entry = address_of(database_.contents(), now, *binding, problems);
    if (!entry) {
      return policy::make_error(boost::system::errc::no_such_device,
                                problems.empty()
                                    ? fmt::format("{} has no place in the network", binding->name)
                                    : problems.front());
    }
    if (auto set = datapath_.set_address(*entry); !set) return set.error();
    if (std::holds_alternative<overlay::LocalPort>(entry->location)) {
      been_here_.insert(binding->name);
    }
  }
  return {};
}

Result<void> VirtualNetwork::take(const std::string& application) {
  moves_[application] = {MoveView::Place::here, {}};
  // The address first: it lets every frame in, redirected or not. The port's own mark as held
  // means nothing once the address is local, and goes with the next reconcile().
  return program(application);
}

Result<void> VirtualNetwork::give_up(const std::string& application) {
  moves_[application] = {MoveView::Place::incoming, {}};
  return program(application);
}

Result<void> VirtualNetwork::redirect(const std::string& application, const std::string& host) {
  moves_[application] = {MoveView::Place::redirected, host};
  return program(application);
}

Result<void> VirtualNetwork::reinstate(const std::string& application) {
  moves_.erase(application);
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
    if (!removed && removed.error().code != boost::system::errc::no_such_device) {
      overlay::log::error({{"application", application}}, "{}", removed.error().message);
    }
  }
  reconcile();
}

void VirtualNetwork::release(const std::string& application) {
  moves_.erase(application);
  remove_ports(application);
}

}  // namespace homeport::agent
