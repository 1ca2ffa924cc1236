// Listening for signs of life of hosts that seem silent by the clock here.
#pragma once

#include "agent/cli/database_client.h"

#include <boost/asio/awaitable.hpp>

#include <set>
#include <string>

namespace homeport::agent {

/// Returns at once when the last signs of life of all `hosts` are young. Otherwise waits for new
/// ones, a little longer than it is between two of them, and says so: a host whose clock is slow is
/// not dead.
boost::asio::awaitable<SignsOfLife> listen_for(DatabaseClient& client, Invocation& invocation,
                                               std::set<std::string> hosts);

}  // namespace homeport::agent
