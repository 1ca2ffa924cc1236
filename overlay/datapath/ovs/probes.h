// Probes by Open vSwitch: flows answer those of other hosts and hand the agent a copy, to be
// counted, and the answers to its own. What is handed over comes on the thread of the bridge's
// connections; the rest of this is for the datapath's.
#pragma once

#include "overlay/datapath/ovs/asks.h"
#include "overlay/datapath/ovs/use_counts.h"
#include "overlay/datapath/probe_wire.h"
#include "overlay/link/unique_fd.h"
#include "overlay/vswitch/bridge.h"

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

namespace homeport::overlay::ovs {

class Probes {
 public:
  /// `local_vtep`: to which comes what the switch does not tell the destination of.
  explicit Probes(std::optional<policy::IpAddress> local_vtep);

  /// False: it is no probe, and somebody else's.
  bool take(const vswitch::PuntedPacket& packet);

  /// Readable when there are answers.
  int answers_fd() const { return event_.get(); }
  std::vector<ProbeAnswer> take_answers();
  std::vector<ProbesHeard> heard();

 private:
  void answered(const ProbeAnswer& answer);
  void asked(const ProbePair& pair, ProbeTime when);

  struct Asked {
    std::uint64_t count = 0;
    ProbeTime last{};
  };
  const std::optional<policy::IpAddress> local_vtep_;
  const UniqueFd event_;
  std::mutex mutex_;  ///< For what follows.
  std::vector<ProbeAnswer> answers_;
  std::map<ProbePair, Asked> asked_;
};

/// Lives no longer than what asks.
policy::Result<std::unique_ptr<ProbeWire>> make_probe_wire(std::shared_ptr<Probes> probes,
                                                           Asks& asks,
                                                           const vswitch::BridgeOptions& bridge);

}  // namespace homeport::overlay::ovs
