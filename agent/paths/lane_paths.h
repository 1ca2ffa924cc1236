// The paths that the lanes of moves from here may take, and who follows them.
#pragma once

#include "migration/move/lane_paths.h"
#include "overlay/datapath/probe_wire.h"
#include "overlay/negotiation/negotiator.h"

#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace homeport::agent {

/// Of the direct paths in bulk's order those that are as good as the best, as `side` sees them, and
/// first of all the one in use: beside what a controller pins nothing else, beside what is good
/// nothing that is poor or not measured. A damped path is as good as a good one, since it carries,
/// and a lane that it loses again is soon made good; what has made it worse may have been the
/// lanes. Empty: none can be used.
std::vector<migration::LanePath> paths_for_lanes(const overlay::PathNegotiator& negotiator,
                                                 policy::Side side, policy::Time now);

/// Used on the control executor only.
class LaneFollowers final : public migration::LanePaths {
 public:
  struct Hooks {
    /// Somebody follows that host from now on: what there is may be offered.
    std::function<void(const std::string& host)> followed;
    /// The lanes to that host are others than before, or have sent: `lanes`.
    std::function<void(const std::string& host, const std::vector<migration::LaneReport>& lanes)>
        reported;
  };

  explicit LaneFollowers(Hooks hooks);
  /// Nothing is reported any more.
  ~LaneFollowers() override;

  std::unique_ptr<Following> follow(const std::string& host, Changed changed) override;
  bool followed(const std::string& host) const;
  /// To those who follow that host, if there are any, paths_for_lanes().
  void offer(const std::string& host, const overlay::PathNegotiator& negotiator, policy::Side side,
             policy::Time now);
  /// The same of these, if they are others than before.
  void offer(const std::string& host, const std::vector<migration::LanePath>& paths);
  /// On which there are lanes to that host.
  std::set<overlay::ProbePair> pairs(const std::string& host) const;

 private:
  struct State;
  class Follower;
  std::shared_ptr<State> state_;
};

}  // namespace homeport::agent
