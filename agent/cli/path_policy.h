// homeport path pin|unpin|prefer|unprefer|forbid|permit|limit|policy
#pragma once

#include "agent/cli/commands.h"

namespace homeport::agent {

/// Adds them to the command `path`; `invocation` must outlive it.
void add_path_policy_commands(CLI::App& path, Invocation& invocation);

}  // namespace homeport::agent
