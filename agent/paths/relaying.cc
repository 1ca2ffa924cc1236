#include "agent/paths/relaying.h"

#include "agent/paths/label_book.h"
#include "agent/paths/leg.h"
#include "agent/paths/relay_choice.h"
#include "overlay/log/log.h"
#include "overlay/negotiation/relay_talk.h"
#include "policy/path/legs.h"

#include <boost/asio/steady_timer.hpp>

#include <algorithm>
#include <chrono>
#include <utility>

namespace homeport::agent {

namespace asio = boost::asio;
using overlay::RelayAnswer;
using overlay::RelayAsk;
using overlay::RelayTalk;
using policy::PathId;
using policy::PathReport;
using policy::Time;
using policy::Vni;

namespace {

constexpr overlay::SpeakerTimes kTimes{.sign_of_life = policy::Micros(5'000'000)};
/// As PathNegotiator believes what a peer has measured: it is told again more often.
constexpr policy::Micros kFreshFor{45'000'000};
/// Labels that an earlier agent has given out are kept so long for hosts that have not asked again.
constexpr std::chrono::minutes kAdoptedFor{5};
/// How often it is looked for those that nobody wants any more.
constexpr std::chrono::seconds kBookInterval{30};

Time steady_now() {
  return std::chrono::steady_clock::now();
}

}  // namespace

struct Relaying::State : std::enable_shared_from_this<State> {
  explicit State(Context c) : context(std::move(c)), timer(context.executor), begun(steady_now()) {}

  RelayTalk& talk_with(const std::string& peer) {
    const overlay::PathNegotiator* negotiator = context.negotiator(peer);
    return talks.try_emplace(peer, negotiator ? negotiator->epoch() : 1, kTimes).first->second;
  }

  const policy::IpAddress* vtep_of(const std::string& host) const {
    const auto& hosts = context.database.contents().hosts;
    auto row = hosts.find(host);
    return row == hosts.end() ? nullptr : vtep_towards(row->second, context.vtep);
  }

  // As one end.

  void choose() {
    const auto before = std::exchange(relays, {});
    if (choice.empty() && before.empty()) return;
    for (const auto& [host, vnis] : networks) {
      relays[host] = choice.between(context.host, host);
      auto same = before.find(host);
      if (same == before.end() || same->second != relays[host]) changed.insert(host);
    }
    if (!changed.empty()) wake();
  }

  void ask() {
    std::map<std::string, std::vector<RelayAsk>> asks;
    for (const auto& [relay, talk] : talks) asks[relay];
    for (const auto& [host, through] : relays) {
      const std::set<Vni>& vnis = networks.at(host);
      for (const std::string& relay : through) {
        asks[relay].push_back({host, {vnis.begin(), vnis.end()}});
      }
    }
    for (auto& [relay, of_it] : asks) {
      // To others nothing can be said yet.
      if (context.negotiator(relay)) talk_with(relay).ask(std::move(of_it));
    }
    wake();
  }

  bool leads_through(const Way& way, const std::string& relay) const {
    if (!way.relayed) return false;
    const policy::IpAddress* vtep = vtep_of(relay);
    return vtep && context.network.has_address(*vtep, way.remote);
  }

  /// By which traffic to that host goes through that one as it is programmed; nullptr: it does not.
  const Way* way_in_use(const std::string& host, const std::string& relay) const {
    const policy::IpAddress* vtep = vtep_of(host);
    if (!vtep) return nullptr;
    for (const policy::TrafficClass traffic : policy::kTrafficClasses) {
      auto way = context.network.ways().find({*vtep, traffic});
      if (way == context.network.ways().end()) continue;
      if (leads_through(way->second, relay)) return &way->second;
    }
    return nullptr;
  }

  /// A path to a host through another.
  struct Through {
    PathReport report;
    Way way;
  };

