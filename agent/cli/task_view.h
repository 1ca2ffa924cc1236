// A task for people and programs: its request and its progress in one.
#pragma once

#include "agent/cli/cli.h"
#include "agent/control/database.h"
#include "agent/status/model.h"

#include <boost/json/object.hpp>

namespace homeport::agent {

/// Task and, once a host has taken it up, its status. Before that the state is "requested", or
/// "cancelled" when it was taken back.
TaskSnapshot view_task(const Contents& contents, const Task& task);

/// What the status server says about a task, and: priority, requested_by, requested_at, cancel,
/// resolution, and the executing host's further figures.
boost::json::object task_to_json(const Contents& contents, const Task& task);

/// What a command that waited for the task returns.
ExitCode exit_code_of(const TaskSnapshot& task);

/// Whether nothing more happens to the task unless a person decides.
bool has_ended(const TaskSnapshot& task);

}  // namespace homeport::agent
