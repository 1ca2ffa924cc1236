// Asks the agent of this machine for its status.
#pragma once

#include "policy/error.h"

#include <boost/json/value.hpp>

#include <chrono>
#include <string>

namespace homeport::agent {

/// GET `target` from the status server at `endpoint` (as in parse_status_endpoint()). Errors: no
/// answer within `timeout`, an answer that is larger than 16 MiB or not JSON, or the problem that
/// the server reported. Blocking.
policy::Result<boost::json::value> get_status(const std::string& endpoint,
                                              const std::string& target,
                                              std::chrono::milliseconds timeout);

}  // namespace homeport::agent
