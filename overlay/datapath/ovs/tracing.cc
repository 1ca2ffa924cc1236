#include "overlay/datapath/ovs/tracing.h"

#include "overlay/datapath/host_port.h"
#include "overlay/datapath/ovs/pipeline.h"
#include "overlay/link/link.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>

namespace homeport::overlay::ovs {

namespace {

using vswitch::Bridge;
using vswitch::FlowKey;

/// It ends before it gets to the switch.
ToldTrace ended(std::string_view step, std::string entry, std::string found, TraceEnd end,
                const TracedPacket& packet) {
  ToldTrace told;
  told.trace.steps.push_back({step, std::move(entry), std::move(found)});
  told.trace.end = end;
  told.trace.packet = packet;
  return told;
}

Result<std::map<FlowKey, std::uint64_t>> packets_of(Bridge& bridge,
                                                    const std::vector<FlowKey>& keys) {
  auto flows = bridge.flows(kCookie, kCookieMask);
  if (!flows) return flows.error();
  std::map<FlowKey, std::uint64_t> packets;
  for (const vswitch::Flow& flow : *flows) {
    if (std::ranges::find(keys, flow.key) != keys.end()) packets[flow.key] = flow.counts.packets;
  }
  return packets;
}

/// A flow counts whatever meets it: of all those that the packet meets the one with the least is
/// the closest to it.
class FlowCounter final : public TraceCounter {
 public:
  FlowCounter(Bridge& bridge, std::vector<FlowKey> keys, std::string end,
              std::map<FlowKey, std::uint64_t> before)
      : bridge_(bridge), keys_(std::move(keys)), end_(std::move(end)), before_(std::move(before)) {}

  TraceCounts counts() const override {
    const auto now = packets_of(bridge_, keys_);
    if (!now) return {};
    std::optional<std::uint64_t> least;
    for (const auto& [key, packets] : *now) {
      const auto before = before_.find(key);
      // One that is new has counted from 0, and so has one that somebody has put in anew.
      const std::uint64_t from =
          before == before_.end() || before->second > packets ? 0 : before->second;
      least = std::min(least.value_or(packets - from), packets - from);
    }
    TraceCounts counts;
    if (least.value_or(0) > 0) {
      counts["packets"] = *least;
      if (!end_.empty()) counts[end_] = *least;
    }
    return counts;
  }

 private:
  Bridge& bridge_;
  const std::vector<FlowKey> keys_;
  const std::string end_;
  const std::map<FlowKey, std::uint64_t> before_;
};

/// By which name such packets are counted.
std::string name_of_end(const Trace& trace) {
  switch (trace.end) {
    case TraceEnd::delivered:
    case TraceEnd::stack:
      return "delivered";
    case TraceEnd::sent:
      return "sent";
    case TraceEnd::copied:
      return "copied";
    case TraceEnd::normal:
      return "normal";
    default:
      return trace.counters.empty() ? std::string() : trace.counters.back();
  }
}

}  // namespace

Result<FlowTrace> Tracing::ask(const std::string& flow) const {
  auto printed = bridge_.trace(flow);
  if (!printed) return printed.error();
  if (auto trace = read_trace(*printed)) return std::move(*trace);
  return policy::make_error(
      boost::system::errc::protocol_error,
      fmt::format("ovs-vswitchd traces in a form that is not known; see for yourself: "
                  "ovs-appctl ofproto/trace {} '{}'",
                  options_.bridge.name, flow));
}

Result<ToldTrace> Tracing::trace(const TraceSurroundings& around, const TraceOrigin& origin,
                                 const TracedPacket& given) const {
  TracedPacket packet = given;
  std::int64_t in_port = around.ports.tunnel;
  ToldTrace asked;
  if (const auto* port = std::get_if<FromPort>(&origin)) {
    auto number = around.ports.numbers.find(port->device);
    if (number == around.ports.numbers.end()) {
      return ended("port", {}, port->device + " is no port of the bridge " + options_.bridge.name,
                   TraceEnd::normal, packet);
    }
    in_port = number->second;
    if (port->next_hop) {
      auto question = ask(question_text(packet, *port->next_hop, in_port));
      if (!question) return question.error();
      asked = tell(*question, around, origin, packet);
      const auto mac = answered_mac(*question);
      if (!mac) {
        asked.trace.packet = packet;
        return asked;
      }
      packet.destination_mac = *mac;
      // Who sends it is told once, below.
      std::erase_if(asked.trace.steps,
                    [](const TraceStep& step) { return step.step != "neighbor"; });
      if (!asked.trace.steps.empty()) {
        asked.trace.steps.front().found =
            "the application asks, and is answered " + mac->to_string();
        asked.trace.steps.resize(1);
      }
    }
  } else if (std::holds_alternative<FromHost>(origin)) {
    auto route = route_of_host(packet);
    if (!route) return route.error();
    const auto link = find_link(options_.host_device);
    if (!link || link->index != route->device || around.ports.host == 0) {
      return ended("route", fmt::format("ip route {}", packet.destination.to_string()),
                   "it is not reached through the virtual network", TraceEnd::normal, packet);
    }
    if (auto size = size_on_route(packet, route->mtu)) {
      if (size->told) {
        return ended("size", std::move(size->step.entry), std::move(size->step.found),
                     TraceEnd::answered, packet);
      }
      asked.trace.steps.push_back(std::move(size->step));
    }
    in_port = around.ports.host;
    packet.source_mac = packet.destination_mac = kRouterMac;
  }
  auto printed = ask(flow_text(origin, packet, in_port, options_.local_vtep));
  if (!printed) return printed.error();
  ToldTrace told = tell(*printed, around, origin, packet);
  // The application asks, and a host looks at the size, between the first flow and all others.
  auto& steps = told.trace.steps;
  steps.insert(steps.begin() + std::min<std::ptrdiff_t>(1, std::ssize(steps)),
               asked.trace.steps.begin(), asked.trace.steps.end());
  return told;
}

Result<std::unique_ptr<TraceCounter>> Tracing::count(const BridgePorts& ports,
                                                     const TraceOrigin& origin,
                                                     const TracedPacket& packet) const {
  auto told = trace({ports, nullptr}, origin, packet);
  if (!told) return told.error();
  // Behind the question for the length, and by all that is counted alike, everything meets.
  std::erase_if(told->flows, [](const FlowKey& key) {
    return key.table == kFit || key.table == kSpread || key.table == kCount ||
           (key.table >= kClass && key.table != kRelay);
  });
  auto before = packets_of(bridge_, told->flows);
  if (!before) return before.error();
  return std::make_unique<FlowCounter>(bridge_, std::move(told->flows), name_of_end(told->trace),
                                       std::move(*before));
}

}  // namespace homeport::overlay::ovs
