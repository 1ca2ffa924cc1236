#include "agent/paths/path_controllers.h"

#include "agent/control/path_policy.h"
#include "agent/network/underlay.h"
#include "agent/paths/path_channels.h"
#include "agent/paths/path_history.h"
#include "agent/paths/path_snapshot.h"
#include "agent/paths/probing.h"
#include "agent/paths/ways.h"
#include "overlay/link/ethtool.h"
#include "overlay/link/route.h"
#include "overlay/link/source_route.h"
#include "overlay/log/log.h"
#include "overlay/pause.h"
#include "overlay/spawn.h"

#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <net/if.h>
#include <algorithm>
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

Time steady_now() {
  return std::chrono::steady_clock::now();
}

SystemTime system_now() {
  return std::chrono::system_clock::now();
}

/// Greater each time a conversation is begun: PathNegotiator.
std::uint64_t epoch_now() {
  const auto since = system_now().time_since_epoch();
  return static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::microseconds>(since).count());
}

}  // namespace

struct PathControllers::State : std::enable_shared_from_this<State> {
  struct Peer {
    Peer(const Context& context, std::string host, policy::IpAddress at)
        : name(std::move(host)),
          vtep(std::move(at)),
          negotiator(context.host, name, epoch_now()),
          history(context.host, name),
          look(context.executor) {}

    std::string name;
    policy::IpAddress vtep;
    overlay::PathNegotiator negotiator;
    PathHistory history;
    asio::steady_timer look;
    std::optional<SystemTime> disconnected;  ///< none: never connected, or it is
    std::optional<Time> unneeded;            ///< since when it is not needed; none: it is
    policy::PathPolicy policy;
    std::vector<overlay::ProbedWay> ways;
    std::vector<policy::PathReport> unrouted;  ///< of those which nothing can be sent on
  };

