// What the cutover bench compares: systems that can move a port between two hosts.
#pragma once

#include <array>
#include <memory>
#include <string>

#include "tests/bench/cutover/moving_flow.h"

namespace homeport::lab {

inline constexpr std::uint64_t kLinkMbit = 1000;  ///< of each host's one link

/// Three hosts of its own, with links and containers as every other's; the port is on A at first.
class System {
 public:
  virtual ~System() = default;
  virtual const Containers& containers() const = 0;
  /// Moves the port from where it is to `to`, the way the system's own documentation says, and
  /// lets the application go on at `to` when by that way it is to. Returns when the system has
  /// nothing left to do for this move.
  virtual void move(Place to, MovingFlow& flow) = 0;
};

/// Hosts without an agent: namespaces on one switch, with an address each.
class PlainHosts {
 public:
  PlainHosts();

  static constexpr std::size_t kCount = 3;
  static std::string name(std::size_t host) { return std::string("host") + "ABC"[host]; }
  /// On the underlay.
  static std::string address(std::size_t host) { return "172.31.0." + std::to_string(11 + host); }
  const Namespace& inside(std::size_t host) const { return *hosts_[host]; }
  const Containers& containers() const { return *containers_; }

 private:
  Switch underlay_;
  std::array<std::unique_ptr<Namespace>, kCount> hosts_;
  std::unique_ptr<Containers> containers_;
};

}  // namespace homeport::lab
