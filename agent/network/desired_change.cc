#include "agent/network/desired_change.h"

#include "agent/control/path_policy.h"

#include <algorithm>
#include <utility>

namespace homeport::agent {

using overlay::NetworkEntry;
using overlay::RemoteHost;
using overlay::StateChange;

namespace {

class Follower {
 public:
  Follower(const Contents& contents, const LocalView& view, Desired& desired)
      : contents_(contents), view_(view), desired_(desired) {
    elsewhere_.host = view.host;
    elsewhere_.vtep = view.vtep;
    elsewhere_.database = view.database;
  }

  /// `before` and `now`: its rows; nullptr: there is none. `again`: its port is told of even if it
  /// is as it was. False where the change does not fit what is known.
  bool binding(const std::string& name, const Binding* before, const Binding* now, bool again) {
    auto was = take(name, before);
    if (!was) return false;
    Own is;
    if (now && !desired_.refused.contains(now->network)) {
      is = own_of(contents_, view_, *now);
      if (is_own(view_, *now) || !is.problems.empty()) desired_.own.emplace(name, is);
    }
    if (was->address == is.address && was->port == is.port && !(again && is.port)) return true;
    return count(*was, is) && (tell(*was, is), true);
  }

  StateChange take() {
    for (const policy::Vni vni : touched_) settle(vni);
    return std::move(change_);
  }

 private:
  /// What the binding had; taken out of `desired`.
  std::optional<Own> take(const std::string& name, const Binding* before) {
    if (auto known = desired_.own.extract(name)) return std::move(known.mapped());
    Own was;
    if (!before || desired_.refused.contains(before->network)) return was;
    std::vector<std::string> problems;
    was.address = address_of(contents_, elsewhere_, *before, problems);
    if (!problems.empty()) return std::nullopt;
    return was;
  }

  bool count(const Own& was, const Own& is) {
    auto host_of = [](const Own& own) {
      return own.address ? std::get_if<RemoteHost>(&own.address->location) : nullptr;
    };
    if (const auto* host = host_of(is)) {
      if (++desired_.hosts[is.address->vni][host->vtep] == 1) touched_.insert(is.address->vni);
    }
    if (const auto* host = host_of(was)) {
      auto& hosts = desired_.hosts[was.address->vni];
      auto count = hosts.find(host->vtep);
      if (count == hosts.end()) return false;
      if (--count->second == 0) {
        hosts.erase(count);
        touched_.insert(was.address->vni);
      }
    }
    if (is.port && ++desired_.ports[is.port->vni] == 1) touched_.insert(is.port->vni);
    if (was.port) {
      auto ports = desired_.ports.find(was.port->vni);
      if (ports == desired_.ports.end()) return false;
      if (--ports->second == 0) {
        desired_.ports.erase(ports);
        touched_.insert(was.port->vni);
      }
    }
    return true;
  }

  void tell(Own& was, Own& is) {
    if (was.address) change_.before.push_back(std::move(*was.address));
    if (is.address) change_.now.push_back(std::move(*is.address));
    if (was.port) change_.ports_before.push_back(std::move(*was.port));
    if (is.port) change_.ports.push_back(std::move(*is.port));
  }

  /// The network may have come or gone, or have other hosts.
  void settle(policy::Vni vni) {
    auto network = std::ranges::find_if(contents_.networks, [&](const auto& item) {
      return item.second.vni == vni && !desired_.refused.contains(item.first);
    });
    std::optional<NetworkEntry> is;
    if (network != contents_.networks.end()) is = network_entry(desired_, view_, network->second);
    auto& networks = desired_.state.networks;
    auto place = std::ranges::lower_bound(networks, vni, {}, &NetworkEntry::vni);
    const bool was = place != networks.end() && place->vni == vni;
    if (is && was && *place == *is) return;
    if (is) change_.networks.push_back(*is);
    if (is && was) {
      *place = std::move(*is);
    } else if (is) {
      networks.insert(place, std::move(*is));
    } else if (was) {
      change_.networks_gone.push_back(std::move(*place));
      networks.erase(place);
    }
  }

  const Contents& contents_;
  const LocalView& view_;
  Desired& desired_;
  LocalView elsewhere_;  ///< A view in which there is nothing but the database.
  std::set<policy::Vni> touched_;
  StateChange change_;
};

}  // namespace

std::set<std::string> bindings_of(const Contents& contents, const Changes& changes,
                                  const std::set<std::string>& applications) {
  std::set<std::string> names;
  for (const auto& [name, before] : changes.bindings) names.insert(name);
  for (const auto* some : {&changes.applications, &applications}) {
    for (const std::string& application : *some) {
      for (const Binding* binding : contents.bindings_of(application)) names.insert(binding->name);
    }
  }
  return names;
}

std::optional<StateChange> change_of(const Contents& contents, const LocalView& view,
                                     const Changes& changes,
                                     const std::set<std::string>& applications, Desired& desired) {
  if (changes.all || changes.tables.contains(Network::kTable)) return std::nullopt;
  if (changes.tables.contains(Host::kTable) && digest_of(contents.hosts) != desired.known_hosts) {
    return std::nullopt;
  }
  if (changes.tables.contains(PathPolicyRow::kTable) &&
      port_rules(contents) != desired.state.port_rules) {
    return std::nullopt;
  }
  const bool hosts_reached = std::ranges::any_of(
      desired.state.networks, [](const NetworkEntry& network) { return network.host_access; });
  if (hosts_reached && changes.tables.contains(Interface::kTable)) return std::nullopt;

  Follower follower(contents, view, desired);
  for (const std::string& name : bindings_of(contents, changes, applications)) {
    auto row = contents.bindings.find(name);
    const Binding* now = row == contents.bindings.end() ? nullptr : &row->second;
    const Binding* before = now;
    if (auto changed = changes.bindings.find(name); changed != changes.bindings.end()) {
      before = changed->second ? &*changed->second : nullptr;
    }
    const bool again = now && applications.contains(now->application);
    if (!follower.binding(name, before, now, again)) return std::nullopt;
  }
  return follower.take();
}

}  // namespace homeport::agent
