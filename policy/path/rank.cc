#include "policy/path/rank.h"

#include <algorithm>
#include <utility>

namespace homeport::policy {
namespace {

using std::uint64_t;

uint64_t preference_of(const PathEnd& end, const ClassPolicy& policy) {
  uint64_t best = 0;
  for (const std::string& label : end.labels) {
    if (auto found = policy.preferences.find(label); found != policy.preferences.end()) {
      best = std::max<uint64_t>(best, found->second);
    }
  }
  return best;
}

// The lesser of two figures of which 0 is not known.
uint64_t lesser_known(uint64_t one, uint64_t other) {
  return one == 0 || other == 0 ? std::max(one, other) : std::min(one, other);
}

uint64_t mtu_of(const PathCandidate& candidate) {
  uint64_t mtu = lesser_known(candidate.first->mtu, candidate.second->mtu);
  mtu = lesser_known(mtu, candidate.quality.out.mtu.value_or(0));
  return lesser_known(mtu, candidate.quality.in.mtu.value_or(0));
}

bool relayed(const RankedPath& ranked) {
  return !ranked.path.relay.empty();
}

// A pinned path of which nobody knows whether it carries, as one whose interface has just come
// back, is not to take traffic from one that does.
void suspend_unproven_pins(std::span<RankedPath> ranked) {
  const auto carries = [](const RankedPath& path) {
    return path.usable() && path.obstacle != Obstacle::unmeasured;
  };
  if (std::none_of(ranked.begin(), ranked.end(), carries)) return;
  for (RankedPath& path : ranked) {
    if (path.obstacle == Obstacle::unmeasured) path.standing = Standing::unmeasured;
  }
}

// Judges one candidate.
class Judge {
 public:
  Judge(TrafficClass traffic, const Conversation& conversation, const ClassPolicy& policy,
        const std::optional<PathId>& interactive)
      : traffic_(traffic),
        conversation_(conversation),
        policy_(policy),
        interactive_(interactive) {}

  RankedPath operator()(const PathCandidate& candidate) const {
    RankedPath ranked{.path = candidate.path, .broken = candidate.quality.broken()};
    const PathEnd& first = *candidate.first;
    const PathEnd& second = *candidate.second;
    ranked.preference = preference_of(first, policy_) + preference_of(second, policy_);
    ranked.cost = uint64_t{first.cost} + second.cost;
    ranked.default_routes = first.default_route + second.default_route;
    ranked.speed = lesser_known(first.speed, second.speed);
    ranked.shares_interactive = traffic_ == TrafficClass::bulk && interactive_ &&
                                share_an_end(candidate.path, *interactive_);
    if (candidate.quality.measured()) {
      ranked.time = exchange_time(traffic_, candidate.quality, ranked.speed);
      const uint64_t time = static_cast<uint64_t>(ranked.time.total().count());
      const uint64_t shared = ranked.shares_interactive ? 2 : 1;
      ranked.counted = Micros(time * shared * (100 + ranked.cost) / 100);
    }
    set_standing(ranked, candidate);
    return ranked;
  }

 private:
  void set_standing(RankedPath& ranked, const PathCandidate& candidate) const {
    if (!exclude(ranked, candidate)) find_fault(ranked, candidate);
    if (ranked.usable() && is_pinned(candidate)) ranked.standing = Standing::pinned;
  }

  bool exclude(RankedPath& ranked, const PathCandidate& candidate) const {
    auto excluded = [&](Obstacle obstacle, uint64_t figure, uint64_t limit) {
      set(ranked, Standing::excluded, obstacle, figure, limit);
      return true;
    };
    for (const EndMatch& match : policy_.forbidden) {
      if (has_end(candidate, match)) return excluded(Obstacle::forbidden, 0, 0);
    }
    if (!policy_.relays && !candidate.path.relay.empty()) {
      return excluded(Obstacle::relay_not_allowed, 0, 0);
    }
    if (policy_.cost_ceiling && ranked.cost > *policy_.cost_ceiling) {
      return excluded(Obstacle::too_costly, ranked.cost, *policy_.cost_ceiling);
    }
    uint64_t broken = 0;
    if (candidate.quality.out.reachable == Reachability::no) broken |= kBrokenFromFirst;
    if (candidate.quality.in.reachable == Reachability::no) broken |= kBrokenFromSecond;
    return broken != 0 && excluded(Obstacle::broken, broken, 0);
  }

