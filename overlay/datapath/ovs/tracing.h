// Traces on Open vSwitch: asks the switch what becomes of a packet, and counts real ones at the
// flows that it names.
#pragma once

#include "overlay/datapath/ovs/flow_trace.h"
#include "overlay/datapath/ovs_datapath.h"
#include "overlay/vswitch/bridge.h"

#include <memory>

namespace homeport::overlay::ovs {

class Tracing {
 public:
  /// Of packets of this bridge. Both must outlive it, and what it returns.
  Tracing(vswitch::Bridge& bridge, const OvsOptions& options)
      : bridge_(bridge), options_(options) {}

  /// Changes nothing. From any thread.
  Result<ToldTrace> trace(const TraceSurroundings& around, const TraceOrigin& origin,
                          const TracedPacket& packet) const;
  /// From any thread.
  Result<std::unique_ptr<TraceCounter>> count(const BridgePorts& ports, const TraceOrigin& origin,
                                              const TracedPacket& packet) const;

 private:
  Result<FlowTrace> ask(const std::string& flow) const;

  vswitch::Bridge& bridge_;
  const OvsOptions& options_;
};

}  // namespace homeport::overlay::ovs
