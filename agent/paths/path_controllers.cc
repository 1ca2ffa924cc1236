#include "agent/paths/path_controllers.h"

#include "agent/control/path_policy.h"
#include "agent/paths/lane_paths.h"
#include "agent/paths/own_ends.h"
#include "agent/paths/path_channels.h"
#include "agent/paths/path_peer.h"
#include "agent/paths/path_snapshot.h"
#include "agent/paths/probing.h"
#include "agent/paths/relaying.h"
#include "agent/paths/ways.h"
#include "overlay/log/log.h"
#include "overlay/pause.h"
#include "overlay/spawn.h"

#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <algorithm>
#include <iterator>
#include <map>
#include <optional>
#include <set>
#include <utility>

namespace homeport::agent {

namespace asio = boost::asio;
namespace log = overlay::log;
using namespace std::chrono_literals;
using overlay::NegotiationActions;
using overlay::NegotiationEvent;
using policy::Time;
using policy::TrafficClass;

namespace {

/// How often measurements are told to the negotiators even if nothing is news: they take what is
/// not told for NegotiationSettings::own_fresh_for to be unknown.
constexpr std::chrono::milliseconds kMeasureInterval = 2s;
/// Not of all peers at once, which would be long where there are hundreds.
constexpr std::size_t kMeasureParts = 20;
static_assert(kMeasureInterval / kMeasureParts >= 10ms);
/// How often the kernel is asked for interfaces and routes, of which not every change is an event.
constexpr auto kLookInterval = 5s;
/// How often interfaces are looked at for their carrier, of which events come late
/// (overlay/link/ethtool.h): what was sent by one without is lost until then.
constexpr auto kCarrierInterval = 10ms;
/// What many peers say at the same time is made known to the datapath together: all of its state
/// is computed for that, on which a tenth of the time is spent at most.
constexpr auto kAliasesDelay = 10ms;
constexpr int kAliasesShare = 10;

}  // namespace

struct PathControllers::State : std::enable_shared_from_this<State> {
  using Peer = PathPeer;

  explicit State(Context c)
      : context(std::move(c)),
        lanes({[this](const std::string& host) { look_again(host); },
               [this](const std::string& host, const auto& all) { lanes_are(host, all); }}),
        ends(context.host, context.underlay, context.database),
        aliases(context.executor) {}

  void begin() {
    channels.emplace(PathChannels::Context{
        .executor = context.executor,
        .host = context.host,
        .tls = context.tls,
        .peer_check = context.peer_check,
        .timeouts = context.timeouts,
        .endpoints_of =
            [this](const std::string& host) {
              return control_endpoints(context.database.contents(), host);
            },
        .connected = [this](const std::string& host) { connected(host); },
        .disconnected =
            [this](const std::string& host) {
              disconnected(host);
              review_peers();
            },
        .heard = [this](const std::string& host,
                        overlay::PathStatement said) { heard(host, std::move(said)); },
        .heard_of_relaying =
            [this](const std::string& host, overlay::RelayStatement said) {
              if (find(host)) relaying->heard(host, std::move(said));
            }});
    relaying.emplace(Relaying::Context{
        .executor = context.executor,
        .host = context.host,
        .vtep = context.underlay.vtep,
        .relays = context.underlay.relay,
        .database = context.database,
        .network = context.network,
        .negotiator = [this](const std::string& host) -> const overlay::PathNegotiator* {
          const Peer* peer = find(host);
          return peer ? &peer->negotiator : nullptr;
        },
        .say = [this](const std::string& host,
                      const overlay::RelayStatement& said) { channels->say(host, said); },
        .news = [this](const std::string& host) { measured(host); },
        .program = [this] { program_soon(); }});
    auto wire = context.datapath.probe_wire();
    if (wire) {
      probing.emplace(context.executor, std::move(*wire), context.lane_traffic,
                      [this](const std::string& host) { measured(host); });
    } else {
      log::warn("paths are not measured: {}", wire.error().message);
    }
  }

  Peer* find(const std::string& host) {
    auto peer = peers.find(host);
    return peer == peers.end() ? nullptr : peer->second.get();
  }

