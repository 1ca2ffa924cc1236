// What other hosts have sent in outer fragments, for a userspace switch, which does not put packets
// together: it leaves fragments to the kernel, which does, and hands the whole to a socket here.
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
  Result<void> take(const boost::asio::ip::address_v4& vtep, std::uint16_t udp_port,
                    std::int64_t tunnel);
  /// Adds what was dropped.
  void count(TotalCounters& totals) const;

 private:
  /// What the thread of the bridge's connections has, too.
  struct Shared;

  vswitch::Bridge& bridge_;
  std::shared_ptr<Shared> shared_;
};

}  // namespace homeport::overlay::ovs
