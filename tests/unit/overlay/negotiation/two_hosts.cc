#include "tests/unit/overlay/negotiation/two_hosts.h"

#include "overlay/negotiation/codec.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <utility>

namespace homeport::overlay {
namespace {

constexpr Micros kMeasuring{500'000};

const char* name_of(Side side) {
  return side == Side::first ? "hostA" : "hostB";
}

}  // namespace

TwoHosts::TwoHosts(unsigned seed, NegotiationSettings settings)
    : random(seed), settings_(settings) {
  for (Side side : {Side::first, Side::second}) start(side, 1);
}

void TwoHosts::start(Side side, std::uint64_t epoch) {
  at(side).negotiator =
      std::make_unique<PathNegotiator>(name_of(side), name_of(other(side)), epoch, settings_);
  tell(side, Connected());
}

void TwoHosts::restart(Side side, std::uint64_t epoch) {
  start(side, epoch);
  tell(side, FoundInUse{at(side).uses});
  tell(side, PolicyIs{at(side).policy});
  tell(side, OffersEnds{at(side).ends});
}

void TwoHosts::offer(Side side, std::vector<policy::PathEnd> ends) {
  at(side).ends = std::move(ends);
  tell(side, OffersEnds{at(side).ends});
}

void TwoHosts::apply(Side side, const policy::PathPolicy& policy) {
  at(side).policy = policy;
  tell(side, PolicyIs{policy});
}

void TwoHosts::measure(Side side) {
  HasMeasured measured;
  const policy::Conversation offered{{"hostA", ends(Side::first)}, {"hostB", ends(Side::second)}};
  for (const policy::PathCandidate& candidate : candidates(offered)) {
    const auto found = truth.find(candidate.path);
    policy::PathQuality quality = found == truth.end() ? policy::not_carrying() : found->second;
    if (side == Side::second) quality = seen_from_other_end(quality);
    measured.reports.push_back({.path = candidate.path, .quality = quality});
  }
  at(side).measures_next = now_ + kMeasuring;
  tell(side, std::move(measured));
}

void TwoHosts::measure_both() {
  measure(Side::first);
  measure(Side::second);
}

void TwoHosts::tell(Side side, NegotiationEvent event) {
  Host& host = at(side);
  NegotiationActions actions = host.negotiator->on(std::move(event), now_);
  for (PathUse& use : actions.use) {
    host.uses[use.traffic] = std::move(use.path);
    ++host.changes[use.traffic];
  }
  ASSERT_GT(actions.look_again, now_) << "it would never end";
  host.look_again = actions.look_again;
  if (actions.say) send(other(side), encode(*actions.say));
  note_differences();
}

void TwoHosts::send(Side to, const std::string& bytes) {
  at(other(to)).bytes_said += bytes.size();
  const int copies = policy::chance(random, weather.loss)    ? 0
                     : policy::chance(random, weather.twice) ? 2
                                                             : 1;
  for (int i = 0; i < copies; ++i) {
    const Micros delay(
        policy::between(random, weather.least_delay.count(), weather.most_delay.count()));
    network_.emplace(now_ + delay, Delivery{to, bytes});
  }
}

void TwoHosts::deliver(const Delivery& delivery) {
  auto statement = decode(std::as_bytes(std::span(delivery.bytes)));
  ASSERT_TRUE(statement) << statement.error().message;
  tell(delivery.to, PeerSays{std::move(*statement)});
}

void TwoHosts::run(Micros time) {
  const Time end = now_ + time;
  for (;;) {
    Time next = network_.empty() ? Time::max() : network_.begin()->first;
    for (const Host& host : hosts_) next = std::min({next, host.look_again, host.measures_next});
    if (next > end || testing::Test::HasFatalFailure()) break;
    now_ = std::max(now_, next);
    if (!network_.empty() && network_.begin()->first <= now_) {
      const Delivery delivery = std::move(network_.begin()->second);
      network_.erase(network_.begin());
      deliver(delivery);
      continue;
    }
    for (Side side : {Side::first, Side::second}) {
      if (at(side).measures_next <= now_) measure(side);
      if (at(side).look_again <= now_) tell(side, TimeHasCome());
    }
  }
  now_ = end;
  note_differences();
}

void TwoHosts::note_differences() {
  for (TrafficClass traffic : policy::kTrafficClasses) {
    std::optional<Time>& since = apart_since_[traffic];
    if (since) {
      longest_apart_ = std::max(longest_apart_, std::chrono::duration_cast<Micros>(now_ - *since));
    }
    if (same(traffic)) {
      since.reset();
    } else if (!since) {
      since = now_;
    }
  }
}

void TwoHosts::something_happened() {
  note_differences();
  apart_since_ = {};
  note_differences();
}

void TwoHosts::forget_history() {
  something_happened();
  longest_apart_ = {};
  for (Host& host : hosts_) {
    host.changes = {};
    host.bytes_said = 0;
  }
}

void lay_paths(TwoHosts& hosts, const std::vector<Micros>& rtts) {
  const policy::Conversation offered{{"hostA", hosts.ends(Side::first)},
                                     {"hostB", hosts.ends(Side::second)}};
  std::size_t i = 0;
  for (const policy::PathCandidate& candidate : candidates(offered)) {
    hosts.truth[candidate.path] = policy::carrying(rtts.at(i++));
  }
}

}  // namespace homeport::overlay