  explicit State(Context c) : context(std::move(c)), aliases(context.executor) {}

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
              if (Peer* peer = find(host)) peer->disconnected = system_now();
              review_peers();
            },
        .heard = [this](const std::string& host,
                        overlay::PathStatement said) { heard(host, std::move(said)); }});
    auto wire = context.datapath.probe_wire();
    if (wire) {
      probing.emplace(context.executor, std::move(*wire),
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
    const std::set<policy::IpAddress> neighbors = context.network.neighbors();
    std::map<std::string, policy::IpAddress> hosts;
    for (const auto& [name, host] : context.database.contents().hosts) {
      const policy::IpAddress* vtep = vtep_towards(host, context.underlay.vtep);
      if (name == context.host || !vtep) continue;
      const bool needed = neighbors.contains(*vtep) || channels->called_by(name);
      if (needed || lingers(name, now)) hosts.emplace(name, *vtep);
      Peer* peer = find(name);
      if (peer && needed) peer->unneeded.reset();
    }
    return hosts;
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
    if (!looked) look_at_interfaces();
    if (!looked) return;
    const Changes& changes = context.database.changes();
    const bool first = !std::exchange(followed, true);
    const bool all = first || changes.all;
    auto concerns = [&](const char* table) { return all || changes.tables.contains(table); };
    if (concerns(Interface::kTable)) offer_again();
    if (concerns(PathPolicyRow::kTable)) ask_again();
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
  }

  /// A host that has no choice leaves it to those that have one: where neither has, there is
  /// nothing to negotiate.
  void connect_peers() {
    std::set<std::string> names;
    for (const auto& [name, peer] : peers) {
      if (has_choice) names.insert(name);
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
    if (probing) probing->forget(peer->first);
    if (context.network.forget_ways(peer->second->vtep)) program_soon();
    context.changed();
    return peers.erase(peer);
  }

  void begin_with(const std::string& name, const policy::IpAddress& vtep) {
    Peer& peer = *peers.emplace(name, std::make_unique<Peer>(context, name, vtep)).first->second;
    const policy::Side side = policy::side_of(context.host, name);
    overlay::FoundInUse found;
    for (const TrafficClass traffic : policy::kTrafficClasses) {
      auto way = context.network.ways().find({vtep, traffic});
      if (way == context.network.ways().end()) continue;
      const auto [local, remote] = way->second;
      if (!std::ranges::count(offer.ends, local, &policy::PathEnd::address)) {
        // Its interface has gone while there was no agent, and the peer may not say anything.
        context.network.use_way({vtep, traffic}, {context.underlay.vtep, vtep});
        continue;
      }
      const policy::PathId path = side == policy::Side::first ? policy::PathId{local, remote}
                                                              : policy::PathId{remote, local};
      found.paths[traffic] = path;
      peer.history.found(traffic, path);
    }
    tell(peer, std::move(found));
    context.changed();
    ask(peer);
    tell(peer, overlay::OffersEnds{offer.ends});
  }

  void connected(const std::string& host) {
    if (!find(host)) review_peers();
    Peer* peer = find(host);
    if (!peer) return;
    peer->disconnected.reset();
    tell(*peer, overlay::Connected{});
  }

  void heard(const std::string& host, overlay::PathStatement said) {
    if (Peer* peer = find(host)) tell(*peer, overlay::PeerSays{std::move(said)});
  }

  void measured(const std::string& host) {
    if (Peer* peer = find(host)) tell(*peer, overlay::HasMeasured{reports_of(*peer)});
  }

  void tell(Peer& peer, NegotiationEvent event) {
    const Time now = steady_now();
    const auto before = states_of(peer);
    NegotiationActions actions = peer.negotiator.on(std::move(event), now);
    for (const overlay::PathUse& use : actions.use) take(peer, use, now);
    if (!actions.use.empty() || states_of(peer) != before) context.changed();
    if (actions.say) channels->say(peer.name, *actions.say);
    follow_ways(peer, now);
    await_look(peer, actions.look_again);
  }

  static policy::PerClass<overlay::AgreementState> states_of(const Peer& peer) {
    policy::PerClass<overlay::AgreementState> states;
    for (const TrafficClass traffic : policy::kTrafficClasses) {
      states[traffic] = peer.negotiator.agreement(traffic).state();
    }
    return states;
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
    const policy::Side side = policy::side_of(context.host, peer.name);
    Way way{context.underlay.vtep, peer.vtep};
    if (use.path) way = {use.path->at(side), use.path->at(policy::other(side))};
    context.network.use_way({peer.vtep, use.traffic}, way);
    peer.history.changed({now, system_now()}, use, peer.negotiator);
    log::info({{"host", peer.name}}, "{}", peer.history.recent().back().text);
  }

  /// What both have said of their ends, or what is used of it, may have changed.
  void follow_ways(Peer& peer, Time now) {
    const policy::Conversation known = peer.negotiator.conversation(now);
    const policy::Side side = policy::side_of(context.host, peer.name);
    std::set<policy::IpAddress> addresses = addresses_of(known.at(policy::other(side)), own);
    addresses.erase(peer.vtep);
    // An agent that has not heard yet keeps what was known before it was started.
    const bool has_heard = !known.at(policy::other(side)).ends.empty();
    if (has_heard && context.network.set_aliases(peer.vtep, std::move(addresses))) program_soon();
    if (!probing) return;
    std::vector<overlay::ProbedWay> ways = ways_of(known, side, own, peer.negotiator, fast());
    peer.unrouted.clear();
    std::erase_if(ways, [&](const overlay::ProbedWay& way) {
      if (leaves_by_its_interface(way.pair)) return false;
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
      self->aliases_delay =
          std::max<Time::duration>(kAliasesDelay, (steady_now() - begun) * kAliasesShare);
    });
  }

  std::vector<policy::PathReport> reports_of(const Peer& peer) const {
    std::vector<policy::PathReport> reports = probing->reports(peer.name);
    reports.insert(reports.end(), peer.unrouted.begin(), peer.unrouted.end());
    return reports;
  }

  /// Whether what is sent from the one address to the other leaves by the interface that has the
  /// former: by another it may not come back, or be dropped for its source (BCP 38).
  bool leaves_by_its_interface(const overlay::ProbePair& pair) {
    auto [known, is_new] = routed.try_emplace(pair, false);
    if (!is_new) return known->second;
    auto end = std::ranges::find(offer.ends, pair.local, &policy::PathEnd::address);
    if (end == offer.ends.end()) return false;
    auto taken = overlay::find_route(pair.remote, pair.local);
    const auto device = static_cast<int>(::if_nametoindex(end->interface.c_str()));
    known->second = taken && device != 0 && taken->device == device;
    return known->second;
  }

  policy::PerClass<bool> fast() const {
    policy::PerClass<bool> fast;
    for (const TrafficClass traffic : policy::kTrafficClasses) {
      fast[traffic] = fast_detection(context.database.contents(), traffic);
    }
    return fast;
  }

  void look_at_interfaces() {
    auto here = interfaces_of(context.host);
    if (!here) {
      log::warn("{}", here.error().message);
      return;
    }
    interfaces = std::move(*here);
    own.clear();
    for (const Interface& each : interfaces) own.insert(each.address);
    looked = true;
    routed.clear();  // routes are looked at as often
    bool other = make_offer();
    if (has_choice) other = look_at_default_routes() || other;
    route_by_source();  // of which other tables may have changed, too
    if (other) tell_offer();
  }

  /// Reads the main table, which may be long: only where there is a choice. True as make_offer().
  bool look_at_default_routes() {
    auto leave = overlay::default_route_devices();
    if (!leave) {
      log::warn("{}", leave.error().message);
      return false;
    }
    default_routes = std::move(*leave);
    return make_offer();
  }

  /// After what it is made from has changed, or may have. True if that makes a difference to peers.
  bool make_offer() {
    Offer now = offer_of(interfaces, context.database.contents().interfaces, context.underlay,
                         default_routes);
    const bool other = now.ends != offer.ends;
    offer = std::move(now);
    has_choice = has_choice || offer.ends.size() > 1;
    return other;
  }

  void tell_offer() {
    for (auto& [name, peer] : peers) tell(*peer, overlay::OffersEnds{offer.ends});
    connect_peers();
  }

  void offer_again() {
    if (!make_offer()) return;
    route_by_source();
    tell_offer();
  }

  /// With one interface there is nothing to choose from, and the host's routing is left alone.
  void route_by_source() {
    std::vector<overlay::LinkAddress> addresses;
    for (const policy::PathEnd& end : offer.ends) {
      const auto index = static_cast<int>(::if_nametoindex(end.interface.c_str()));
      if (index != 0) addresses.push_back({index, end.address, 0});
    }
    if (!has_choice) return;
    auto kept = overlay::keep_source_routes({}, addresses);
    if (kept && *kept) routed.clear();
    const std::string problem = kept ? std::string() : kept.error().message;
    if (problem == std::exchange(routing_problem, problem) || problem.empty()) return;
    log::warn("{}", problem);
  }

  /// An interface that has lost its carrier is told of before anything else is asked for.
  void on_link_event(const overlay::LinkEvent& event) {
    if (!may_change(interfaces, event)) return;
    const auto* changed = std::get_if<overlay::LinkChanged>(&event);
    if (changed && !changed->link.carrier) lost_carrier(changed->link.name);
    look_at_interfaces();
  }

  void on_routes_changed() {
    if (!followed || !has_choice) return;
    look_at_interfaces();
    for (auto& [name, peer] : peers) {
      follow_ways(*peer, steady_now());
      if (probing) measured(name);  // what has no route any more
    }
  }

  void lost_carrier(const std::string& name) {
    for (Interface& each : interfaces) {
      if (each.name == name) each.state = LinkState::down;
    }
    if (!make_offer()) return;
    tell_offer();
    route_by_source();
  }

  asio::awaitable<void> keep_watching_carriers() {
    while (true) {
      // With one interface there is nothing to change over to.
      const bool choice = offer.ends.size() > 1 && !peers.empty();
      co_await overlay::pause(choice ? kCarrierInterval : kMeasureInterval);
      if (ended) co_return;
      if (!choice) continue;
      std::set<std::string> names;
      for (const policy::PathEnd& end : offer.ends) names.insert(end.interface);
      for (const std::string& name : names) {
        auto carrier = overlay::has_carrier(name);
        if (carrier && !*carrier) lost_carrier(name);
      }
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
    probing.reset();
  }

  PathsSnapshot snapshot(const std::string& wanted) const {
    std::vector<PathEndSnapshot> ends;
    for (const policy::PathEnd& end : offer.ends) ends.push_back({end, {}});
    for (const LeftOut& left : offer.left_out) ends.push_back({left.end, left.why});
    std::vector<PeerPathsSource> sources;
    for (const auto& [name, peer] : peers) {
      if (!has_choice && !channels->connected(name)) continue;
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
    return paths_snapshot(std::move(ends), sources, {steady_now(), system_now()}, wanted);
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
  Peers peers;
  bool followed = false;              ///< the database, for the first time
  std::uint64_t neighbors_seen = 0;   ///< VirtualNetwork::neighbors_version()
  std::vector<Interface> interfaces;  ///< of this host, as the kernel had them last
  std::set<policy::IpAddress> own;    ///< their addresses
  std::set<std::string> default_routes;
  bool looked = false;
  std::map<overlay::ProbePair, bool> routed;  ///< See leaves_by_its_interface().
  Offer offer;
  asio::steady_timer aliases;
  bool programs_soon = false;  ///< it runs
  Time::duration aliases_delay = kAliasesDelay;
  bool has_choice = false;  ///< This host has had more than one interface to offer.
  std::string routing_problem;
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

PathsSnapshot PathControllers::snapshot(const std::string& peer) const {
  return state_->snapshot(peer);
}

std::vector<PathEvent> PathControllers::events() const {
  return state_->events();
}

}  // namespace homeport::agent
