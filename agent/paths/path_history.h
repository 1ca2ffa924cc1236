// Which paths to a peer have been used since the agent was started, for whoever asks: the last
// changes, and how many there were.
#pragma once

#include "agent/status/path_model.h"
#include "overlay/negotiation/negotiator.h"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>

namespace homeport::agent {

/// One moment by both clocks.
struct PathsMoment {
  policy::Time steady;
  SystemTime system;
};

class PathHistory {
 public:
  static constexpr std::size_t kKept = 32;  ///< changes, of all classes

  /// Of one class.
  struct Current {
    std::optional<PathSnapshot> path = {};
    std::optional<PathSnapshot> before = {};  ///< what the last change has replaced
    std::optional<SystemTime> since = {};     ///< none: there has been no change yet
    policy::ChoiceCause cause = policy::ChoiceCause::unchanged;
    std::string text = {};  ///< of that change
    std::map<policy::ChoiceCause, std::uint64_t> changes = {};
  };

  /// The two hosts have different names.
  PathHistory(const std::string& own_host, std::string peer_host)
      : side_(policy::side_of(own_host, peer_host)), peer_host_(std::move(peer_host)) {}

  /// An earlier run of the agent has left it in use: no change.
  void found(policy::TrafficClass traffic, const policy::PathId& path);
  /// `negotiator` has just said that this is to be used.
  void changed(PathsMoment now, const overlay::PathUse& use,
               const overlay::PathNegotiator& negotiator);

  const Current& current(policy::TrafficClass traffic) const { return current_[traffic]; }
  /// Oldest first.
  const std::deque<PathChange>& recent() const { return recent_; }
  /// Of this host, in its conversation with the peer.
  policy::Side side() const { return side_; }
  const std::string& peer_host() const { return peer_host_; }

 private:
  policy::Side side_;
  std::string peer_host_;
  policy::PerClass<std::optional<policy::PathId>> ids_;
  policy::PerClass<Current> current_;
  std::deque<PathChange> recent_;
};

}  // namespace homeport::agent
