// Listening for signs of life of hosts that seem silent by the clock here.
#pragma once

#include "agent/cli/database_client.h"

#include <boost/asio/awaitable.hpp>

#include <algorithm>
#include <chrono>
#include <optional>
#include <set>
#include <string>

namespace homeport::agent {

/// A little longer than it is between two signs of life.
inline std::chrono::milliseconds listening_time(const Contents& contents) {
  return beat_interval(contents.hosts.size()) + std::chrono::seconds(2);
}

/// Returns at once when the last signs of life of all `hosts` are young. Otherwise waits for new
/// ones, for listening_time() or `patience` at most, and says so: a host whose clock is slow is not
/// dead.
boost::asio::awaitable<SignsOfLife> listen_for(
    DatabaseClient& client, Invocation& invocation, std::set<std::string> hosts,
    std::optional<std::chrono::duration<double>> patience = {});

/// For what does no harm where the host lives after all: the user may have less patience.
inline std::chrono::duration<double> shorter_patience(const Contents& contents,
                                                      const GlobalOptions& global) {
  return std::min<std::chrono::duration<double>>(listening_time(contents), global.timeout);
}

}  // namespace homeport::agent
