// Sends probes where the switch sends the tunnel's packets itself ("netdev"), as it sends those: by
// its own routes and bridges. A way that the kernel has and the switch has not is none.
#pragma once

#include "overlay/datapath/ovs_datapath.h"
#include "overlay/datapath/probe_sender.h"
#include "overlay/vswitch/bridge.h"

namespace homeport::overlay::ovs {

class Asks {
 public:
  /// By this bridge, which hands over packets (Bridge::answer_punted()) and outlives it.
  Asks(vswitch::Bridge& bridge, const OvsOptions& options);

  /// See ProbeWire::ask(). One that the switch cannot send is lost. A switch would let an ask be
  /// cut on its way, so those that are longer than the smallest are sent by the kernel, where that
  /// takes the same way; error operation_not_supported where it does not.
  Result<void> ask(const ProbeAsk& ask);

 private:
  Result<void> ask_by_kernel(const ProbeAsk& ask);

  vswitch::Bridge& bridge_;
  const bool by_switch_;  ///< Otherwise the kernel sends all that is in the tunnel.
  ProbeSender sender_;
};

}  // namespace homeport::overlay::ovs
