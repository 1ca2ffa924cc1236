// The paths between two hosts and the classes of traffic on them, as plain values.
//
// A path joins an interface of one host with an interface of the other, directly or through a third
// host that relays. Both hosts write a path the same way: the end at the host whose name sorts
// first comes first. So what one says of a path needs no translation at the other, nothing that is
// computed from paths depends on who computes it, and two logs can be laid side by side.
#pragma once

#include "policy/address.h"
#include "policy/traffic_class.h"

#include <array>
#include <chrono>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace homeport::policy {

/// A moment of the caller's steady clock: nothing in policy/ asks a clock.
using Time = std::chrono::steady_clock::time_point;
using Micros = std::chrono::microseconds;

/// One value for each class.
template <class T>
class PerClass {
 public:
  PerClass() = default;
  explicit PerClass(const T& each) : values_{each, each, each} {}

  T& operator[](TrafficClass traffic) { return values_[static_cast<std::size_t>(traffic)]; }
  const T& operator[](TrafficClass traffic) const {
    return values_[static_cast<std::size_t>(traffic)];
  }
  bool operator==(const PerClass&) const = default;

 private:
  std::array<T, kTrafficClasses.size()> values_{};
};

/// Which of the two hosts: first is the one whose name sorts first.
enum class Side : std::uint8_t { first, second };

constexpr Side other(Side side) {
  return side == Side::first ? Side::second : Side::first;
}

/// The side that `host` is on in its conversation with `peer`, a host of another name.
inline Side side_of(std::string_view host, std::string_view peer) {
  return host < peer ? Side::first : Side::second;
}

/// An interface of a host with one of its addresses: what a path can begin or end at. The address
/// tells it from all others of its host, and stays when an agent starts again.
struct PathEnd {
  IpAddress address;
  std::string interface;
  std::uint64_t speed = 0;  ///< bit/s; 0: not known
  std::uint32_t mtu = 0;    ///< bytes of IP packet; 0: not known
  std::uint32_t cost = 0;   ///< the controller's price for using it, 0 the cheapest
  std::vector<std::string> labels = {};
  bool default_route = false;  ///< the host's default route leaves here

  bool operator==(const PathEnd&) const = default;
};

struct PathId {
  IpAddress first;         ///< the end at the first host
  IpAddress second;        ///< the end at the second host
  std::string relay = {};  ///< the host it leads through; empty: none

  std::weak_ordering operator<=>(const PathId&) const = default;
  bool operator==(const PathId&) const = default;
  const IpAddress& at(Side side) const { return side == Side::first ? first : second; }
};

/// "192.0.2.1 - 198.51.100.1", with " through hostC" if it is relayed.
std::string to_string(const PathId& path);

/// Whether they have an interface's address in common, at either host.
bool share_an_end(const PathId& one, const PathId& other);

/// Bounds of a conversation.
inline constexpr std::size_t kMostEnds = 8;    ///< of one host
inline constexpr std::size_t kMostPaths = 64;  ///< between two hosts, relayed ones included

}  // namespace homeport::policy
