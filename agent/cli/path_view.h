// The paths to other hosts as the agent answers them (/v1/paths), as pages for people. Pure.
//
// An error when a member that every agent of this version sends is missing or of another type.
#pragma once

#include "policy/error.h"

#include <boost/json/value.hpp>

#include <string>

namespace homeport::agent {

/// Of /v1/paths: a line for each host and class.
policy::Result<std::string> path_list(const boost::json::value& paths);
/// Of /v1/paths/PEER: every path in its order, what is not offered, and what has happened.
policy::Result<std::string> path_page(const boost::json::value& peer);
/// Of /v1/paths/PEER: in words; of one class only unless `traffic` is empty.
policy::Result<std::string> path_explanation(const boost::json::value& peer,
                                             const std::string& traffic);
/// Of the data of an event `path` or `path-removed` (`name`) of /v1/events: a line.
policy::Result<std::string> path_event(const std::string& name, const boost::json::value& event);

}  // namespace homeport::agent
