// How an agent ends on request.
#pragma once

#include "agent/parts.h"

#include <functional>

namespace homeport::agent {

/// Takes up nothing more, rolls back the moves that can go back, and lets those that cannot, and
/// what else is under way, come to their end, for a few seconds at most; then calls `done`, with
/// false if something is under way still. That is for the next agent: the journal says how far it
/// is.
void shut_down(AgentParts parts, std::function<void(bool all_ended)> done);

}  // namespace homeport::agent
