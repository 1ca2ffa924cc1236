// This host's own rows in the control database: that they are there, and say what is.
#pragma once

#include "agent/control/database.h"
#include "agent/options.h"
#include "overlay/link/monitor.h"

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/steady_timer.hpp>

#include <chrono>
#include <vector>

namespace homeport::agent {

/// Used on the control executor only.
class HostRows {
 public:
  HostRows(boost::asio::any_io_executor executor, ControlDatabase& database,
           const HostIdentity& identity,
           std::chrono::steady_clock::duration interval = std::chrono::seconds(5));

  /// Writes them, and writes them again when they are not right any more: at once where an event
  /// says so, otherwise within the interval. Without end.
  boost::asio::awaitable<void> keep();
  /// For LinkMonitor: an interface or address of the underlay may be another now.
  void on_link_event(const overlay::LinkEvent& event);
  /// For ControlDatabase::on_change(): looks at once if this host's row has gone. Others carry
  /// nothing to a host that has none.
  void follow();

 private:
  boost::asio::awaitable<policy::Result<void>> publish();
  void look_again();

  ControlDatabase& database_;
  const HostIdentity& identity_;
  const std::chrono::steady_clock::duration interval_;
  boost::asio::steady_timer next_;
  std::vector<Interface> told_;  ///< as last read from the kernel
  bool stale_ = false;           ///< something has happened since
  bool there_ = false;           ///< the row, when it was last looked at
};

}  // namespace homeport::agent
