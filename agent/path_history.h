// Which paths to a peer have been used since the agent was started, for whoever asks: the last
// changes, and how many there were.
#pragma once

#include "agent/status/path_model.h"
#include "overlay/negotiation/negotiator.h"
#include "policy/path/conversation.h"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>

namespace homeport::agent {

class PathHistory {
 public:
  static constexpr std::size_t kKept = 32;  ///< changes, of all classes

  /// Of one class.
  struct Current {
    std::optional<PathSnapshot> path;
    std::optional<SystemTime> since;  ///< none: there has been no change yet
    policy::ChoiceCause cause = policy::ChoiceCause::unchanged;
    std::map<policy::ChoiceCause, std::uint64_t> changes;
  };

  PathHistory(std::string own_host, std::string peer_host)
      : side_(policy::side_of(own_host, peer_host)), peer_host_(std::move(peer_host)) {}

  /// What an earlier run of the agent has left in use: no change.
  void found(SystemTime now, policy::TrafficClass traffic, const policy::PathId& path,
             const policy::Conversation& known);
  /// What the negotiator has said is to be used from now on. `known`: for the interfaces' names.
  void changed(SystemTime now, const overlay::PathUse& use, const policy::Conversation& known);

  const Current& current(policy::TrafficClass traffic) const { return current_[traffic]; }
  /// Oldest first.
  const std::deque<PathChange>& recent() const { return recent_; }

 private:
  policy::Side side_;
  std::string peer_host_;
  policy::PerClass<Current> current_;
  std::deque<PathChange> recent_;
};

/// The path as the host on that side sees it.
PathSnapshot seen_from(policy::Side side, const policy::PathId& path,
                       const policy::Conversation& known);

}  // namespace homeport::agent
