// Says when routes have changed: those of the main table, of others, or the rules between them.
#pragma once

#include "overlay/link/link.h"

#include <boost/asio/any_io_executor.hpp>

#include <chrono>
#include <functional>
#include <memory>

namespace homeport::overlay {

/// Watches the network namespace of the thread that called start(). Tables may have a million
/// routes, and thousands of them change in a second: so nothing is told of them, and `changed` is
/// called once for many. What the agent adds itself is not told of; what it removes is.
///
/// The callback runs on the executor, never from within start(), and not after the monitor is gone.
/// Use and destroy the monitor on its executor.
class RouteMonitor {
 public:
  struct Pace {
    std::chrono::steady_clock::duration settle{std::chrono::milliseconds(50)};  ///< after the first
    /// From the end of one call to the next, and so many times what the call took if that is
    /// longer.
    std::chrono::steady_clock::duration least{std::chrono::seconds(1)};
    int share = 10;
  };

  static Result<RouteMonitor> start(boost::asio::any_io_executor executor,
                                    std::function<void()> changed, Pace pace);
  static Result<RouteMonitor> start(boost::asio::any_io_executor executor,
                                    std::function<void()> changed);

  RouteMonitor(RouteMonitor&&) noexcept;
  RouteMonitor& operator=(RouteMonitor&&) = delete;
  ~RouteMonitor();

 private:
  struct State;
  explicit RouteMonitor(std::shared_ptr<State> state);
  std::shared_ptr<State> state_;
};

}  // namespace homeport::overlay
