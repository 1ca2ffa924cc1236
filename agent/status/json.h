// A status snapshot as JSON values. Keys carry their unit; times are RFC 3339 in UTC; what is not
// known is null, never left out.
#pragma once

#include "agent/status/model.h"

#include <boost/json/value.hpp>

#include <string>

namespace homeport::agent {

/// The whole snapshot, as /v1/status returns it.
boost::json::object to_json(const StatusModel& model);
boost::json::object to_json(const ApplicationSnapshot& application);
boost::json::object to_json(const TaskSnapshot& task);
boost::json::object to_json(const DatapathSnapshot& datapath);

/// `time` as RFC 3339 with milliseconds, such as "2026-01-31T23:59:58.250Z".
std::string to_rfc3339(SystemTime time);

}  // namespace homeport::agent
