// What the interfaces bench compares: two hosts with two interfaces each, and what chooses between
// them.
#pragma once

#include <array>
#include <cstddef>
#include <memory>

#include "tests/bench/interfaces/traffic.h"
#include "tests/lab/network.h"

namespace homeport::lab {

/// Which host: where the traffic comes from, and where it goes to.
enum class Side : std::size_t { source, destination };
constexpr std::size_t index(Side side) {
  return static_cast<std::size_t>(side);
}

inline constexpr LinkOptions kUnderlay{.rate_mbit = 1000, .mtu = 1500};

/// Each host has eth0 at one switch and eth1 at another. Made once both interfaces can be used.
class System {
 public:
  virtual ~System() = default;
  virtual const Namespace& host(Side side) const = 0;
  virtual Link& link(Side side, std::size_t interface) = 0;
  virtual std::unique_ptr<Traffic> start_traffic() = 0;
};

/// Hosts without an agent. Behind each is an application, a namespace with a veth pair whose host
/// end is `app0`; the neighbors are known there.
class PlainHosts {
 public:
  PlainHosts();

  static constexpr const char* kDevice = "app0";
  static constexpr const char* kSinkAddress = "10.1.0.5";
  /// On the underlay.
  static std::string address(Side side, std::size_t interface) {
    return "172.31." + std::to_string(interface) + "." + std::to_string(11 + index(side));
  }
  const Namespace& host(Side side) const { return *hosts_[index(side)]; }
  const Namespace& application(Side side) const { return *applications_[index(side)]; }
  Link& link(Side side, std::size_t interface) { return *links_[index(side)][interface]; }
  const std::filesystem::path& directory() const { return directory_; }
  /// To the application at the destination.
  std::unique_ptr<Traffic> start_datagrams() const;

 private:
  std::filesystem::path directory_;
  Cleanup cleanup_;
  std::array<std::unique_ptr<Switch>, 2> switches_;
  std::array<std::unique_ptr<Namespace>, 2> hosts_, applications_;
  std::array<std::array<Link*, 2>, 2> links_{};
  std::vector<std::unique_ptr<Link>> application_links_;
};

/// Before hosts are connected to the second switch. The kernel tells at once that a device's
/// carrier is lost where the number of the device differs from that of the one it stands on, its
/// peer here; otherwise, as with a network card, at once or within a second, by whether the machine
/// has had such news lately (net/core/link_watch.c). The numbers of all are to differ.
void number_apart(const std::string& second_switch);

/// Waits until the address answers a ping.
void wait_answers(const Namespace& from, const std::string& address);

}  // namespace homeport::lab
