// A trace as the agent answers it (/v1/trace), as a page for people. Pure.
#pragma once

#include "policy/error.h"

#include <boost/json/value.hpp>

#include <string>

namespace homeport::agent {

/// The steps as a table, with a column of packets where they were counted, and what came of the
/// packet on each host. `from` is how the asker named the sender. An error when a member that every
/// agent of this version sends is missing or of another type.
policy::Result<std::string> trace_page(const std::string& from, const boost::json::value& trace);

/// Whether every host has told its part.
bool is_whole(const boost::json::value& trace);

}  // namespace homeport::agent
