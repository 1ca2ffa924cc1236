#include "overlay/negotiation/relay_talk.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace homeport::overlay {

using policy::Micros;
using policy::Time;

namespace {

Micros between(Time earlier, Time later) {
  return std::chrono::duration_cast<Micros>(later - earlier);
}

/// Within the bounds of a statement. Whoever is left out is so every time.
void limit(std::vector<RelayAsk>& asks) {
  if (asks.size() > kMostRelayedHosts) asks.resize(kMostRelayedHosts);
  std::size_t left = kMostRelayLabels;
  for (RelayAsk& ask : asks) {
    ask.networks.resize(std::min(ask.networks.size(), left));
    left -= ask.networks.size();
  }
  std::erase_if(asks, [](const RelayAsk& ask) { return ask.networks.empty(); });
}

template <class Each>
auto find(const std::vector<Each>& all, const std::string& host) {
  return std::ranges::find(all, host, &Each::host);
}

/// How soon the peer ought to hear of the difference; nullopt: noise need not be told.
std::optional<Speaker::Haste> difference(const RelayAnswer& now, const RelayAnswer& before) {
  const bool same_way = now.way.has_value() == before.way.has_value() &&
                        (!now.way || now.way->path == before.way->path);
  if (!same_way || now.labels != before.labels || now.refusal != before.refusal) {
    return Speaker::Haste::urgent;
  }
  if (!now.way) return std::nullopt;
  const policy::PathQuality &one = now.way->quality, &other = before.way->quality;
  if (one.out.reachable != other.out.reachable || one.in.reachable != other.in.reachable) {
    return Speaker::Haste::urgent;
  }
  return differ_materially(one, other) ? std::optional(Speaker::Haste::soon) : std::nullopt;
}

std::optional<Speaker::Haste> difference(const std::vector<RelayAnswer>& now,
                                         const std::vector<RelayAnswer>& before) {
  std::optional<Speaker::Haste> most;
  if (now.size() != before.size()) return Speaker::Haste::urgent;
  for (const RelayAnswer& answer : now) {
    auto other = find(before, answer.host);
    if (other == before.end()) return Speaker::Haste::urgent;
    const auto haste = difference(answer, *other);
    if (haste == Speaker::Haste::urgent) return haste;
    if (haste) most = haste;
  }
  return most;
}

}  // namespace

void RelayTalk::ask(std::vector<RelayAsk> asks) {
  limit(asks);
  if (asks == asks_) return;
  asks_ = std::move(asks);
  speaker_.changed(Speaker::Part::reports, Speaker::Haste::urgent);
}

void RelayTalk::answer(std::vector<RelayAnswer> answers, Time now) {
  if (answers.size() > kMostRelayedHosts) answers.resize(kMostRelayedHosts);
  const auto haste = difference(answers, answers_);
  if (haste) {
    answers_ = std::move(answers);
    answered_ = now;
    return speaker_.changed(Speaker::Part::reports, *haste);
  }
  // What is no news is told with the next that is, or with the next sign of life.
  for (RelayAnswer& answer : answers_) answer.way = find(answers, answer.host)->way;
  answered_ = now;
}

void RelayTalk::connected() {
  speaker_.say_everything();
}

bool RelayTalk::heard(RelayStatement statement, Time now) {
  if (statement.wants_answer) speaker_.owes_answer();
  if (statement.id < last_) return false;
  speaker_.peer_has(statement.seen);
  if (statement.id == last_) return false;
  last_ = statement.id;
  asked_ = std::move(statement.asks);
  std::vector<Told> told;
  for (RelayAnswer& answer : statement.answers) {
    Told each{std::move(answer), now};
    // An agent that has just started does not know its ways yet, which are as they were.
    auto before = find(told_, each.host);
    if (before != told_.end() && !each.way && each.refusal.empty()) {
      each.way = before->way;
      each.at = before->at;
    }
    told.push_back(std::move(each));
  }
  // Nor what it has been asked for.
  for (Told& before : told_) {
    const bool is_asked = find(asks_, before.host) != asks_.end();
    if (is_asked && find(told, before.host) == told.end()) told.push_back(std::move(before));
  }
  told_ = std::move(told);
  return true;
}

bool RelayTalk::has_something_to_say() const {
  return !asks_.empty() || !answers_.empty() || last_ != StatementId() || spoken_;
}

std::optional<RelayStatement> RelayTalk::speak(Time now) {
  if (due() > now) return std::nullopt;
  const Speaker::Statement speaking = speaker_.speak(now);
  spoken_ = true;
  RelayStatement statement{.id = speaking.id, .seen = last_};
  statement.wants_answer = speaking.wants_answer;
  statement.asks = asks_;
  statement.answers = answers_;
  for (RelayAnswer& answer : statement.answers) {
    if (answer.way) answer.way->age += between(answered_, now);
  }
  return statement;
}

Time RelayTalk::due() const {
  if (!has_something_to_say()) return Time::max();
  // Nothing that grows old: what was asked is asked until it is asked otherwise.
  const bool only_sign_of_life = speaker_.acknowledged() && !speaker_.has_news();
  return only_sign_of_life && answers_.empty() ? Time::max() : speaker_.due();
}

std::optional<RelayAnswer> RelayTalk::told_of(const std::string& host, Time now,
                                              Micros limit) const {
  auto told = find(told_, host);
  if (told == told_.end()) return std::nullopt;
  RelayAnswer answer = *told;
  if (answer.way) answer.way = aged(std::move(*answer.way), between(told->at, now), limit);
  return answer;
}

}  // namespace homeport::overlay
