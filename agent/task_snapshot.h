// A task as its row in the control database says, for whoever asks the agent or the command line.
#pragma once

#include "agent/control/records.h"
#include "agent/status/model.h"

namespace homeport::agent {

TaskSnapshot to_snapshot(const TaskStatus& status);

/// Nothing for a time that a row leaves out.
std::optional<SystemTime> known(WallTime time);
std::optional<std::uint64_t> milliseconds(const std::optional<std::chrono::milliseconds>& time);

}  // namespace homeport::agent
