// A kernel bridge and a VXLAN device on each host; a move is known by the gratuitous ARP request.
#pragma once

#include "tests/bench/cutover/system.h"

namespace homeport::lab {

class BridgeSystem : public System {
 public:
  BridgeSystem();
  const Containers& containers() const override { return hosts_.containers(); }
  /// There is nothing to tell it: bridges and VXLAN devices learn from what is announced.
  void move(Place to, MovingFlow& flow) override;

 private:
  PlainHosts hosts_;
};

}  // namespace homeport::lab
