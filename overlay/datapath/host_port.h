// How this host's own processes reach applications: a device of their own, at whose egress
// hp_from_host takes over, and a route to each address in a table of its own, which the kernel
// looks in before its others. An address is then found wherever its network is, also one that no
// underlay has any more; whatever else the host sends goes its normal way, untouched.
#pragma once

#include "overlay/datapath/datapath.h"
#include "overlay/datapath/trace.h"
#include "overlay/link/link.h"
#include "overlay/link/route.h"

#include <optional>
#include <string>
#include <vector>

namespace homeport::overlay {

/// Whether a network needs it.
bool needs_host_port(const DesiredState& desired);
/// An address of this host that a process gets which has not chosen its own: of that family, and
/// the VTEP if that is.
std::optional<policy::IpAddress> own_address(const DesiredState& desired,
                                             const std::optional<policy::IpAddress>& vtep, bool v6);

/// How this host's kernel sends a packet of its own processes, which chooses the source where that
/// is unspecified. Error: the source is no address of this host. The MTU is never 0 with a device.
Result<RouteTaken> route_of_host(const TracedPacket& packet);

class HostPort {
 public:
  explicit HostPort(std::string device) : device_(std::move(device)) {}
  const std::string& device() const { return device_; }
  /// The other end of the device, where what the host's processes send comes out.
  std::string other_end() const { return device_ + "p"; }

  /// Makes the device if it is not there, and brings up both of its ends. It has the router's MAC
  /// address, and asks nobody for neighbors. Errors: another device has the name.
  Result<Link> ensure_device();
  /// Makes the routes be these, and no others, and goes on where one cannot be set: a sentence for
  /// each in `problems`. Returns what this and ensure_device() found different from what they had
  /// left, which somebody else has changed: one clause each.
  std::vector<std::string> set_routes(int device, std::vector<Route> routes,
                                      std::vector<std::string>& problems);
  /// The same for a part: sets some routes, removes those to the addresses `without`.
  void change_routes(int device, const std::vector<Route>& set,
                     const std::vector<policy::IpAddress>& without,
                     std::vector<std::string>& problems);
  /// Whether the device, the rules and the routes are as the last call left them.
  Result<bool> untouched(int device) const;
  /// Removes all of it. It is not an error if nothing is there.
  Result<void> remove();

 private:
  Result<void> ensure_end(const std::string& name);

  std::string device_;
  int own_ = 0;                      ///< index of the device, once it is known to be ours
  std::vector<std::string> mended_;  ///< since the last set_routes()
  std::vector<Route> left_;          ///< by the last set_routes() that could do everything, sorted
  bool rules_left_ = false;
};

}  // namespace homeport::overlay
