#include "overlay/datapath/ovs/asks.h"

#include "overlay/datapath/ovs/pipeline.h"
#include "overlay/datapath/probe_frame.h"
#include "overlay/link/route.h"

#include <fmt/format.h>
#include <net/if.h>

#include <array>
#include <chrono>

namespace homeport::overlay::ovs {

namespace {

bool is_smallest(const ProbeAsk& ask) {
  return ask.size <= smallest_probe(ask.pair.local.is_v6());
}

}  // namespace

Asks::Asks(vswitch::Bridge& bridge, const OvsOptions& options)
    : bridge_(bridge),
      by_switch_(options.bridge.datapath_type == "netdev"),
      sender_(options.udp_port) {}

Result<void> Asks::ask(const ProbeAsk& ask) {
  const bool families_differ = ask.pair.local.is_v6() != ask.pair.remote.is_v6();
  if (!by_switch_ || families_differ) return sender_.send(ask);
  if (!is_smallest(ask)) return ask_by_kernel(ask);
  // Made when the thread of the bridge's connections gets to it.
  bridge_.send({kTunnel, 0, ask.pair.local, ask.pair.remote},
               [ask] { return probe_frame(ask, std::chrono::steady_clock::now()); });
  return {};
}

/// The kernel goes by the source, the switch by the destination alone.
Result<void> Asks::ask_by_kernel(const ProbeAsk& ask) {
  const auto& [local, remote] = ask.pair;
  auto by_source = find_route(remote, local);
  if (!by_source) return by_source.error();
  auto by_destination = find_route(remote, std::nullopt);
  if (!by_destination) return by_destination.error();
  std::array<char, IF_NAMESIZE> device{};
  if (by_source->device != 0 && by_source->device == by_destination->device &&
      ::if_indextoname(static_cast<unsigned>(by_source->device), device.data()) &&
      bridge_.has_device_at_hand(device.data())) {
    return sender_.send(ask);
  }
  return policy::make_error(
      boost::system::errc::operation_not_supported,
      fmt::format("What fits from {} to {} cannot be asked: ovs-vswitchd does not send there by "
                  "the device that the kernel would",
                  local.to_string(), remote.to_string()));
}

}  // namespace homeport::overlay::ovs