  /// The hosts there are, their VTEPs by name, as far as this one has to do with them or they say
  /// that they have with it.
  std::map<std::string, policy::IpAddress> wanted(Time now) {
    const auto neighbors = context.network.neighbors();
    const std::set<policy::Vni> open = context.network.open_networks();
    std::map<std::string, policy::IpAddress> vteps;
    std::map<std::string, std::set<policy::Vni>> in_common;
    for (const auto& [name, host] : context.database.contents().hosts) {
      const policy::IpAddress* vtep = vtep_towards(host, context.underlay.vtep);
      if (name == context.host || !vtep) continue;
      vteps.emplace(name, *vtep);
      auto neighbor = neighbors.find(*vtep);
      const bool is_neighbor = neighbor != neighbors.end();
      if (!is_neighbor && !channels->called_by(name) && !lanes.followed(name)) continue;
      std::set<policy::Vni>& networks = in_common[name] = open;
      if (is_neighbor) networks.insert(neighbor->second.begin(), neighbor->second.end());
    }
    std::set<std::string> needed;
    for (const auto& [name, any] : in_common) needed.insert(name);
    relaying->follow_networks(std::move(in_common));
    needed.merge(relaying->relays());
    std::erase_if(vteps, [&](const auto& item) {
      const std::string& name = item.first;
      const bool serves = relaying->is_asked_by(name) && channels->connected(name);
      const bool is_needed = needed.contains(name) || serves;
      if (Peer* peer = find(name); peer && is_needed) peer->unneeded.reset();
      return !is_needed && !lingers(name, now);
    });
    return vteps;
  }

  /// Of one that is not needed.
  bool lingers(const std::string& name, Time now) {
    Peer* peer = find(name);
    if (!peer) return false;
    if (!peer->unneeded) peer->unneeded = now;
    return now - *peer->unneeded < context.linger;
  }

  /// After a change of the database.
  void follow() {
    if (!context.network.programmed()) return;
    if (!ends.looked()) look_at_interfaces();
    if (!ends.looked()) return;
    const Changes& changes = context.database.changes();
    const bool first = !std::exchange(followed, true);
    const bool all = first || changes.all;
    auto concerns = [&](const char* table) { return all || changes.tables.contains(table); };
    if (concerns(Interface::kTable) && ends.follow_database()) tell_offer();
    if (concerns(PathPolicyRow::kTable)) ask_again();
    if (concerns(Host::kTable)) relaying->follow_hosts();
    if (concerns(Host::kTable) || neighbors_seen != context.network.neighbors_version()) {
      review_peers();
    }
  }

  /// Whoever this host has to do with may have changed.
  void review_peers() {
    if (ended || !followed) return;
    neighbors_seen = context.network.neighbors_version();
    const std::map<std::string, policy::IpAddress> hosts = wanted(steady_now());
    for (auto peer = peers.begin(); peer != peers.end();) {
      auto host = hosts.find(peer->first);
      const bool stays = host != hosts.end() && host->second == peer->second->vtep;
      peer = stays ? std::next(peer) : forget(peer);
    }
    for (const auto& [name, vtep] : hosts) {
      if (!find(name)) begin_with(name, vtep);
    }
    connect_peers();
    relaying->follow_peers();
  }

  /// A host that has no choice leaves it to those that have one: where neither has, there is
  /// nothing to negotiate. Another host that relays is a choice for both.
  void connect_peers() {
    std::set<std::string> names = relaying->relays();
    std::erase_if(names, [this](const std::string& name) { return !find(name); });
    for (const auto& [name, peer] : peers) {
      if (ends.has_choice() || relaying->has_relays(name)) names.insert(name);
    }
    channels->follow(names);
  }

  /// What the controller asks for may have changed.
  void ask_again() {
    for (auto& [name, peer] : peers) ask(*peer);
  }

  void ask(Peer& peer) {
    policy::PathPolicy policy = path_policy(context.database.contents(), context.host, peer.name);
    if (policy != peer.policy) {
      peer.policy = policy;
      tell(peer, overlay::PolicyIs{std::move(policy)});
    } else {
      follow_ways(peer, steady_now());  // how fast a failure is to be found
    }
  }

  using Peers = std::map<std::string, std::unique_ptr<Peer>>;

  Peers::iterator forget(Peers::iterator peer) {
    lanes.offer(peer->first, {});
    if (probing) probing->forget(peer->first);
    relaying->forget(peer->first);
    if (context.network.forget_ways(peer->second->vtep)) program_soon();
    context.changed();
    return peers.erase(peer);
  }

