// Homeport's own hosts of the interfaces bench.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "tests/bench/interfaces/system.h"
#include "tests/lab/lab.h"

namespace homeport::lab {

struct HomeportOptions {
  bool fast = false;         ///< `homeport path limit all --detection fast`
  bool interactive = false;  ///< the class of the application that sends
  /// Through a process that delays on command, at the destination's interfaces; 0: no such.
  std::chrono::microseconds delay{0};
};

class HomeportSystem final : public System {
 public:
  explicit HomeportSystem(const HomeportOptions& options);

  const Namespace& host(Side side) const override;
  Link& link(Side side, std::size_t interface) override;
  std::unique_ptr<Traffic> start_traffic() override;

  /// The path from the source, as its agent tells: interfaces there and here.
  std::string path() const;
  /// From now on frames take that much longer, in both directions.
  void begin_delay(std::size_t interface);

 private:
  void wait_settled() const;

  HomeportOptions options_;
  Lab lab_;
  Host* source_;
  Host* destination_;
  const Namespace* client_ = nullptr;
  const Namespace* sink_ = nullptr;
};

}  // namespace homeport::lab
