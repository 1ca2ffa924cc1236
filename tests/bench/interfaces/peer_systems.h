// The peers of the interfaces bench. README.md beside this file says how they are set up, and why.
#pragma once

#include <memory>
#include <vector>

#include "tests/bench/interfaces/system.h"
#include "tests/lab/open_vswitch.h"

namespace homeport::lab {

class PlainSystem : public System {
 public:
  const Namespace& host(Side side) const final { return hosts_.host(side); }
  Link& link(Side side, std::size_t interface) final { return hosts_.link(side, interface); }
  std::unique_ptr<Traffic> start_traffic() override { return hosts_.start_datagrams(); }

 protected:
  PlainHosts hosts_;
};

/// Linux MPTCP between the hosts themselves, a subflow on each network.
class MptcpSystem final : public PlainSystem {
 public:
  MptcpSystem();
  std::unique_ptr<Traffic> start_traffic() override;
};

/// Open vSwitch with a VXLAN tunnel on each network, BFD on both, and a group that takes the first
/// one that is alive.
class OpenVSwitchSystem final : public PlainSystem {
 public:
  /// `interval_ms`: bfd:min_rx and bfd:min_tx; 0: the defaults.
  explicit OpenVSwitchSystem(unsigned interval_ms);

 private:
  std::vector<std::unique_ptr<OpenVSwitch>> switches_;
};

/// A VXLAN device of the kernel's between addresses that are reached by a group of nexthops, one on
/// each network.
class NexthopSystem final : public PlainSystem {
 public:
  NexthopSystem();
};

}  // namespace homeport::lab