  void begin_with(const std::string& name, const policy::IpAddress& vtep) {
    Peer& peer =
        *peers.emplace(name, std::make_unique<Peer>(context.executor, context.host, name, vtep))
             .first->second;
    const policy::Side side = policy::side_of(context.host, name);
    for (const TrafficClass traffic : policy::kTrafficClasses) {
      auto way = context.network.ways().find({vtep, traffic});
      if (way == context.network.ways().end()) continue;
      const auto& [local, remote, relayed, labels] = way->second;
      if (!std::ranges::count(ends.offer().ends, local, &policy::PathEnd::address)) {
        // Its interface has gone while there was no agent, and the peer may not say anything.
        context.network.use_way({vtep, traffic}, {context.underlay.vtep, vtep});
        continue;
      }
      if (relayed) {
        peer.found_through[traffic] = relaying->relay_of(way->second);
        continue;
      }
      const policy::PathId path = side == policy::Side::first ? policy::PathId{local, remote}
                                                              : policy::PathId{remote, local};
      peer.found.paths[traffic] = path;
      peer.history.found(traffic, path);
    }
    tell(peer, peer.found);
    context.changed();
    ask(peer);
    tell(peer, overlay::OffersEnds{ends.offer().ends});
  }

  void connected(const std::string& host) {
    if (!find(host)) review_peers();
    Peer* peer = find(host);
    if (!peer) return;
    peer->disconnected.reset();
    tell(*peer, overlay::Connected{});
    relaying->connected(host);
  }

  void disconnected(const std::string& host) {
    Peer* peer = find(host);
    if (!peer) return;
    peer->disconnected = system_now();
    tell(*peer, overlay::Disconnected{});
  }

  void heard(const std::string& host, overlay::PathStatement said) {
    Peer* peer = find(host);
    if (!peer) return;
    find_relayed(*peer, said);
    tell(*peer, overlay::PeerSays{std::move(said)});
  }

  /// What an earlier run of this agent has left in use through another host, as the peer knows it:
  /// here is not known to which of the peer's addresses it leads.
  void find_relayed(Peer& peer, const overlay::PathStatement& said) {
    bool any = false;
    for (const auto& [traffic, relay] : std::exchange(peer.found_through, {})) {
      const auto& path = said.choices[traffic].path;
      if (!path || path->relay != relay) continue;
      peer.found.paths[traffic] = path;
      peer.history.found(traffic, *path);
      any = true;
    }
    if (!any) return;
    tell(peer, peer.found);
    tell(peer, overlay::HasMeasured{reports_of(peer)});
  }

  void measured(const std::string& host) {
    Peer* peer = find(host);
    if (!peer) return;
    tell(*peer, overlay::HasMeasured{reports_of(*peer)});
    follow_relayed(*peer);
  }

  void tell(Peer& peer, NegotiationEvent event) {
    const Time now = steady_now();
    const std::vector<PathEvent> before = path_events(peer.negotiator, peer.history);
    NegotiationActions actions = peer.negotiator.on(std::move(event), now);
    for (const overlay::PathUse& use : actions.use) take(peer, use, now);
    if (path_events(peer.negotiator, peer.history) != before) context.changed();
    if (actions.say) channels->say(peer.name, *actions.say);
    follow_ways(peer, now);
    lanes.offer(peer.name, peer.negotiator, policy::side_of(context.host, peer.name), now);
    await_look(peer, actions.look_again);
    relaying->followed(peer.name);
  }

  void look_again(const std::string& host) {
    review_peers();
    if (Peer* peer = find(host)) tell(*peer, overlay::TimeHasCome{});
  }

  void lanes_are(const std::string& host, const std::vector<migration::LaneReport>& all) {
    Peer* peer = find(host);
    if (ended || !peer || !probing) return;
    for (const migration::LaneReport& lane : all) {
      if (!lane.path) continue;
      probing->transferred(host, {lane.path->local, lane.path->remote}, lane.acknowledged,
                           lane.time, lane.backlogged);
    }
    if (std::exchange(peer->lanes, lanes.pairs(host)) != peer->lanes) {
      follow_ways(*peer, steady_now());
    }
  }

  void await_look(Peer& peer, Time at) {
    peer.look.expires_at(at);
    if (at == Time::max()) return;
    peer.look.async_wait(
        [weak = weak_from_this(), name = peer.name](boost::system::error_code moved) {
          auto self = weak.lock();
          if (moved || !self) return;
          if (Peer* due = self->find(name)) self->tell(*due, overlay::TimeHasCome{});
        });
  }

  /// Where no path is usable, traffic goes as it does without any choice.
  void take(Peer& peer, const overlay::PathUse& use, Time now) {
    send_by(peer, use.traffic, use.path);
    peer.history.changed({now, system_now()}, use, peer.negotiator);
    log::info({{"host", peer.name}}, "{}", peer.history.recent().back().text);
  }

