// Runs the distribution's ovsdb programs.
#pragma once

#include "policy/error.h"

#include <string>
#include <vector>

namespace homeport::agent {

struct ToolOutput {
  int status = 0;    ///< Exit status.
  std::string text;  ///< What it wrote to standard output and error.
};

/// Runs `arguments[0]`, found in PATH or the system's usual places (a user's PATH often lacks
/// /usr/sbin), and waits for it. A daemon it leaves behind inherits none of our file descriptors.
/// `no_such_file_or_directory`, naming the package, when it is not installed.
policy::Result<ToolOutput> run_tool(std::vector<std::string> arguments);

/// run_tool(), with an exit status other than 0 turned into an error that carries what it said.
policy::Result<std::string> run_tool_successfully(std::vector<std::string> arguments);

}  // namespace homeport::agent
