#include "tests/unit/overlay/probing/probed_network.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>

namespace homeport::overlay {
namespace {

// Bytes of the outer IP packet.
std::uint32_t smallest(const ProbePair& pair) {
  return pair.local.is_v6() ? 102 : 82;
}
constexpr std::uint32_t kEthernet = 18;

}  // namespace

ProbedNetwork::ProbedNetwork(unsigned seed, ProbeSettings settings)
    : random(seed), prober(settings, seed) {
  last_.again = now_;
}

ProbedWay ProbedNetwork::way(int local, int remote) {
  const std::string here = "192.0.2." + std::to_string(local);
  const std::string there = "198.51.100." + std::to_string(remote);
  return {.path = policy::path_of(here, there),
          .pair = {*policy::parse_address(here), *policy::parse_address(there)}};
}

void ProbedNetwork::follow(const std::string& peer, const std::vector<ProbedWay>& ways) {
  prober.follow(peer, ways, now_);
  last_.again = now_;
}

void ProbedNetwork::run(Micros time) {
  const Time end = now_ + time;
  while (now_ < end && !testing::Test::HasFatalFailure()) step(end);
}

// To the next moment in which something happens.
void ProbedNetwork::step(Time end) {
  Time next = std::min(last_.again, end);
  if (!on_their_way_.empty()) next = std::min(next, on_their_way_.begin()->first);
  now_ = std::max(now_, next);
  look();
}

void ProbedNetwork::look() {
  while (!on_their_way_.empty() && on_their_way_.begin()->first <= now_) {
    if (answers) prober.answered(on_their_way_.begin()->second);
    on_their_way_.erase(on_their_way_.begin());
  }
  if (last_.poll_carried) tell_carried();
  if (now_ >= last_.again && last_.poll_heard) tell_heard();
  if (now_ >= last_.again && last_.poll_used) tell_used();
  last_ = prober.look(now_);
  ++looks_;
  ASSERT_GT(last_.again, now_) << "it would never end";
  named_.insert(last_.news.begin(), last_.news.end());
  burst_ = std::max(burst_, last_.asks.size());
  for (const ProbeAsk& ask : last_.asks) send(ask);
}

void ProbedNetwork::send(const ProbeAsk& ask) {
  if (refuses) {
    prober.refused(ask, policy::make_error(*refuses, "It cannot be sent."), now_);
    return;
  }
  const std::uint32_t size = std::max(ask.size, smallest(ask.pair));
  ++asks_;
  ++asks_of_[ask.pair];
  bytes_ += size + kEthernet;
  const auto found = truth.find(ask.pair);
  if (found == truth.end()) return;
  TrueWay& way = found->second;
  if (!way.out_carries || size > way.mtu || policy::chance(random, way.out_loss)) return;
  ++way.heard;
  ProbeAnswer answer{.pair = ask.pair, .token = ask.token, .sent = now_, .size = size};
  if (way.counts) answer.heard = way.heard;
  if (!way.in_carries || way.swamped || policy::chance(random, way.in_loss)) return;
  bytes_ += size + kEthernet;
  answer.received = now_ + delay(way.out, way) + delay(way.in, way);
  on_their_way_.emplace(answer.received, answer);
}

Micros ProbedNetwork::delay(Micros least, const TrueWay& way) {
  if (way.late > 0 && policy::chance(random, way.late)) least += way.late_by;
  if (way.jitter == Micros(0)) return least;
  const double mean = static_cast<double>(way.jitter.count());
  return least +
         Micros(static_cast<Micros::rep>(std::exponential_distribution<double>(1 / mean)(random)));
}

void ProbedNetwork::tell_heard() {
  std::vector<ProbesHeard> heard;
  for (const auto& [pair, way] : truth) {
    if (way.peer_asks && way.in_carries) heard.push_back({pair, 1, now_});
  }
  prober.heard(heard);
}

void ProbedNetwork::tell_carried() {
  for (auto& [pair, way] : truth) {
    if (!way.lane) continue;
    if (way.out_carries && way.in_carries) way.carried = now_;
    if (way.carried) prober.carried(pair, *way.carried);
  }
}

void ProbedNetwork::tell_used() {
  ++polls_;
  std::vector<WayUsed> used;
  std::map<policy::IpAddress, Time> heard;  // of an address, on whichever way
  for (auto& [pair, way] : truth) {
    if (way.receives && way.in_carries) way.frame_heard = now_;
    if (way.frame_heard) {
      Time& last = heard[pair.remote];
      last = std::max(last, *way.frame_heard);
    }
  }
  for (auto& [pair, way] : truth) {
    if (!tells_use) break;
    WayUsed each{.pair = pair, .prompt = tells_promptly};
    if (way.sends) way.frame_sent = now_;
    each.sent = way.frame_sent;
    if (heard.contains(pair.remote)) each.heard = heard[pair.remote];
    used.push_back(each);
  }
  prober.used(used, now_);
}

std::optional<Micros> ProbedNetwork::until_broken(const std::string& peer, const ProbedWay& way,
                                                  Micros most) {
  return until(
      peer, [&] { return quality(peer, way).broken(); }, most);
}

PathReport ProbedNetwork::report(const std::string& peer, const ProbedWay& way) const {
  for (const PathReport& report : prober.reports(peer, now_)) {
    if (report.path == way.path) return report;
  }
  ADD_FAILURE() << "nothing is said of " << to_string(way.path);
  return {};
}

}  // namespace homeport::overlay