  void send_by(const Peer& peer, TrafficClass traffic, const std::optional<policy::PathId>& path) {
    const policy::Side side = policy::side_of(context.host, peer.name);
    Way way{context.underlay.vtep, peer.vtep};
    if (path && path->relay.empty()) way = {path->at(side), path->at(policy::other(side))};
    if (path && !path->relay.empty()) way = relaying->way_of(peer.name, *path).value_or(way);
    // The datapath tells of the use of what it was told of: also where a path is the usual way.
    const WayKey key{peer.vtep, traffic};
    if (path || context.network.ways().contains(key)) context.network.use_way(key, way);
  }

  /// The path to the host that relays, or its labels, may be others now.
  void follow_relayed(const Peer& peer) {
    for (const TrafficClass traffic : policy::kTrafficClasses) {
      const auto& path = peer.negotiator.agreement(traffic).choice().path;
      if (!path || path->relay.empty()) continue;
      auto way = relaying->way_of(peer.name, *path);
      auto used = context.network.ways().find({peer.vtep, traffic});
      if (!way || (used != context.network.ways().end() && used->second == *way)) continue;
      context.network.use_way({peer.vtep, traffic}, *way);
    }
  }

  /// What both have said of their ends, or what is used of it, may have changed.
  void follow_ways(Peer& peer, Time now) {
    const policy::Conversation known = peer.negotiator.conversation(now);
    const policy::Side side = policy::side_of(context.host, peer.name);
    std::set<policy::IpAddress> addresses =
        addresses_of(known.at(policy::other(side)), ends.addresses());
    addresses.erase(peer.vtep);
    // An agent that has not heard yet keeps what was known before it was started.
    const bool has_heard = !known.at(policy::other(side)).ends.empty();
    if (has_heard && context.network.set_aliases(peer.vtep, std::move(addresses))) program_soon();
    if (!probing) return;
    std::vector<overlay::ProbedWay> ways =
        ways_of(known, side, ends.addresses(), peer.negotiator, fast());
    for (overlay::ProbedWay& way : ways) way.lane = peer.lanes.contains(way.pair);
    peer.unrouted.clear();
    std::erase_if(ways, [&](const overlay::ProbedWay& way) {
      if (ends.leaves_by_its_interface(way.pair)) return false;
      policy::PathReport report{.path = way.path};
      report.quality.out.reachable = policy::Reachability::no;
      peer.unrouted.push_back(std::move(report));
      return true;
    });
    if (ways == peer.ways) return;
    peer.ways = ways;
    probing->follow(peer.name, std::move(ways));
  }

  /// The aliases.
  void program_soon() {
    if (std::exchange(programs_soon, true)) return;
    aliases.expires_after(aliases_delay);
    aliases.async_wait([weak = weak_from_this()](boost::system::error_code failed) {
      auto self = weak.lock();
      if (failed || !self || self->ended) return;
      self->programs_soon = false;
      const Time begun = steady_now();
      self->context.network.reconcile();
      self->relaying->programmed();
      self->aliases_delay =
          std::max<Time::duration>(kAliasesDelay, (steady_now() - begun) * kAliasesShare);
    });
  }

  std::vector<policy::PathReport> reports_of(const Peer& peer) const {
    std::vector<policy::PathReport> reports;
    if (probing) reports = probing->reports(peer.name);
    reports.insert(reports.end(), peer.unrouted.begin(), peer.unrouted.end());
    std::ranges::move(relaying->reports(peer.name), std::back_inserter(reports));
    return reports;
  }

  policy::PerClass<bool> fast() const {
    policy::PerClass<bool> fast;
    for (const TrafficClass traffic : policy::kTrafficClasses) {
      fast[traffic] = fast_detection(context.database.contents(), traffic);
    }
    return fast;
  }

  void look_at_interfaces() {
    if (ends.look()) tell_offer();
  }

  void tell_offer() {
    for (auto& [name, peer] : peers) tell(*peer, overlay::OffersEnds{ends.offer().ends});
    connect_peers();
  }

  /// An interface that has lost its carrier is told of before anything else is asked for.
  void on_link_event(const overlay::LinkEvent& event) {
    if (!ends.may_change(event)) return;
    const auto* changed = std::get_if<overlay::LinkChanged>(&event);
    if (changed && !changed->link.carrier) lost_carrier(changed->link.name);
    look_at_interfaces();
  }

  void on_routes_changed() {
    if (!followed || !ends.has_choice()) return;
    look_at_interfaces();
    for (auto& [name, peer] : peers) {
      follow_ways(*peer, steady_now());
      if (probing) measured(name);  // what has no route any more
    }
  }

