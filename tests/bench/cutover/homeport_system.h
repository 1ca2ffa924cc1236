// Homeport: the control database, an agent on each host, a netdev application.
#pragma once

#include <memory>

#include "tests/bench/cutover/system.h"
#include "tests/lab/lab.h"

namespace homeport::lab {

/// When the application goes on at the destination. What is sent to it before then waits in its
/// socket there.
enum class GoOn {
  with_traffic,  ///< when the first datagram arrives there, for which it has been listening
  when_told,     ///< when `homeport move --wait` has ended
};

class HomeportSystem : public System {
 public:
  explicit HomeportSystem(GoOn when);
  const Containers& containers() const override { return *containers_; }
  void move(Place to, MovingFlow& flow) override;

 private:
  GoOn when_;
  Lab lab_;
  std::unique_ptr<Containers> containers_;
};

}  // namespace homeport::lab
