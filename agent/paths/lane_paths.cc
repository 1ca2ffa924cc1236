#include "agent/paths/lane_paths.h"

#include <algorithm>
#include <map>
#include <utility>

namespace homeport::agent {

using migration::LanePath;
using migration::LaneReport;
using policy::RankedPath;

namespace {

policy::Standing standing_for_lanes(const RankedPath& path) {
  return path.standing == policy::Standing::damped ? policy::Standing::good : path.standing;
}

std::string interface_of(const policy::Party& party, const policy::IpAddress& address) {
  const auto end = std::ranges::find(party.ends, address, &policy::PathEnd::address);
  return end == party.ends.end() ? std::string() : end->interface;
}

}  // namespace

std::vector<LanePath> paths_for_lanes(const overlay::PathNegotiator& negotiator, policy::Side side,
                                      policy::Time now) {
  const policy::Conversation known = negotiator.conversation(now);
  const std::vector<RankedPath>& bulk = negotiator.ranked(policy::TrafficClass::bulk);
  const policy::Side there = policy::other(side);
  const auto direct = [](const RankedPath& path) {
    return path.usable() && path.path.relay.empty();
  };
  std::vector<LanePath> paths;
  const auto add = [&](const policy::PathId& path) {
    paths.push_back({path.at(side), path.at(there), interface_of(known.at(side), path.at(side)),
                     interface_of(known.at(there), path.at(there))});
  };
  const RankedPath* used =
      policy::find(bulk, negotiator.agreement(policy::TrafficClass::bulk).choice().path);
  if (used != nullptr && direct(*used)) add(used->path);
  auto best = policy::Standing::excluded;
  for (const RankedPath& path : bulk) {
    if (direct(path)) best = std::min(best, standing_for_lanes(path));
  }
  for (const RankedPath& path : bulk) {
    if (direct(path) && standing_for_lanes(path) == best && &path != used) add(path.path);
  }
  return paths;
}

struct LaneFollowers::State {
  Hooks hooks;
  std::map<std::string, std::vector<LanePath>> offered;  ///< to hosts that are followed
  std::vector<Follower*> followers;
};

class LaneFollowers::Follower final : public migration::LanePaths::Following {
 public:
  Follower(const std::shared_ptr<State>& state, std::string host,
           migration::LanePaths::Changed changed)
      : state_(state), host_(std::move(host)), changed_(std::move(changed)) {
    state->followers.push_back(this);
  }
  ~Follower() override {
    auto state = state_.lock();
    if (!state) return;
    std::erase(state->followers, this);
    const bool last = std::ranges::none_of(
        state->followers, [&](const Follower* each) { return each->host_ == host_; });
    if (last) state->offered.erase(host_);
    state->hooks.reported(host_, {});
  }

  void lanes(const std::vector<LaneReport>& all) override {
    pairs_.clear();
    for (const LaneReport& lane : all) {
      if (lane.path) pairs_.insert({lane.path->local, lane.path->remote});
    }
    if (auto state = state_.lock()) state->hooks.reported(host_, all);
  }

  const std::string& host() const { return host_; }
  const std::set<overlay::ProbePair>& pairs() const { return pairs_; }
  void tell(const std::vector<LanePath>& paths) { changed_(paths); }

 private:
  std::weak_ptr<State> state_;
  std::string host_;
  migration::LanePaths::Changed changed_;
  std::set<overlay::ProbePair> pairs_;
};

LaneFollowers::LaneFollowers(Hooks hooks) : state_(std::make_shared<State>()) {
  state_->hooks = std::move(hooks);
}

LaneFollowers::~LaneFollowers() = default;

std::unique_ptr<migration::LanePaths::Following> LaneFollowers::follow(const std::string& host,
                                                                       Changed changed) {
  auto follower = std::make_unique<Follower>(state_, host, std::move(changed));
  follower->tell(state_->offered[host]);
  state_->hooks.followed(host);
  return follower;
}

bool LaneFollowers::followed(const std::string& host) const {
  return std::ranges::any_of(state_->followers,
                             [&](const Follower* each) { return each->host() == host; });
}

void LaneFollowers::offer(const std::string& host, const overlay::PathNegotiator& negotiator,
                          policy::Side side, policy::Time now) {
  if (followed(host)) offer(host, paths_for_lanes(negotiator, side, now));
}

void LaneFollowers::offer(const std::string& host, const std::vector<LanePath>& paths) {
  if (!followed(host)) return;
  if (std::exchange(state_->offered[host], paths) == paths) return;
  for (Follower* each : state_->followers) {
    if (each->host() == host) each->tell(paths);
  }
}

std::set<overlay::ProbePair> LaneFollowers::pairs(const std::string& host) const {
  std::set<overlay::ProbePair> pairs;
  for (const Follower* each : state_->followers) {
    if (each->host() == host) pairs.insert(each->pairs().begin(), each->pairs().end());
  }
  return pairs;
}

}  // namespace homeport::agent
