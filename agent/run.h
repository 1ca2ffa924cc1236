// The process `homeportd`.
#pragma once

#include "migration/move/source_move.h"

#include <boost/system/system_error.hpp>

#include <string>

namespace homeport::agent {

/// Parses the arguments, runs the agent until SIGTERM or SIGINT; the process's exit code: 0 ended
/// in good order, 1 could not start, 2 wrong arguments or configuration.
int run_agent(int argc, char** argv, migration::HoldPoint hold = {});

/// Why an agent could not start, as one sentence, without what the library adds for programmers.
std::string why_not_started(const boost::system::system_error& error);

}  // namespace homeport::agent
