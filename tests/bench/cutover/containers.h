// The containers of the cutover bench, equal for every system that is compared.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "tests/lab/network.h"

namespace homeport::lab {

/// Where the application can be: on host A or on host B.
enum class Place : std::size_t { a, b };
constexpr std::size_t index(Place place) {
  return static_cast<std::size_t>(place);
}
constexpr Place other(Place place) {
  return place == Place::a ? Place::b : Place::a;
}

/// A container on each of the hosts A and B, with one MAC and one IP address, and one on host C
/// that sends to it: network namespaces, each with a veth pair whose host end is `kAppDevice` or
/// `kSenderDevice`. IPv6 is off in them, the sender's neighbor entry is fixed (a move does not
/// change the MAC address), and nothing is sent from the application's side but what announces
/// it: so nothing but the move decides where a datagram goes. Checksum offload is off, because
/// Open vSwitch's userspace datapath needs whole checksums.
class Containers {
 public:
  static constexpr const char* kAppDevice = "app0";
  static constexpr const char* kSenderDevice = "cli0";
  static constexpr const char* kAppMac = "02:00:00:00:01:05";
  static constexpr const char* kAppIp = "10.1.0.5";
  static constexpr const char* kSenderMac = "02:00:00:00:01:02";
  static constexpr const char* kSenderIp = "10.1.0.2";

  static constexpr std::uint32_t kMtu = 1400;  ///< fits every system's tunnel

  Containers(const Namespace& a, const Namespace& b, const Namespace& c);

  const Namespace& app(Place place) const { return *apps_[index(place)]; }
  const Namespace& sender() const { return *sender_; }

 private:
  std::vector<std::unique_ptr<Link>> links_;
  std::array<std::unique_ptr<Namespace>, 2> apps_;
  std::unique_ptr<Namespace> sender_;
};

}  // namespace homeport::lab