  std::optional<Through> through(const std::string& host, const std::string& relay,
                                 Time now) const {
    auto near = legs.find(relay);
    auto talk = talks.find(relay);
    auto vnis = networks.find(host);
    if (near == legs.end() || talk == talks.end() || vnis == networks.end()) return std::nullopt;
    const auto told = talk->second.told_of(host, now, kFreshFor);
    if (!told || !told->refusal.empty() || !told->way) return std::nullopt;
    Through result;
    for (const Vni vni : vnis->second) {
      auto label = told->labels.find(vni);
      if (label != told->labels.end()) result.way.labels.push_back({vni, label->second});
    }
    // For a network that has just come the label follows, which is no reason to leave the path.
    const bool complete = result.way.labels.size() == vnis->second.size();
    if (!complete && (result.way.labels.empty() || !way_in_use(host, relay))) return std::nullopt;

    const policy::Side here = policy::side_of(context.host, relay);
    const policy::IpAddress& mine = near->second.report.path.at(here);
    const policy::IpAddress& theirs = told->way->path.at(policy::side_of(host, relay));
    result.way.local = mine;
    result.way.remote = near->second.report.path.at(policy::other(here));
    result.way.relayed = true;
    const bool first = policy::side_of(context.host, host) == policy::Side::first;
    result.report.path = {first ? mine : theirs, first ? theirs : mine, relay};
    const PathReport own = near->second.at(now);
    result.report.quality = policy::one_after_the_other(own.quality, told->way->quality);
    result.report.age = std::max(own.age, told->way->age);
    return result;
  }

  bool is_relay_for(const std::string& host, const std::string& relay) const {
    auto of_host = relays.find(host);
    return of_host != relays.end() && std::ranges::count(of_host->second, relay) > 0;
  }

  std::optional<Way> way_through(const std::string& host, const std::string& relay) const {
    if (!is_relay_for(host, relay)) return std::nullopt;
    if (auto found = through(host, relay, steady_now())) return std::move(found->way);
    return is_adopted(host, relay) ? std::optional(*way_in_use(host, relay)) : std::nullopt;
  }

  /// What was in use when this agent was started, and of which it does not know enough yet.
  bool is_adopted(const std::string& host, const std::string& relay) const {
    if (!is_relay_for(host, relay) || !way_in_use(host, relay)) return false;
    auto talk = talks.find(relay);
    return !legs.contains(relay) || talk == talks.end() ||
           !talk->second.told_of(host, steady_now(), kFreshFor);
  }

  std::vector<PathReport> reports(const std::string& host, Time now) const {
    std::vector<PathReport> reports;
    std::set<std::string> carrying;
    if (auto of_host = relays.find(host); of_host != relays.end()) {
      for (const std::string& relay : of_host->second) {
        auto found = through(host, relay, now);
        if (!found) continue;
        reports.push_back(std::move(found->report));
        carrying.insert(relay);
      }
    }
    const overlay::PathNegotiator* negotiator = context.negotiator(host);
    if (!negotiator) return reports;
    for (const PathId& path :
         relayed_paths(*negotiator, policy::side_of(context.host, host), now)) {
      if (carrying.contains(path.relay)) continue;
      PathReport report{.path = path};
      if (!is_adopted(host, path.relay)) {
        report.quality.out.reachable = policy::Reachability::no;
      }
      reports.push_back(std::move(report));
    }
    return reports;
  }

  // As the one that relays.

  /// What an earlier agent of this host has given out.
  void adopt() {
    if (std::exchange(adopted, true)) return;
    if (context.relays) {
      book.adopt(context.network.relays());
      note_programmed();
    } else {
      follow_book();
    }
  }

  void note_programmed() {
    ready.clear();
    for (const overlay::RelayEntry& entry : context.network.relays()) ready.insert(entry.label);
  }

  void follow_book() {
    if (context.network.set_relays(book.entries())) context.program();
  }

  void give_labels(const std::string& peer, const std::vector<RelayAsk>& asks) {
    const policy::IpAddress* from = vtep_of(peer);
    if (!from || !context.relays) return;
    std::set<LabelMeaning> meanings;
    for (const RelayAsk& ask : asks) {
      const policy::IpAddress* to = vtep_of(ask.host);
      if (!to || ask.host == peer || ask.host == context.host) continue;
      for (const Vni vni : ask.networks) meanings.insert({*from, *to, vni});
    }
    book.want(*from, meanings, steady_now());
    follow_book();
  }

