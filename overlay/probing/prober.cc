#include "overlay/probing/prober.h"

#include "overlay/probing/pace.h"
#include "overlay/probing/way.h"

#include <algorithm>
#include <chrono>
#include <iterator>
#include <map>
#include <optional>
#include <set>
#include <utility>

namespace homeport::overlay {

using policy::Micros;
using policy::Time;

namespace {

// So that a great many do not go out in one burst, which would be lost and delay traffic.
constexpr std::size_t kMostAsks = 64;
constexpr Micros kNextAsks{1'000};
// A look that is later than this is a time in which nobody was there.
constexpr Micros kPunctual{5'000};
// What the peers ask is looked at now and then, and while an answer is overdue: if they are heard
// it is the way to them that fails.
constexpr Micros kHeardPoll{2'000'000};
constexpr Micros kHeardPollInNeed{50'000};
// With no traffic it is looked for less often.
constexpr int kIdlePolls = 4;

// Failures of a moment, or of this host's, which say nothing of the way.
bool of_the_moment(const policy::Error& error) {
  namespace errc = boost::system::errc;
  for (errc::errc_t code :
       {errc::resource_unavailable_try_again, errc::operation_would_block, errc::no_buffer_space,
        errc::not_enough_memory, errc::interrupted, errc::message_size}) {
    if (error.code == code) return true;
  }
  return false;
}

}  // namespace

ProbeTimes ProbeTimes::fast_profile() {
  ProbeTimes times{.poll = Micros(5'000),
                   .quiet = Micros(8'000),
                   .quick = Micros(5'000),
                   .rapid = Micros(4'000)};
  times.limits.dead_after = Micros(30'000);
  return times;
}

// A way, and what the prober has to do with it.
struct Prober::Followed : Way {
  Followed(std::uint64_t of_id, std::string of_peer, const ProbedWay& what,
           const ProbeSettings& settings, Time now, ProbeRandom& random)
      : Way(what, settings, now, random), id(of_id), peer(std::move(of_peer)) {}

  const std::uint64_t id;
  const std::string peer;
  Time due = Time::max();
  bool touched = false;
  bool was_dead = false, owed = false, had_frames = false,
       flowed = false;        // at the last look at it
  std::uint64_t told_of = 0;  // the round of used() that did
};

Prober::Prober(ProbeSettings settings, std::uint64_t seed)
    : settings_(settings), random_(seed), closely_left_(settings.most_closely) {}
Prober::~Prober() = default;

void Prober::follow(const std::string& peer, std::vector<ProbedWay> ways, Time now) {
  if (ways.size() > policy::kMostPaths) ways.resize(policy::kMostPaths);
  Peer& known = peers_[peer];
  std::vector<std::unique_ptr<Followed>> before = std::exchange(known.ways, {});
  std::vector<Followed*> added;
  bool another_carries = false;
  for (const ProbedWay& what : ways) {
    const auto found = std::find_if(before.begin(), before.end(), [&](const auto& way) {
      return way && way->what().path == what.path && way->what().pair == what.pair;
    });
    if (found != before.end()) {
      (*found)->set_what(what);
      another_carries |= (*found)->measured(now);
      known.ways.push_back(std::move(*found));
    } else {
      known.ways.push_back(
          std::make_unique<Followed>(++last_id_, peer, what, settings_, now, random_));
      by_pair_.emplace(what.pair, known.ways.back().get());
      added.push_back(known.ways.back().get());
    }
  }
  // An interface that has come back may be heard at the other host before its own neighbors are
  // resolved again, which takes a second: what this host sends by it is lost until then.
  if (another_carries) {
    for (Followed* way : added) way->begin_down();
  }
  for (const auto& way : before) {
    if (!way) continue;
    drop(*way);
    left_.insert(peer);
  }
  std::erase_if(in_use_, [&](const Followed* way) { return way->peer == peer; });
  for (const auto& way : known.ways) {
    if (way->what().in_use) in_use_.push_back(way.get());
    const auto ends_there = [&](const auto& other) {
      return other->what().in_use && other->what().pair.remote == way->what().pair.remote;
    };
    way->set_alone_at_remote(std::count_if(known.ways.begin(), known.ways.end(), ends_there) <= 1);
  }
  recount(now);
  for (const auto& way : known.ways) schedule(*way, now);
}

void Prober::forget(const std::string& peer) {
  const auto found = peers_.find(peer);
  if (found == peers_.end()) return;
  for (const auto& way : found->second.ways) drop(*way);
  peers_.erase(found);
  left_.erase(peer);
  recount_ = true;
}

// From everywhere but its peer.
void Prober::drop(Followed& way) {
  due_.erase({way.due, way.id});
  const auto [begin, end] = by_pair_.equal_range(way.what().pair);
  by_pair_.erase(std::find_if(begin, end, [&](const auto& entry) { return entry.second == &way; }));
  std::erase(touched_, &way);
  std::erase(in_use_, &way);
}

void Prober::touch(Followed& way) {
  if (!way.touched) touched_.push_back(&way);
  way.touched = true;
}

void Prober::answered(const ProbeAnswer& answer) {
  const auto [begin, end] = by_pair_.equal_range(answer.pair);
  for (auto entry = begin; entry != end; ++entry) {
    Followed& way = *entry->second;
    if (!way.answered(answer)) continue;
    ++peers_[way.peer].totals.answered;
    return touch(way);
  }
}

void Prober::heard(std::span<const ProbesHeard> heard) {
  heard_told_ = true;
  for (const ProbesHeard& each : heard) {
    const auto [begin, end] = by_pair_.equal_range(each.pair);
    for (auto entry = begin; entry != end; ++entry) {
      if (entry->second->heard(each.last)) touch(*entry->second);
    }
  }
}

void Prober::used(std::span<const WayUsed> used, Time now) {
  used_at_ = now;
  ++used_round_;
  for (const WayUsed& each : used) {
    const auto [begin, end] = by_pair_.equal_range(each.pair);
    for (auto entry = begin; entry != end; ++entry) {
      Followed& way = *entry->second;
      way.used(each, now);
      way.told_of = used_round_;
      if (way.had_frames || way.has_frames(now)) touch(way);
    }
  }
  for (Followed* way : in_use_) {
    if (way->told_of == used_round_) continue;
    way->not_told_of();
    touch(*way);
  }
}

void Prober::carried(const ProbePair& pair, Time last) {
  const auto [begin, end] = by_pair_.equal_range(pair);
  for (auto entry = begin; entry != end; ++entry) {
    Followed& way = *entry->second;
    if (!way.what().path.relay.empty()) continue;
    way.carried(last);
    touch(way);
  }
}

void Prober::refused(const ProbeAsk& ask, const policy::Error& error, Time now) {
  const auto [begin, end] = by_pair_.equal_range(ask.pair);
  for (auto entry = begin; entry != end; ++entry) {
    const bool too_big = error.code == boost::system::errc::message_size;
    entry->second->refused(ask.token, too_big, !of_the_moment(error), now);
    touch(*entry->second);
  }
}

void Prober::transferred(const std::string& peer, const ProbePair& pair, std::uint64_t bytes,
                         policy::Micros duration, bool backlogged, Time now) {
  const auto [begin, end] = by_pair_.equal_range(pair);
  for (auto entry = begin; entry != end; ++entry) {
    Followed& way = *entry->second;
    if (way.peer != peer || !way.what().path.relay.empty()) continue;
    way.transferred(now, bytes, duration, backlogged);
    touch(way);
  }
}

Prober::Look Prober::look(Time now) {
  excuse_absence(now);
  allow_closely(now);
  Look look;
  for (const std::string& peer : std::exchange(left_, {})) look.news.push_back(peer);
  for (Followed* way : std::exchange(touched_, {})) {
    way->touched = false;
    judge(*way, now, look);
    schedule(*way, now);
  }
  while (!due_.empty() && due_.begin()->first.first <= now && look.asks.size() < kMostAsks) {
    Followed& way = *due_.begin()->second;
    const bool closely = way.asked_closely(now);
    if (auto ask = way.ask(now, pace_, random_)) {
      look.asks.push_back(*ask);
      ++peers_[way.peer].totals.asked;
      if (closely) --closely_left_;
    }
    judge(way, now, look);
    // One ask of a way at a look.
    schedule(way, now, now + kNextAsks);
  }
  if (recount_) recount(now);
  std::sort(look.news.begin(), look.news.end());
  look.news.erase(std::unique(look.news.begin(), look.news.end()), look.news.end());
  plan(now, look);
  promised_ = look.again;
  return look;
}

// What was sent and not answered while nobody was there to see may have been answered.
void Prober::excuse_absence(Time now) {
  if (promised_ == Time::max() || now - promised_ <= kPunctual) return;
  const auto absence = std::chrono::duration_cast<Micros>(now - promised_);
  for (const auto& [name, peer] : peers_) {
    for (const auto& way : peer.ways) way->stood_still(now, absence);
  }
}

void Prober::judge(Followed& way, Time now, Look& look) {
  const bool dead = way.dead(now), owes = way.owes(now), flows = way.flows(now);
  if (owes && !way.owed && !dead) {
    heard_at_ = Time();
    if (way.what().in_use) hasten_others(way, now);
  }
  const bool has_frames = way.has_frames(now);
  recount_ |= dead != way.was_dead || owes != way.owed || has_frames != way.had_frames ||
              flows != way.flowed;
  way.was_dead = dead;
  way.owed = owes;
  way.had_frames = has_frames;
  way.flowed = flows;
  if (way.has_news(now)) look.news.push_back(way.peer);
}

void Prober::schedule(Followed& way, Time now, Time soonest) {
  due_.erase({way.due, way.id});
  way.due = std::max(way.next(now, pace_), soonest);
  due_.emplace(std::pair(way.due, way.id), &way);
}

void Prober::hasten_others(const Followed& failing, Time now) {
  for (const auto& other : peers_[failing.peer].ways) {
    if (other.get() == &failing) continue;
    other->hasten(now);
    schedule(*other, now);
  }
}

void Prober::recount(Time now) {
  ProbeLoad load;
  any_frames_ = any_fast_ = any_owes_ = false;
  for (const auto& [name, peer] : peers_) {
    for (const auto& way : peer.ways) {
      const bool dead = way->dead(now), flows = way->flows(now);
      ++(dead ? load.dead : load.settled);
      if (flows) {
        (way->what().watched ? load.watched : load.flowing) += 2 * ask_bytes(way->what().pair);
      }
      if (!dead) load.mtus += way->what().mtu;
      any_frames_ |= way->has_frames(now);
      any_fast_ |= way->what().in_use && way->what().fast;
      any_owes_ |= !dead && way->owes(now);
    }
  }
  pace_ = pace(load, settings_);
  allow_closely(now);
  recount_ = false;
}

// When nothing is left, watching has to do.
void Prober::allow_closely(Time now) {
  const std::chrono::duration<double> since = std::max(now - closely_at_, Time::duration(0));
  const double bytes = since.count() * static_cast<double>(closely_budget(settings_));
  const double asks = bytes / static_cast<double>(2 * settings_.ask_bytes);
  closely_left_ = std::min(closely_left_ + asks, settings_.most_closely);
  closely_at_ = now;
  pace_.closely =
      closely_left_ >= 1 ? settings_.closely : std::max(settings_.closely, pace_.watched);
}

void Prober::plan(Time now, Look& look) {
  const Time soonest = now + kNextAsks;
  if (!due_.empty()) look.again = std::max(due_.begin()->first.first, soonest);
  if (peers_.empty()) return;
  if (std::exchange(heard_told_, false)) heard_at_ = now;
  const Time heard_due = heard_at_ + (any_owes_ ? kHeardPollInNeed : kHeardPoll);
  look.again = std::min(look.again, std::max(heard_due, soonest));
  Time used_due = Time::max();
  if (!in_use_.empty()) {
    const Micros poll = (any_fast_ ? settings_.fast : settings_.ordinary).poll;
    used_due = used_at_ + (any_frames_ ? poll : kIdlePolls * poll);
    look.again = std::min(look.again, std::max(used_due, soonest));
  }
  look.poll_heard = heard_due <= look.again;
  look.poll_carried = any_owes_;
  look.poll_used = used_due <= look.again;
}

std::vector<policy::PathReport> Prober::reports(const std::string& peer, Time now) const {
  std::vector<policy::PathReport> reports;
  const auto found = peers_.find(peer);
  if (found == peers_.end()) return reports;
  for (const auto& way : found->second.ways) reports.push_back(way->report(now));
  return reports;
}

ProbeTotals Prober::totals(const std::string& peer) const {
  const auto found = peers_.find(peer);
  return found == peers_.end() ? ProbeTotals() : found->second.totals;
}

}  // namespace homeport::overlay
