// Asking for a task and watching it.
#pragma once

#include "agent/cli/database_client.h"

#include <boost/asio/awaitable.hpp>

namespace homeport::agent {

/// Inserts `task` (requested_by and requested_at are filled in) and, with `wait`, follows it to its
/// end; prints what it did. Refuses when another task of the application is open.
boost::asio::awaitable<policy::Result<int>> request_task(DatabaseClient& client,
                                                         Invocation& invocation, Task task,
                                                         bool wait);

/// Shows the progress of a task until it has ended and returns exit_code_of() it. SIGINT and
/// SIGTERM end the watching, not the task: kExitInterrupted.
boost::asio::awaitable<policy::Result<int>> wait_for_task(DatabaseClient& client,
                                                          Invocation& invocation, Uuid id);

}  // namespace homeport::agent
