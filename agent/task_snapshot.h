// A task as its row in the control database says, for whoever asks the agent or the command line.
#pragma once

#include "agent/control/records.h"
#include "agent/status/model.h"

namespace homeport::agent {

TaskSnapshot to_snapshot(const TaskStatus& status);

}  // namespace homeport::agent