  void find_fault(RankedPath& ranked, const PathCandidate& candidate) const {
    const PathQuality& quality = candidate.quality;
    if (!quality.measured()) {
      return set(ranked, Standing::unmeasured, Obstacle::unmeasured, 0, 0);
    }
    if (candidate.damped) return set(ranked, Standing::damped, Obstacle::damped, 0, 0);
    const MinimumQuality& minimum = policy_.minimum;
    const uint64_t rtt = static_cast<uint64_t>(quality.rtt->count());
    if (minimum.most_rtt && *quality.rtt > *minimum.most_rtt) {
      return set(ranked, Standing::poor, Obstacle::slow, rtt,
                 static_cast<uint64_t>(minimum.most_rtt->count()));
    }
    const LossPpm loss = std::max(quality.out.loss.value_or(0), quality.in.loss.value_or(0));
    if (minimum.most_loss && loss > *minimum.most_loss) {
      return set(ranked, Standing::poor, Obstacle::lossy, loss, *minimum.most_loss);
    }
    // What is only assumed is no fault.
    if (minimum.least_bandwidth && !ranked.time.bandwidth_assumed &&
        ranked.time.bandwidth < *minimum.least_bandwidth) {
      return set(ranked, Standing::poor, Obstacle::narrow, ranked.time.bandwidth,
                 *minimum.least_bandwidth);
    }
    const uint64_t mtu = mtu_of(candidate);
    if (minimum.least_mtu && mtu != 0 && mtu < *minimum.least_mtu) {
      return set(ranked, Standing::poor, Obstacle::small_mtu, mtu, *minimum.least_mtu);
    }
  }

  static void set(RankedPath& ranked, Standing standing, Obstacle obstacle, uint64_t figure,
                  uint64_t limit) {
    ranked.standing = standing;
    ranked.obstacle = obstacle;
    ranked.figure = figure;
    ranked.limit = limit;
  }

  bool has_end(const PathCandidate& candidate, const EndMatch& match) const {
    return match.matches(conversation_.first.host, *candidate.first) ||
           match.matches(conversation_.second.host, *candidate.second);
  }

  bool is_pinned(const PathCandidate& candidate) const {
    auto is_between = [&](const EndMatch& first, const EndMatch& second) {
      return first.matches(conversation_.first.host, *candidate.first) &&
             second.matches(conversation_.second.host, *candidate.second);
    };
    return std::any_of(policy_.pinned.begin(), policy_.pinned.end(), [&](const PairMatch& pair) {
      return is_between(pair.one, pair.other) || is_between(pair.other, pair.one);
    });
  }

  TrafficClass traffic_;
  const Conversation& conversation_;
  const ClassPolicy& policy_;
  const std::optional<PathId>& interactive_;
};

}  // namespace

bool EndMatch::matches(const std::string& of_host, const PathEnd& end) const {
  return (host.empty() || host == of_host) && (interface.empty() || interface == end.interface) &&
         (label.empty() ||
          std::find(end.labels.begin(), end.labels.end(), label) != end.labels.end());
}

Comparison compare(const RankedPath& one, const RankedPath& other) {
  const std::pair<Criterion, std::weak_ordering> criteria[] = {
      {Criterion::standing, one.standing <=> other.standing},
      {Criterion::preference, other.preference <=> one.preference},
      {Criterion::time, one.counted.count() <=> other.counted.count()},
      {Criterion::cost, one.cost <=> other.cost},
      {Criterion::directness, relayed(one) <=> relayed(other)},
      {Criterion::default_route, other.default_routes <=> one.default_routes},
      {Criterion::speed, other.speed <=> one.speed},
  };
  for (const auto& [criterion, order] : criteria) {
    if (order != 0) return {criterion, order};
  }
  return {Criterion::address, one.path <=> other.path};
}

std::vector<RankedPath> rank(TrafficClass traffic, const Conversation& conversation,
                             const ClassPolicy& policy, const std::optional<PathId>& interactive) {
  const Judge judge(traffic, conversation, policy, interactive);
  std::vector<RankedPath> ranked;
  for (const PathCandidate& candidate : candidates(conversation)) {
    ranked.push_back(judge(candidate));
  }
  suspend_unproven_pins(ranked);
  std::sort(ranked.begin(), ranked.end(), [](const RankedPath& one, const RankedPath& other) {
    return compare(one, other).order < 0;
  });
  return ranked;
}

const RankedPath* find(std::span<const RankedPath> ranked, const std::optional<PathId>& path) {
  if (!path) return nullptr;
  for (const RankedPath& candidate : ranked) {
    if (candidate.path == *path) return &candidate;
  }
  return nullptr;
}

}  // namespace homeport::policy
