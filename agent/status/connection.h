// One connection of the status server, from its first request to its end.
#pragma once

#include "agent/status/event_streams.h"
#include "agent/status/server.h"
#include "agent/status/stream.h"

#include <boost/asio/awaitable.hpp>

#include <memory>

namespace homeport::agent {

/// What the connections of one server share.
struct StatusService {
  StatusServerOptions options;
  StatusServer::Provider provider;
  StatusServer::Tracing tracing;
  std::shared_ptr<EventStreams> events;
  bool stopped = false;  ///< Neither is to be called any more.
};

/// Answers requests until one of them, or an error, or silence ends the connection. `check_host`:
/// see reply_to().
boost::asio::awaitable<void> serve_connection(std::shared_ptr<StatusService> service,
                                              StatusStream& stream, bool check_host);

/// Says that there are too many connections, without reading the request.
boost::asio::awaitable<void> refuse_connection(std::shared_ptr<StatusService> service,
                                               StatusStream& stream);

}  // namespace homeport::agent
