#include "agent/cli/cli.h"

#include "agent/cli/commands.h"

#include <CLI/CLI.hpp>

#include <exception>
#include <ostream>

namespace homeport::agent {
namespace {

void add_global_options(CLI::App& app, GlobalOptions& global) {
  app.add_option("--db", global.database,
                 "The control database: ssl:ADDRESS:PORT, tcp:ADDRESS:PORT or unix:PATH "
                 "(default: the first line of /etc/homeport/database, or the one made here)")
      ->envname("HOMEPORT_DB")
      ->type_name("REMOTE");
  app.add_flag("--json", global.json, "Print the result as JSON");
  app.add_option_function<double>(
         "--timeout",
         [&global](double seconds) { global.timeout = std::chrono::duration<double>(seconds); },
         "How long to wait for the control database or the agent to answer (default: 30)")
      ->check(CLI::Range(0.1, 86'400.0))
      ->type_name("SECONDS");
  auto* ca = app.add_option("--ca", global.ca_certificate,
                            "CA certificate (PEM) that ssl: servers are checked against");
  auto* certificate =
      app.add_option("--certificate", global.certificate, "Own certificate (PEM) for ssl: remotes");
  auto* key = app.add_option("--private-key", global.private_key, "Key (PEM) of the certificate");
  for (auto* option : {ca, certificate, key}) {
    option->type_name("FILE")->check(CLI::ExistingFile)->needs(ca)->needs(certificate)->needs(key);
  }
}

int parse_and_run(const std::vector<std::string>& arguments, Invocation& invocation) {
  CLI::App app(
      "Moves running applications between hosts while they keep their addresses.\n"
      "Exit status: 0 done, 1 failed or rolled back, 2 wrong usage, 3 in doubt, 130 interrupted.",
      "homeport");
  app.set_version_flag("--version", "homeport " HOMEPORT_VERSION);
  app.set_help_all_flag("--help-all", "Print the help of all commands");
  // Global options may also come after the command.
  app.fallthrough();
  app.require_subcommand(1);
  add_global_options(app, invocation.global);
  add_db_commands(app, invocation);
  add_pki_commands(app, invocation);
  add_status_command(app, invocation);
  add_network_commands(app, invocation);
  add_app_commands(app, invocation);
  add_policy_commands(app, invocation);
  add_move_command(app, invocation);
  add_task_commands(app, invocation);
  try {
    // CLI11 takes the arguments last first.
    app.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));
  } catch (const CLI::ParseError& error) {
    int code = app.exit(error, invocation.terminal.out, invocation.terminal.err);
    return code == 0 ? kExitDone : kExitUsage;
  }
  policy::Result<int> result = invocation.action();
  if (result) return *result;
  invocation.terminal.err << "homeport: " << result.error().message << "\n";
  return kExitFailed;
}

}  // namespace

int run_command_line(const std::vector<std::string>& arguments, Terminal terminal) {
  Invocation invocation{{}, terminal, {}};
  try {
    return parse_and_run(arguments, invocation);
  } catch (const std::exception& error) {
    terminal.err << "homeport: " << error.what() << "\n";
    return kExitFailed;
  }
}

}  // namespace homeport::agent
