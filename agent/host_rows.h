// This host's own rows in the control database: that they are there, and say what is.
#pragma once

#include "agent/control/database.h"
#include "agent/options.h"

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/steady_timer.hpp>

namespace homeport::agent {

/// Used on the control executor only.
class HostRows {
 public:
  HostRows(boost::asio::any_io_executor executor, ControlDatabase& database,
           const HostIdentity& identity);

  /// Writes them, and looks again every 5 s whether they are right, as addresses come and go here.
  /// Without end.
  boost::asio::awaitable<void> keep();
  /// For ControlDatabase::on_change(): looks at once if this host's row has gone. Others carry
  /// nothing to a host that has none.
  void follow();

 private:
  boost::asio::awaitable<policy::Result<void>> publish();

  ControlDatabase& database_;
  const HostIdentity& identity_;
  boost::asio::steady_timer next_;
  bool there_ = false;  ///< the row, when it was last looked at
};

}  // namespace homeport::agent
