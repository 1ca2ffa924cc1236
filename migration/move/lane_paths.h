// The paths that the lanes of a move may take, as a small interface: the agent implements it over
// what it has negotiated with the other host.
#pragma once

#include "policy/address.h"

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace homeport::migration {

/// From an address of this host to one of the other's, and the interfaces that have them; the
/// other's name is empty where it is not known.
struct LanePath {
  policy::IpAddress local, remote;
  std::string local_interface = {}, remote_interface = {};

  bool operator==(const LanePath&) const = default;
};

enum class LaneState {
  open,
  given_up,  ///< lost, or never opened; it may be tried again
  closed     ///< all lanes are: the copy has ended
};

/// A lane, or what has become of one, and what it has sent since it was reported last. What had the
/// same path before counts as the same lane.
struct LaneReport {
  std::optional<LanePath> path;  ///< none: wherever the kernel routes
  std::string remote = {};       ///< where it goes, as text
  LaneState state = LaneState::open;
  std::uint64_t bytes_sent = 0;  ///< in all: frames, before encryption
  // Only of one that is open.
  std::uint64_t acknowledged = 0;      ///< bytes, by the other host's TCP
  std::chrono::microseconds time{};    ///< in which it was
  bool backlogged = false;             ///< there was always more to send: the path set the pace
  std::uint64_t bytes_per_second = 0;  ///< lately

  bool operator==(const LaneReport&) const = default;
};

/// Used on the control executor only.
class LanePaths {
 public:
  /// The paths are followed for as long as this is there.
  class Following {
   public:
    virtual ~Following() = default;
    /// The lanes there are now, each time one comes or goes and a few times a second.
    virtual void lanes(const std::vector<LaneReport>& all) = 0;
  };
  /// The first is the one that bulk traffic uses, then the others in its order: those that are as
  /// good as the best. They may have ends in common. Empty: the two hosts have no choice, or
  /// nothing that is usable.
  using Changed = std::function<void(std::vector<LanePath>)>;

  virtual ~LanePaths() = default;
  /// Calls `changed` before it returns, and whenever they are others.
  virtual std::unique_ptr<Following> follow(const std::string& host, Changed changed) = 0;
};

}  // namespace homeport::migration