  RelayAnswer answer_to(const std::string& peer, const RelayAsk& ask, Time now) const {
    RelayAnswer answer{.host = ask.host};
    const policy::IpAddress *from = vtep_of(peer), *to = vtep_of(ask.host);
    if (!context.relays) {
      answer.refusal = "it does not relay";
    } else if (!from || !to || ask.host == peer || ask.host == context.host) {
      answer.refusal = "it does not know both hosts";
    }
    if (!answer.refusal.empty()) return answer;
    for (const Vni vni : ask.networks) {
      const auto label = book.label_of({*from, *to, vni});
      if (!label) {
        answer.refusal = "it has given out as many labels as it may";
        answer.labels.clear();
        return answer;
      }
      if (ready.contains(*label)) answer.labels.emplace(vni, *label);
    }
    if (auto leg = legs.find(ask.host); leg != legs.end()) answer.way = leg->second.at(now);
    return answer;
  }

  void answer(const std::string& peer, RelayTalk& talk, Time now) {
    stale.erase(peer);
    if (!talk.asked()) return;
    std::vector<RelayAnswer> answers;
    for (const RelayAsk& ask : *talk.asked()) answers.push_back(answer_to(peer, ask, now));
    talk.answer(std::move(answers), now);
  }

  bool asks_about(const RelayTalk& talk, const std::string& host) const {
    return talk.asked() && std::ranges::count(*talk.asked(), host, &RelayAsk::host) > 0;
  }

  // Both.

  bool concerns_anybody() const { return context.relays || !choice.empty(); }

  /// How the path to that peer is.
  void look_at_leg(const std::string& peer) {
    const overlay::PathNegotiator* negotiator = context.negotiator(peer);
    const policy::IpAddress* vtep = vtep_of(peer);
    if (!negotiator || !vtep || !concerns_anybody()) return;
    const Time now = steady_now();
    auto leg = leg_of(*negotiator, policy::side_of(context.host, peer), {context.vtep, *vtep}, now);
    if (!leg) return;
    auto before = legs.find(peer);
    const bool is_news =
        before == legs.end() || before->second.report.path != leg->report.path ||
        policy::differ_materially(before->second.report.quality, leg->report.quality);
    legs.insert_or_assign(peer, *std::move(leg));
    for (auto& [other, talk] : talks) {
      if (!asks_about(talk, peer)) continue;
      stale.insert(other);
      if (is_news) answer(other, talk, now);
    }
    if (!is_news) return;
    for (const auto& [host, through] : relays) {
      if (std::ranges::count(through, peer) > 0) changed.insert(host);
    }
    wake();
  }

  void heard(const std::string& peer, overlay::RelayStatement statement) {
    RelayTalk& talk = talk_with(peer);
    const auto asked_before = talk.asked();
    if (talk.heard(std::move(statement), steady_now())) {
      if (talk.asked() != asked_before) give_labels(peer, *talk.asked());
      answer(peer, talk, steady_now());
      for (const auto& [host, through] : relays) {
        if (std::ranges::count(through, peer) > 0) changed.insert(host);
      }
    }
    wake();
  }

  void forget(const std::string& peer) {
    talks.erase(peer);
    legs.erase(peer);
    stale.erase(peer);
    if (const policy::IpAddress* vtep = vtep_of(peer)) {
      book.want(*vtep, {}, steady_now());
      wake();
    }
  }

  /// Of hosts that are in the database no more, and of those that have asked an earlier agent and
  /// have not come back for a while.
  void forget_strangers(Time now) {
    std::set<policy::IpAddress> known;
    for (const auto& [name, host] : context.database.contents().hosts) {
      if (now - begun >= kAdoptedFor && !talks.contains(name)) continue;
      known.insert(host.vteps.begin(), host.vteps.end());
    }
    for (const policy::IpAddress& from : book.askers()) {
      if (!known.contains(from)) book.want(from, {}, now);
    }
  }

  void wake() { wake_at(Time::min()); }

  void wake_at(Time at) {
    timer.expires_at(at);
    if (at == Time::max()) return;
    timer.async_wait([weak = weak_from_this()](boost::system::error_code moved) {
      auto self = weak.lock();
      if (!moved && self && !self->ended) self->look();
    });
  }

