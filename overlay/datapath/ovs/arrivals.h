// What other hosts have sent that a userspace switch leaves to the kernel, which hands it to a
// socket here: what came in outer fragments, which the switch does not put together, and what came
// while the switch did not know its tunnels. It forgets them for a few milliseconds whenever any
// device or route of its network namespace changes.
#pragma once

#include "overlay/datapath/datapath.h"
#include "overlay/vswitch/bridge.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

namespace homeport::overlay::ovs {

struct Encapsulated {
  std::uint32_t key = 0;  ///< the tunnel's: the network, maybe with the mark
  std::string_view frame;
};
/// Read from the payload of a datagram (RFC 7348, section 5); nullopt: it is no VXLAN.
std::optional<Encapsulated> read_vxlan(std::string_view datagram);

class Arrivals {
 public:
  /// Of packets of this bridge, which must outlive it.
  explicit Arrivals(vswitch::Bridge& bridge) : bridge_(bridge) {}

  /// Takes them from now on, those for that VTEP, as if they had come by that OpenFlow port.
  Result<void> take(const policy::IpAddress& vtep, std::uint16_t udp_port, std::int64_t tunnel);
  /// Adds what was dropped.
  void count(TotalCounters& totals) const;

 private:
  /// What the thread of the bridge's connections has, too.
  struct Shared;

  vswitch::Bridge& bridge_;
  std::shared_ptr<Shared> shared_;
};

}  // namespace homeport::overlay::ovs
