// What the agent's own process uses.
#pragma once

#include "agent/status/model.h"

namespace homeport::agent {

/// Figures that cannot be read are 0.
ProcessSnapshot process_figures();

}  // namespace homeport::agent