  /// Tells of what has changed, and says what is due.
  void look() {
    const Time now = steady_now();
    for (const std::string& host : std::exchange(changed, {})) context.news(host);
    Time next = Time::max();
    for (auto& [peer, talk] : talks) {
      if (talk.due() <= now && stale.contains(peer)) answer(peer, talk, now);
      if (auto statement = talk.speak(now)) context.say(peer, *statement);
      next = std::min(next, talk.due());
    }
    if (now >= look_at_book && !book.empty()) {
      look_at_book = now + kBookInterval;
      forget_strangers(now);
      if (book.look(now)) follow_book();
    }
    if (!book.empty()) next = std::min(next, look_at_book);
    wake_at(changed.empty() ? next : Time::min());
  }

  Context context;
  asio::steady_timer timer;
  Time begun;
  bool ended = false;
  RelayChoice choice;
  std::map<std::string, std::set<Vni>> networks;           ///< in common, by host
  std::map<std::string, std::vector<std::string>> relays;  ///< that are asked, by host
  std::map<std::string, RelayTalk> talks;                  ///< by peer
  std::map<std::string, Leg> legs;                         ///< by peer
  LabelBook book;
  Time look_at_book{};
  bool adopted = false;
  std::set<Vni> ready;            ///< labels that the datapath knows
  std::set<std::string> stale;    ///< peers whose answers are to be made again before they are told
  std::set<std::string> changed;  ///< hosts of which there is news
};

Relaying::Relaying(Context context) : state_(std::make_shared<State>(std::move(context))) {}

Relaying::~Relaying() {
  state_->ended = true;
  state_->timer.cancel();
}

void Relaying::follow_hosts() {
  State& state = *state_;
  state.adopt();
  state.choice = RelayChoice::of(state.context.database.contents().hosts, state.context.vtep);
  for (auto& [peer, talk] : state.talks) {
    if (talk.asked()) state.give_labels(peer, *talk.asked());
    state.answer(peer, talk, steady_now());
  }
  state.wake();
}

void Relaying::follow_networks(std::map<std::string, std::set<Vni>> of_hosts) {
  std::erase_if(of_hosts, [](const auto& item) { return item.second.empty(); });
  state_->networks = std::move(of_hosts);
  state_->choose();
}

std::set<std::string> Relaying::relays() const {
  std::set<std::string> hosts;
  for (const auto& [host, through] : state_->relays) hosts.insert(through.begin(), through.end());
  return hosts;
}

bool Relaying::has_relays(const std::string& host) const {
  auto through = state_->relays.find(host);
  return through != state_->relays.end() && !through->second.empty();
}

bool Relaying::is_asked_by(const std::string& peer) const {
  auto talk = state_->talks.find(peer);
  return talk != state_->talks.end() && talk->second.asked() && !talk->second.asked()->empty();
}

void Relaying::follow_peers() {
  if (!state_->choice.empty() || !state_->talks.empty()) state_->ask();
}

void Relaying::connected(const std::string& peer) {
  auto talk = state_->talks.find(peer);
  if (talk == state_->talks.end()) return;
  talk->second.connected();
  state_->wake();
}

void Relaying::heard(const std::string& peer, overlay::RelayStatement statement) {
  state_->heard(peer, std::move(statement));
}

void Relaying::followed(const std::string& peer) {
  state_->look_at_leg(peer);
}

void Relaying::forget(const std::string& peer) {
  state_->forget(peer);
}

void Relaying::programmed() {
  State& state = *state_;
  if (!state.adopted || !state.context.relays) return;
  const std::set<Vni> before = state.ready;
  state.note_programmed();
  if (state.ready == before) return;
  for (auto& [peer, talk] : state.talks) state.answer(peer, talk, steady_now());
  state.wake();
}

std::vector<PathReport> Relaying::reports(const std::string& peer) const {
  return state_->reports(peer, steady_now());
}

std::optional<Way> Relaying::way_of(const std::string& peer, const PathId& path) const {
  return state_->way_through(peer, path.relay);
}

std::string Relaying::relay_of(const Way& way) const {
  for (const auto& [name, host] : state_->context.database.contents().hosts) {
    if (state_->leads_through(way, name)) return name;
  }
  return {};
}

RelayingSnapshot Relaying::totals() const {
  return {state_->book.askers().size(), state_->book.wanted()};
}

}  // namespace homeport::agent
