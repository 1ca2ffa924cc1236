// The process `homeportd`.
#pragma once

#include "migration/move/source_move.h"

namespace homeport::agent {

/// Parses the arguments, runs the agent until SIGTERM or SIGINT; the process's exit code: 0 ended
/// in good order, 1 could not start, 2 wrong arguments or configuration.
int run_agent(int argc, char** argv, migration::HoldPoint hold = {});

}  // namespace homeport::agent
