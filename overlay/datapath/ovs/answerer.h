// The agent's part in packets that do not fit the tunnel: answers or cuts what flows hand it, and
// keeps the meters by which they hand over no more than it takes, probes included.
#pragma once

#include "overlay/datapath/datapath.h"
#include "overlay/datapath/ovs/flow_image.h"
#include "overlay/datapath/ovs/probes.h"
#include "overlay/link/link.h"
#include "overlay/vswitch/bridge.h"

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace homeport::overlay::ovs {

/// The taps among the ports of which a userspace switch does not read all that guests write into
/// them: of a frame that is longer than the device's MTU it reads nothing, and the kernel takes any
/// from a guest.
std::vector<std::string> narrow_taps(const std::vector<Port>& ports,
                                     const std::vector<Link>& links);
/// Has it read all of those too.
Result<void> widen_taps(const std::vector<Port>& ports, const std::vector<Link>& links);

class Answerer {
 public:
  /// Of packets of this bridge, which must outlive it.
  explicit Answerer(vswitch::Bridge& bridge) : bridge_(bridge) {}

  /// From now on, whatever the calling thread does. What is a probe is for `probes`.
  void start(std::shared_ptr<Probes> probes);

  /// Has a meter of each of those OpenFlow ports that may hand something over, before there are
  /// flows that refer to it. Says in `mended` what somebody else has done to those that it left.
  Result<void> keep_meters(const std::vector<Port>& applications, const BridgePorts& ports,
                           std::vector<std::string>& mended);
  /// Takes away the others, after the flows that referred to them.
  Result<void> drop_meters();
  /// Whether the meters are as these two have left them.
  Result<bool> untouched();

  /// Adds what was answered, what was cut, and what was dropped.
  Result<void> count(TotalCounters& totals);

 private:
  /// What the thread of the bridge's connections has, too.
  struct Counts;
  Result<std::map<std::uint32_t, std::uint32_t>> rates();

  vswitch::Bridge& bridge_;
  std::shared_ptr<Counts> counts_;
  std::map<std::uint32_t, std::uint32_t> left_;  ///< What the last keep_meters() left: their rates.
  std::set<std::uint32_t> others_;               ///< Of Homeport's, what it found besides.
};

}  // namespace homeport::overlay::ovs
