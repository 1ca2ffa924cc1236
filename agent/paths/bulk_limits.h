// Keeps what the controller says that bulk traffic may take of this host's interfaces.
//
//   ControlDatabase: Interface.bulk_limit_mbps --> BulkLimits --> kernel
//   (overlay/link/bulk_limit.h)
#pragma once

#include "agent/control/database.h"
#include "overlay/link/monitor.h"

#include <boost/asio/any_io_executor.hpp>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

namespace homeport::agent {

/// Used on the control executor only. What is limited stays so when this goes: an agent that starts
/// again finds it.
class BulkLimits {
 public:
  BulkLimits(boost::asio::any_io_executor executor, std::string host,
             const ControlDatabase& database,
             std::chrono::steady_clock::duration interval = std::chrono::seconds(5));
  /// Nothing of what it was given is used any more.
  ~BulkLimits();

  /// For ControlDatabase::on_change(). Nothing is changed before the first time; from then on what
  /// somebody else changes is mended within the interval.
  void follow();
  /// For LinkMonitor: a device that appears gets its limit at once.
  void on_link_event(const overlay::LinkEvent& event);

  /// What is not as it should be, as sentences.
  const std::vector<std::string>& problems() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace homeport::agent
