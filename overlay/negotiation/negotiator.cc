#include "overlay/negotiation/negotiator.h"

#include "overlay/negotiation/codec.h"

#include <algorithm>
#include <set>
#include <span>
#include <utility>

namespace homeport::overlay {

using policy::ChoiceCause;
using policy::Side;
using policy::Time;
using policy::TrafficClass;
using Haste = Speaker::Haste;
using Part = Speaker::Part;

namespace {

// An end that the peer would not accept would cost the whole statement.
bool can_be_offered(const policy::PathEnd& end) {
  PathStatement statement{.id = {1, 1}};
  statement.ends = {end};
  const std::string bytes = encode(statement);
  return decode(std::as_bytes(std::span(bytes))).has_value();
}

}  // namespace

PathNegotiator::PathNegotiator(std::string own_host, std::string peer_host, std::uint64_t epoch,
                               NegotiationSettings settings)
    : own_host_(std::move(own_host)),
      peer_host_(std::move(peer_host)),
      side_(policy::side_of(own_host_, peer_host_)),
      role_(side_ == Side::first ? AgreementRole::controlling : AgreementRole::following),
      settings_(settings),
      own_(settings.damping, settings.own_fresh_for),
      speaker_(epoch, settings.speaker),
      agreements_(Agreement(role_, settings.chooser)) {}

NegotiationActions PathNegotiator::on(NegotiationEvent event, Time now) {
  std::visit([&](auto&& what) { take(std::forward<decltype(what)>(what), now); }, std::move(event));
  NegotiationActions actions;
  if (has_offered_ && peer_.last() != StatementId()) review(now, actions.use);
  // What has changed in being measured, in ageing, or by a path having been left.
  const OwnReports::News news = own_.news(now);
  if (news != OwnReports::News::none) {
    speaker_.changed(Part::reports, news == OwnReports::News::urgent ? Haste::urgent : Haste::soon);
  }
  if (has_offered_ && now >= speaker_.due()) actions.say = compose(now);
  actions.look_again = look_again(now);
  return actions;
}

void PathNegotiator::take(FoundInUse&& event, Time now) {
  for (TrafficClass traffic : policy::kTrafficClasses) {
    agreements_[traffic].adopt(now, event.paths[traffic]);
  }
}

void PathNegotiator::take(OffersEnds&& event, Time) {
  has_offered_ = true;
  std::vector<policy::PathEnd> ends;
  for (policy::PathEnd& end : event.ends) {
    const bool twice = std::any_of(ends.begin(), ends.end(), [&](const policy::PathEnd& other) {
      return other.address == end.address;
    });
    if (twice || !can_be_offered(end)) continue;
    if (ends.size() < policy::kMostEnds) ends.push_back(std::move(end));
  }
  if (ends == ends_) return;
  ends_ = std::move(ends);
  speaker_.changed(Part::ends, Haste::urgent);
}

void PathNegotiator::take(HasMeasured&& event, Time now) {
  own_.measured(std::move(event.reports), now);
}

void PathNegotiator::take(PolicyIs&& event, Time) {
  policy_ = std::move(event.policy);
}

void PathNegotiator::take(PeerSays&& event, Time now) {
  const StatementId seen = event.statement.seen;
  if (event.statement.wants_answer) speaker_.owes_answer();
  const auto taken = peer_.take(std::move(event.statement), speaker_.id().epoch, now);
  // What came late says what the peer had: its agent may have started again since.
  if (taken != PeerView::Taken::late) speaker_.peer_has(seen);
}

void PathNegotiator::take(Connected&&, Time) {
  speaker_.say_everything();
}

void PathNegotiator::take(Disconnected&&, Time) {
  peer_.disconnected();
}

void PathNegotiator::take(TimeHasCome&&, Time) {}

policy::Conversation PathNegotiator::conversation(Time now) const {
  policy::Conversation conversation;
  conversation.at(side_) = {own_host_, ends_, own_.current(now)};
  conversation.at(policy::other(side_)) = {peer_host_, peer_.ends(),
                                           peer_.reports(now, settings_.peer_fresh_for)};
  return conversation;
}

void PathNegotiator::review(Time now, std::vector<PathUse>& use) {
  const policy::Conversation known = conversation(now);
  std::set<policy::PathId> left;  // once, however many classes leave it
  for (TrafficClass traffic : policy::kTrafficClasses) {
    // Interactive comes first, so that bulk knows what to keep away from.
    ranked_[traffic] = policy::rank(traffic, known, policy_[traffic],
                                    agreements_[TrafficClass::interactive].choice().path);
    Agreement& agreement = agreements_[traffic];
    const PathChoice before = agreement.choice();
    const ChoiceCause cause = agreement.review(now, ranked_[traffic], peer_.choices()[traffic],
                                               speaker_.id().revision + 1);
    if (agreement.choice() != before) speaker_.changed(Part::choices, Haste::urgent);
    if (cause == ChoiceCause::unchanged) continue;
    if (cause == ChoiceCause::worse && before.path && left.insert(*before.path).second) {
      own_.left(*before.path, now);
    }
    use.push_back({traffic, agreement.choice().path, cause});
  }
}

PathStatement PathNegotiator::compose(Time now) {
  const Speaker::Statement speaking = speaker_.speak(now);
  PathStatement statement{.id = speaking.id, .seen = peer_.last()};
  statement.wants_answer = speaking.wants_answer;
  if (speaking.ends) statement.ends = ends_;
  if (speaking.reports) statement.reports = own_.tell(now);
  for (TrafficClass traffic : policy::kTrafficClasses) {
    statement.choices[traffic] = agreements_[traffic].choice();
  }
  return statement;
}

Time PathNegotiator::look_again(Time now) const {
  Time next = std::min({has_offered_ ? speaker_.due() : Time::max(), own_.next_change(now),
                        peer_.next_forgotten(now, settings_.peer_fresh_for)});
  for (TrafficClass traffic : policy::kTrafficClasses) {
    next = std::min(next, agreements_[traffic].next_look());
  }
  return next;
}

}  // namespace homeport::overlay
