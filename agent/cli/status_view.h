// The agent's status document as a page for people. Pure.
#pragma once

#include "policy/error.h"

#include <boost/json/value.hpp>

#include <string>

namespace homeport::agent {

/// An error when a member that every agent of this version sends is missing or of another type.
policy::Result<std::string> status_page(const boost::json::value& status);

}  // namespace homeport::agent
