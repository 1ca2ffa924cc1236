// A trace as /v1/trace answers it; agent/status/openapi.json describes it. Pure.
#pragma once

#include "agent/trace/trace_message.h"

#include <boost/json/object.hpp>

#include <vector>

namespace homeport::agent {

/// `hosts`: in the order in which the packet passes them.
boost::json::object to_json(const TraceQuestion& question, const std::vector<TracedHost>& hosts);

}  // namespace homeport::agent
