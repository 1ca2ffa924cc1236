// Whether the control database knows what an end of a path names. Pure.
#pragma once

#include "agent/control/database.h"
#include "policy/error.h"
#include "policy/path/class_policy.h"

#include <string>

namespace homeport::agent {

/// Its host, and an interface of that name or label there: at any host where it names none. The
/// error names what is near, and what to do.
policy::Result<void> check_known(const Contents& contents, const policy::EndMatch& end);
/// Some interface of some host has it.
policy::Result<void> check_label_known(const Contents& contents, const std::string& label);

}  // namespace homeport::agent
