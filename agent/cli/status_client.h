// Asks the agent of this machine for its status.
#pragma once

#include "agent/cli/event_text.h"
#include "policy/error.h"

#include <boost/json/value.hpp>

#include <chrono>
#include <functional>
#include <string>

namespace homeport::agent {

/// GET `target` from the status server at `endpoint` (as in parse_status_endpoint()). Errors: no
/// answer within `timeout`, an answer that is larger than 16 MiB or not JSON, or the problem that
/// the server reported. Blocking.
policy::Result<boost::json::value> get_status(const std::string& endpoint,
                                              const std::string& target,
                                              std::chrono::milliseconds timeout);

/// Hands each event of the stream `target` to `take`, until SIGINT or SIGTERM. Errors: no answer
/// within `timeout`, what the server refuses it with, what `take` returns; and that the stream has
/// ended, or is silent for longer than a server ever is. Blocking.
policy::Result<void> follow_status(
    const std::string& endpoint, const std::string& target, std::chrono::milliseconds timeout,
    const std::function<policy::Result<void>(const ServerEvent&)>& take);

}  // namespace homeport::agent
