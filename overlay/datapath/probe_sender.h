// Sends probes to other hosts, for either datapath: by the host's own stack, which finds the way by
// the local address (overlay/link/source_route.h) and refuses what its interface cannot carry.
#pragma once

#include "overlay/datapath/probe_wire.h"
#include "overlay/link/unique_fd.h"

#include <cstdint>

namespace homeport::overlay {

/// One socket for each family, opened when first used, in the caller's network namespace.
class ProbeSender {
 public:
  /// To that port of every host: VXLAN's.
  explicit ProbeSender(std::uint16_t udp_port) : udp_port_(udp_port) {}

  /// See ProbeWire::ask(). Does not wait: resource_unavailable_try_again where the socket is full.
  policy::Result<void> send(const ProbeAsk& ask);

 private:
  policy::Result<int> socket(bool v6);

  const std::uint16_t udp_port_;
  UniqueFd v4_, v6_;
};

}  // namespace homeport::overlay
