#include "overlay/probing/way.h"

#include "policy/path/exchange_time.h"

#include <algorithm>
#include <chrono>
#include <iterator>
#include <utility>

namespace homeport::overlay {

using policy::Micros;
using policy::PathQuality;
using policy::Time;

namespace {

constexpr int kMostOutstanding = 256;
constexpr Micros kLateAnswer{2'000'000};  // for so long an answer is taken
constexpr unsigned kAnswersToDecide = 3;
constexpr Micros kRecentlyAsked{1'000'000};

/// Enough for the estimate to follow.
constexpr unsigned kAsksToFollow = 32;
constexpr Micros kWatchAgain{1'000'000};
constexpr Micros kFollowAgain{10'000'000};
/// An answer takes longer when it does by more than this, whatever is usual, and the next one does:
/// on a machine with other work to do one in some dozens is late by milliseconds.
constexpr Micros kNoticeable{3000};
constexpr unsigned kLateInARow = 2;
/// What makes an idle way doubtful.
constexpr Micros kSooner{1000}, kVaries{2000};
constexpr unsigned kAnswersThatVary = 16;
constexpr policy::LossPpm kLossToFollow = 2'000;

constexpr Micros kLeastMtuTimeout{100'000};
constexpr std::uint32_t kLeastIpv4 = 576;  // RFC 791
constexpr std::uint32_t kLeastIpv6 = 1280;

constexpr Micros kLeastNews{200'000};  // between two, unless it died or came up
constexpr Micros kLeastWatchedNews{50'000};
constexpr Micros kInteractiveNotices{200};  // ChooserPolicy::least_gain

policy::TrafficClass interactive() {
  return policy::TrafficClass::interactive;
}

}  // namespace

Way::Way(ProbedWay what, const ProbeSettings& settings, Time now, ProbeRandom& random)
    : settings_(settings),
      what_(std::move(what)),
      estimator_(times().limits),
      deciding_(kAnswersToDecide) {
  std::uniform_int_distribution<Micros::rep> since(0, times().quick.count());
  asked_at_ = now - Micros(since(random));
}

void Way::set_what(ProbedWay what) {
  if (what.mtu != what_.mtu) {
    mtu_ = {};
    mtu_token_ = 0;
    mtu_begun_.reset();
  }
  what_ = std::move(what);
  estimator_.set_limits(times().limits);
}

bool Way::answered(const ProbeAnswer& answer) {
  const auto found = std::find_if(outstanding_.begin(), outstanding_.end(),
                                  [&](const Asked& each) { return each.token == answer.token; });
  if (found == outstanding_.end()) return false;
  const Asked asked = *found;
  outstanding_.erase(found);
  const Time received = std::max(answer.received, asked.at);
  const Time sent = std::clamp(answer.sent, asked.at, received);
  life_ = std::max(life_.value_or(received), received);
  if (asked.size != 0) {
    count(answer, asked);
    estimator_.probe_heard(received);
    if (asked.token != mtu_token_) return true;
    mtu_token_ = 0;
    answer.size >= asked.size ? mtu_.arrived() : mtu_.unanswered();
    note_mtu(received);
    return true;
  }
  const Micros rtt = std::max(std::chrono::duration_cast<Micros>(received - sent), Micros(1));
  const bool was_dead = estimator_.dead(std::max(received, asked_at_));
  const auto usual = estimator_.usual_answer();
  const bool late = usual && rtt > *usual + kNoticeable;
  const bool doubtful = may_be_better(received, rtt);
  estimator_.probe_answered(received, rtt);
  if (was_dead) count_anew();
  count(answer, asked);
  if (was_dead) {
    deciding_ = kAnswersToDecide;
    mtu_begun_.reset();
  }
  if (deciding_ > 0) --deciding_;
  if (before_is_missing(asked) || doubtful) examine(received);
  note_lateness(late, received);
  return true;
}

// What is asked seldom would be believed to be bad for minutes after it is not any more: because of
// answers that took longer once, or of loss.
bool Way::may_be_better(Time now, Micros rtt) const {
  if (flows(now) || (what_.in_use && !told_of_)) return false;  // then it is asked often
  const PathQuality known = estimator_.quality(now);
  if (!known.rtt) return false;
  if (rtt + kSooner < *known.rtt - *known.rtt / 8) return true;
  // The first answer alone counts as one that varies by half.
  const bool several = answered_ >= kAnswersThatVary;
  if (several && *known.variation > kVaries + *known.rtt / 8) return true;
  return std::max(known.out.loss.value_or(0), known.in.loss.value_or(0)) >= kLossToFollow;
}

// One is asked after soon.
void Way::note_lateness(bool late, Time now) {
  late_ = late ? late_ + 1 : 0;
  if (late_ >= kLateInARow) {
    examine(now);
  } else if (late) {
    examining_ = std::max(examining_, 1u);
  }
}

// Those that were lost while nothing was carried are no loss of now.
void Way::count_anew() {
  for (const Came& came : came_) {
    ++answered_;
    mtu_answered_ += came.asked.size != 0;
    settled_ = came.asked.at;
  }
  came_.clear();
  estimator_.forget_loss();
}

// What was asked before it and is overtaken by it is not lost.
void Way::count(const ProbeAnswer& answer, const Asked& asked) {
  if (asked.at <= settled_) {
    ++answered_;
    mtu_answered_ += asked.size != 0;
  } else {
    const auto behind = std::find_if(came_.rbegin(), came_.rend(),
                                     [&](const Came& other) { return other.asked.at <= asked.at; });
    came_.insert(behind.base(), {asked, answer.heard});
  }
  count_settled(answer.received);
}

// Of the asks that were answered with a count: how many had been sent, how many had come to the
// peer and were answered, and how many answers have come here.
void Way::count_settled(Time now) {
  using policy::Direction;
  const Time until = now - estimator_.latest_answer();
  while (!came_.empty() &&
         (came_.front().asked.at <= until || std::ssize(came_) > kMostOutstanding)) {
    const Came came = came_.front();
    came_.pop_front();
    settled_ = came.asked.at;
    ++answered_;
    if (came.asked.size != 0) {
      ++mtu_answered_;
      continue;
    }
    const std::uint64_t sent = came.asked.index + mtu_answered_;
    estimator_.counted(now, Direction::out, sent, came.heard.value_or(answered_));
    if (came.heard) {
      estimator_.counted(now, Direction::in, *came.heard, answered_);
    }
  }
}

bool Way::before_is_missing(const Asked& asked) {
  const bool missing =
      std::any_of(outstanding_.begin(), outstanding_.end(), [&](const Asked& each) {
        return each.size == 0 && each.index > missed_ && each.index < asked.index;
      });
  missed_ = std::max(missed_, asked.index);
  return missing;
}

bool Way::heard(Time last) {
  if (peers_ask_ && last <= *peers_ask_) return false;
  peers_ask_ = last;
  estimator_.probe_heard(last);
  return true;
}

void Way::examine(Time now) {
  if (now < examine_again_) return;
  examining_ = kAsksToFollow;
  examine_again_ = now + (watched(now) ? kWatchAgain : kFollowAgain * stretched_);
}

void Way::used(const WayUsed& used, Time now) {
  told_of_ = true;
  prompt_ = used.prompt;
  frames_sent_ = used.sent;
  frames_heard_ = used.heard;
  // A clock that is ahead would be believed for as long as it is.
  if (frames_sent_) frames_sent_ = std::min(*frames_sent_, now);
  if (frames_heard_) frames_heard_ = std::min(*frames_heard_, now);
  const auto last = std::max(frames_sent_, frames_heard_);
  if (!last) return;
  if (!frames_last_ || *last - *frames_last_ > settings_.recent) frames_since_ = *last;
  frames_last_ = last;
}

void Way::refused(std::uint64_t token, bool too_big, bool lasting, Time now) {
  const auto found = std::find_if(outstanding_.begin(), outstanding_.end(),
                                  [&](const Asked& each) { return each.token == token; });
  if (found == outstanding_.end()) return;
  const Asked asked = *found;
  outstanding_.erase(found);
  if (asked.size != 0) {
    if (token != mtu_token_) return;
    mtu_token_ = 0;
    if (too_big) {
      mtu_.too_big();
      note_mtu(now);
    } else {
      mtu_ = {};
    }
    return;
  }
  if (asked.index == asked_) --asked_;  // it is not lost on the way
  if (!lasting) estimator_.probe_withdrawn();
}

void Way::hasten(Time now) {
  if (deciding_ > 0 || dead(now) || now - asked_at_ < kRecentlyAsked) return;
  deciding_ = 1;
  asked_at_ = std::min(asked_at_, now - times().quick);
}

bool Way::has_frames(Time now) const {
  return what_.in_use && frames_last_ && now - *frames_last_ <= settings_.recent;
}

bool Way::flows(Time now) const {
  return has_frames(now) && *frames_last_ - frames_since_ >= settings_.conversation;
}

Micros Way::jittered(Micros time) const {
  return std::chrono::duration_cast<Micros>(time * jitter_);
}

Time Way::overdue_at() const {
  const auto since = estimator_.owes_since();
  if (!since) return Time::max();
  return *since + std::max(times().rapid, estimator_.usual_answer().value_or(Micros(0)));
}

// Whether frames flow is not known where nothing is told.
bool Way::watched(Time now) const {
  return what_.watched && (flows(now) || !told_of_);
}

bool Way::asked_closely(Time now) const {
  return watched(now) && (examining_ > 0 || estimator_.loss_doubtful(now));
}

// Asks take one part in `share` of the speed, and the answers, which take the other direction, as
// much.
Micros Way::within_speed(Micros interval, unsigned share) const {
  if (what_.speed == 0) return interval;
  const std::uint64_t micros = ask_bytes(what_.pair) * 8 * share * 1'000'000 / what_.speed;
  return std::max(interval, Micros(micros));
}

Micros Way::interval(Time now, const ProbePace& pace) const {
  if (dead(now)) return jittered(pace.dead);
  const bool flowing = flows(now);
  Micros wait = jittered(pace.slow);
  // What is told late shows that frames flow, and not that they arrive.
  const bool untold = !told_of_ || (!prompt_ && has_frames(now));
  if (deciding_ > 0 || what_.lane || (what_.in_use && untold)) wait = std::min(wait, times().quick);
  if (flowing) {
    wait = std::min(wait, what_.watched ? within_speed(pace.watched, 200) : jittered(pace.flowing));
  }
  if (asked_closely(now)) {
    wait = std::min(wait, within_speed(pace.closely, 50));
  } else if (examining_ > 0) {
    wait = std::min(wait, times().quick);
  }
  if (owes(now) && estimator_.ever_answered()) wait = std::min(wait, times().rapid);
  // On a slow way no more may be on their way than are remembered.
  return std::max(wait, estimator_.usual_answer().value_or(Micros(0)) / (kMostOutstanding / 2));
}

// When the silence of the peer has to be explained.
Time Way::unheard_at() const {
  if (!what_.in_use || !told_of_ || !prompt_ || !frames_sent_) return Time::max();
  std::optional<Time> life = life_;
  if (alone_at_remote_ && frames_heard_) life = std::max(life.value_or(Time()), *frames_heard_);
  if (life && *frames_sent_ <= *life) return Time::max();
  const Time asked_again = asked_at_ + times().quick;
  return life ? std::max(*life + times().quiet, asked_again) : asked_again;
}

Time Way::ask_at(Time now, const ProbePace& pace) const {
  const Time at = asked_at_ + interval(now, pace);
  const bool sent = frames_sent_ && now - *frames_sent_ <= settings_.recent;
  return sent && !dead(now) ? std::min(at, unheard_at()) : at;
}

Time Way::next(Time now, const ProbePace& pace) const {
  Time next = std::min(ask_at(now, pace), mtu_at(now, pace));
  for (Time other : {overdue_at(), estimator_.dead_at()}) {
    if (other > now) next = std::min(next, other);
  }
  return next;
}

std::optional<ProbeAsk> Way::ask(Time now, const ProbePace& pace, ProbeRandom& random) {
  if (ask_at(now, pace) <= now) {
    if (examining_ > 0) --examining_;
    asked_at_ = now;
    stretched_ = std::max<Micros::rep>(pace.slow / settings_.slow, 1);
    jitter_ = std::uniform_real_distribution<double>(0.875, 1.125)(random);
    ++asked_;
    estimator_.probe_sent(now);
    return note(now, 0, random);
  }
  if (mtu_at(now, pace) <= now) return ask_mtu(now, random);
  return std::nullopt;
}

ProbeAsk Way::note(Time now, std::uint32_t size, ProbeRandom& random) {
  while (!outstanding_.empty() && (std::ssize(outstanding_) >= kMostOutstanding ||
                                   outstanding_.front().at + kLateAnswer < now)) {
    outstanding_.pop_front();
  }
  const std::uint64_t token = std::max<std::uint64_t>(random(), 1);
  outstanding_.push_back({token, now, size, asked_});
  return {what_.pair, token, size};
}

bool Way::can_ask_mtu(Time now) const {
  return what_.mtu != 0 && deciding_ == 0 && !dead(now) && !owes(now);
}

Time Way::mtu_at(Time now, const ProbePace& pace) const {
  if (mtu_token_ != 0) {
    const Micros patience = 2 * estimator_.usual_answer().value_or(Micros(0));
    return mtu_asked_ + std::max(patience, kLeastMtuTimeout);
  }
  if (!can_ask_mtu(now)) return Time::max();
  if (mtu_.running() || !mtu_begun_) return now;
  return *mtu_begun_ + jittered(pace.mtu);
}

std::optional<ProbeAsk> Way::ask_mtu(Time now, ProbeRandom& random) {
  if (mtu_token_ != 0) {
    mtu_token_ = 0;
    // Where nothing arrives nothing can be told of sizes.
    if (!can_ask_mtu(now)) return std::nullopt;
    mtu_.unanswered();
    note_mtu(now);
    if (!mtu_.running()) return std::nullopt;
  }
  if (!mtu_.running()) {
    mtu_.begin(what_.mtu, what_.pair.local.is_v6() ? kLeastIpv6 : kLeastIpv4);
    mtu_begun_ = now;
  }
  mtu_asked_ = now;
  const ProbeAsk ask = note(now, mtu_.size(), random);
  mtu_token_ = ask.token;
  return ask;
}

void Way::note_mtu(Time now) {
  const auto found = mtu_.found();
  if (!mtu_.running() && found) estimator_.path_mtu(now, *found);
}

policy::PathReport Way::report(Time now) const {
  return {.path = what_.path, .quality = estimator_.quality(now), .age = estimator_.age(now)};
}

bool Way::noticed_by_interactive(const PathQuality& quality) const {
  if (!quality.measured() || !noted_.measured()) return false;
  const Micros now = exchange_time(interactive(), quality, what_.speed).total();
  const Micros before = exchange_time(interactive(), noted_, what_.speed).total();
  const Micros change = now > before ? now - before : before - now;
  return change > kInteractiveNotices && change > before / 32;
}

bool Way::has_news(Time now) {
  const PathQuality quality = estimator_.quality(now);
  bool news =
      quality.out.reachable != noted_.out.reachable || quality.in.reachable != noted_.in.reachable;
  const Micros least = what_.watched ? kLeastWatchedNews : kLeastNews;
  if (!news && now - noted_at_ >= least) {
    news = differ_materially(quality, noted_) || (what_.watched && noticed_by_interactive(quality));
  }
  if (!news) return false;
  noted_ = quality;
  noted_at_ = now;
  return true;
}

}  // namespace homeport::overlay
