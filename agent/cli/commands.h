// What the command groups share: the global options, and how a parsed command is handed over.
#pragma once

#include "agent/cli/cli.h"
#include "policy/error.h"

#include <chrono>
#include <functional>
#include <string>

namespace CLI {
class App;
}

namespace homeport::agent {

struct GlobalOptions {
  std::string database;  ///< --db, else HOMEPORT_DB, else the first line of kDatabaseFile, else
                         ///< kDatabaseHome.
  bool json = false;
  std::chrono::duration<double> timeout{30};
  std::string ca_certificate, certificate, private_key;
};

/// Holds the remote of the control database on one line, such as "ssl:192.0.2.1:6650".
inline constexpr char kDatabaseFile[] = "/etc/homeport/database";
/// Where `homeport db init` puts it when it is not told otherwise.
inline constexpr char kDatabaseHome[] = "/var/lib/homeport";

/// One run of the program. A command's callback sets `action`, which runs once the whole command
/// line has been found valid, and returns an ExitCode.
struct Invocation {
  GlobalOptions global;
  Terminal terminal;
  std::function<policy::Result<int>()> action;
};

// Each adds one group of commands to `app`; `invocation` must outlive it.
void add_db_commands(CLI::App& app, Invocation& invocation);
void add_pki_commands(CLI::App& app, Invocation& invocation);
void add_status_command(CLI::App& app, Invocation& invocation);
void add_network_commands(CLI::App& app, Invocation& invocation);
void add_app_commands(CLI::App& app, Invocation& invocation);
void add_policy_commands(CLI::App& app, Invocation& invocation);
void add_interface_commands(CLI::App& app, Invocation& invocation);
void add_path_commands(CLI::App& app, Invocation& invocation);
void add_move_command(CLI::App& app, Invocation& invocation);
void add_trace_command(CLI::App& app, Invocation& invocation);
void add_task_commands(CLI::App& app, Invocation& invocation);

}  // namespace homeport::agent