  void lost_carrier(const std::string& name) {
    if (!ends.lost_carrier(name)) return;
    tell_offer();
    ends.route();
  }

  asio::awaitable<void> keep_watching_carriers() {
    while (true) {
      // With one interface there is nothing to change over to.
      const bool choice = ends.offer().ends.size() > 1 && !peers.empty();
      co_await overlay::pause(choice ? kCarrierInterval : kMeasureInterval);
      if (ended) co_return;
      if (!choice) continue;
      for (const std::string& name : ends.without_carrier()) lost_carrier(name);
    }
  }

  asio::awaitable<void> keep_measuring() {
    std::string last;
    while (true) {
      co_await overlay::pause(kMeasureInterval / kMeasureParts);
      if (ended || !probing) co_return;
      for (std::size_t n = (peers.size() + kMeasureParts - 1) / kMeasureParts; n > 0; --n) {
        auto next = peers.upper_bound(last);
        if (next == peers.end()) next = peers.begin();
        last = next->first;
        measured(last);
      }
    }
  }

  asio::awaitable<void> keep_looking() {
    while (true) {
      co_await overlay::pause(kLookInterval);
      if (ended) co_return;
      if (!followed) continue;
      look_at_interfaces();
      review_peers();  // a device of an application is no change of the database
    }
  }

  void end() {
    ended = true;
    peers.clear();
    aliases.cancel();
    channels.reset();
    relaying.reset();
    probing.reset();
  }

  PathsSnapshot snapshot(const std::string& wanted) const {
    std::vector<PathEndSnapshot> told;
    for (const policy::PathEnd& end : ends.offer().ends) told.push_back({end, {}});
    for (const LeftOut& left : ends.offer().left_out) told.push_back({left.end, left.why});
    std::vector<PeerPathsSource> sources;
    const std::set<std::string> relays = relaying->relays();
    for (const auto& [name, peer] : peers) {
      const bool chosen = ends.has_choice() || relaying->has_relays(name) || relays.contains(name);
      if (!chosen && !channels->connected(name)) continue;
      PeerPathsSource source{.negotiator = peer->negotiator, .history = peer->history};
      source.connected = channels->connected(name);
      source.since = peer->disconnected;
      if (probing) {
        const overlay::ProbeTotals totals = probing->totals(name);
        source.probes_sent = totals.asked;
        source.probes_answered = totals.answered;
      }
      sources.push_back(source);
    }
    PathsSnapshot snapshot =
        paths_snapshot(std::move(told), sources, {steady_now(), system_now()}, wanted);
    snapshot.relaying = relaying->totals();
    return snapshot;
  }

  std::vector<PathEvent> events() const {
    std::vector<PathEvent> all;
    for (const auto& [name, peer] : peers) {
      std::ranges::move(path_events(peer->negotiator, peer->history), std::back_inserter(all));
    }
    return all;
  }

  Context context;
  bool ended = false;  ///< nothing of the context is to be used
  std::optional<PathChannels> channels;
  std::optional<Probing> probing;
  LaneFollowers lanes;
  std::optional<Relaying> relaying;
  Peers peers;
  bool followed = false;             ///< the database, for the first time
  std::uint64_t neighbors_seen = 0;  ///< VirtualNetwork::neighbors_version()
  OwnEnds ends;
  asio::steady_timer aliases;
  bool programs_soon = false;  ///< it runs
  Time::duration aliases_delay = kAliasesDelay;
};

PathControllers::PathControllers(Context context)
    : state_(std::make_shared<State>(std::move(context))) {
  state_->begin();
  for (auto keep : {&State::keep_measuring, &State::keep_looking, &State::keep_watching_carriers}) {
    overlay::spawn(state_->context.executor,
                   [](std::shared_ptr<State> self, auto what) -> asio::awaitable<void> {
                     co_await (*self.*what)();
                   }(state_, keep));
  }
}

PathControllers::~PathControllers() {
  state_->end();
}

void PathControllers::follow() {
  state_->follow();
}

void PathControllers::on_routes_changed() {
  state_->on_routes_changed();
}

void PathControllers::on_link_event(const overlay::LinkEvent& event) {
  state_->on_link_event(event);
}

asio::awaitable<void> PathControllers::serve(overlay::Channel channel) {
  return state_->channels->serve(std::move(channel));
}

migration::LanePaths& PathControllers::lane_paths() {
  return state_->lanes;
}

PathsSnapshot PathControllers::snapshot(const std::string& peer) const {
  return state_->snapshot(peer);
}

std::vector<PathEvent> PathControllers::events() const {
  return state_->events();
}

}  // namespace homeport::agent
