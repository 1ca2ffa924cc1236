#include "policy/path/damping.h"

#include <algorithm>
#include <cmath>
#include <iterator>

namespace homeport::policy {
namespace {

// More than a conversation has paths: some are of interfaces that have gone.
constexpr std::size_t kMostRemembered = 4 * kMostPaths;
constexpr unsigned kMostDoublings = 3;

double half_lives(Time::duration time, const DampingPolicy& policy) {
  return std::chrono::duration<double>(time) / std::chrono::duration<double>(policy.half_life);
}

}  // namespace

void Damping::failed(Time now, const DampingPolicy& policy) {
  const bool was_damped = damped(now, policy);
  const double before = penalty(now, policy);
  if (before < policy.reuse / 2) times_ = 0;
  const double weight = std::exp2(std::min(times_, kMostDoublings));
  // What decays to the threshold of reuse in the longest time.
  const double ceiling = policy.reuse * std::exp2(half_lives(policy.longest, policy));
  penalty_ = std::min(before + weight * policy.failure, ceiling);
  since_ = now;
  suppressed_ = was_damped || penalty_ >= policy.suppress;
  if (suppressed_ && !was_damped) ++times_;
}

double Damping::penalty(Time now, const DampingPolicy& policy) const {
  return penalty_ * std::exp2(-half_lives(now - since_, policy));
}

bool Damping::damped(Time now, const DampingPolicy& policy) const {
  return suppressed_ && penalty(now, policy) >= policy.reuse;
}

Micros Damping::until_reuse(Time now, const DampingPolicy& policy) const {
  if (!damped(now, policy)) return Micros(0);
  const double lives = std::log2(penalty(now, policy) / policy.reuse);
  const auto time = std::chrono::duration<double, std::micro>(policy.half_life) * lives;
  // At that moment it is below, not at, the threshold.
  return std::chrono::ceil<Micros>(time) + Micros(1);
}

void FlapHistory::failed(const PathId& path, Time now) {
  if (paths_.size() >= kMostRemembered && !paths_.contains(path)) forget_the_old(now);
  paths_[path].failed(now, policy_);
}

void FlapHistory::forget_the_old(Time now) {
  std::erase_if(paths_, [&](const auto& entry) {
    return entry.second.penalty(now, policy_) < policy_.reuse / 2;
  });
  if (paths_.size() < kMostRemembered) return;
  paths_.erase(std::min_element(paths_.begin(), paths_.end(), [&](const auto& a, const auto& b) {
    return a.second.penalty(now, policy_) < b.second.penalty(now, policy_);
  }));
}

bool FlapHistory::damped(const PathId& path, Time now) const {
  const auto found = paths_.find(path);
  return found != paths_.end() && found->second.damped(now, policy_);
}

double FlapHistory::penalty(const PathId& path, Time now) const {
  const auto found = paths_.find(path);
  return found == paths_.end() ? 0 : found->second.penalty(now, policy_);
}

Micros FlapHistory::until_reuse(const PathId& path, Time now) const {
  const auto found = paths_.find(path);
  return found == paths_.end() ? Micros(0) : found->second.until_reuse(now, policy_);
}

Time FlapHistory::next_reuse(Time now) const {
  Time next = Time::max();
  for (const auto& [path, damping] : paths_) {
    if (damping.damped(now, policy_))
      next = std::min(next, now + damping.until_reuse(now, policy_));
  }
  return next;
}

}  // namespace homeport::policy
