// What a switch says becomes of a packet ("ovs-appctl ofproto/trace"), in the steps of
// overlay/datapath/trace.h: which flow decides what. Pure.
#pragma once

#include "overlay/datapath/ovs/flow_image.h"
#include "overlay/datapath/trace.h"
#include "overlay/vswitch/bridge.h"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace homeport::overlay::ovs {

/// One flow that the switch looked at, or none of a table that had no such flow.
struct MetFlow {
  vswitch::FlowKey key;
  std::uint64_t cookie = 0;
  bool found = true;
  /// Of FlowTrace::flows: what led there.
  std::optional<std::size_t> from = {};
  bool operator==(const MetFlow&) const = default;
};

/// One line of what is printed: the flow that was found (`action` empty), or something it does.
struct TraceLine {
  std::size_t flow = 0;  ///< of FlowTrace::flows
  std::string action;
  bool operator==(const TraceLine&) const = default;
};

struct FlowTrace {
  std::vector<MetFlow> flows;
  std::vector<TraceLine> lines;
  std::string final_flow;  ///< the packet at the end; empty: as at the beginning
};

/// nullopt: it does not have that form.
std::optional<FlowTrace> read_trace(std::string_view printed);

struct TraceSurroundings {
  const BridgePorts& ports;
  /// The flows that the agent has left, by which they are known; null: it does not know.
  const FlowImage* left = nullptr;
};

struct ToldTrace {
  Trace trace;
  std::vector<vswitch::FlowKey> flows;  ///< Those that the packet meets, of Homeport's.
};

ToldTrace tell(const FlowTrace& printed, const TraceSurroundings& around, const TraceOrigin& origin,
               const TracedPacket& packet);

/// Which MAC address the switch answers with, of the trace of a question for it.
std::optional<policy::MacAddress> answered_mac(const FlowTrace& printed);

/// The packet as the switch is asked about it, from that OpenFlow port.
std::string flow_text(const TraceOrigin& origin, const TracedPacket& packet, std::int64_t in_port,
                      const std::optional<policy::IpAddress>& local_vtep);
/// The question of `packet`'s sender for the MAC address of `hop`.
std::string question_text(const TracedPacket& packet, const policy::IpAddress& hop,
                          std::int64_t in_port);

}  // namespace homeport::overlay::ovs
