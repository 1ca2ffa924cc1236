#include "agent/cli/cli.h"

#include "agent/cli/commands.h"
#include "agent/cli/output.h"
#include "policy/version.h"

#include <CLI/CLI.hpp>

#include <algorithm>
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

/// CLI11 only misses a command where there is one that it does not know.
std::string usage_error(const CLI::App* app, const CLI::Error& error) {
  const CLI::App* group = app;
  while (!group->get_subcommands().empty()) group = group->get_subcommands().front();
  std::vector<std::string> known;
  for (const CLI::App* command : group->get_subcommands({})) known.push_back(command->get_name());
  const std::vector<std::string> rest = app->remaining(true);
  if (!known.empty() && !rest.empty() && !rest.front().starts_with('-')) {
    return "homeport: " + unknown_name("command", rest.front(), known) + "\n";
  }
  return "homeport: " + CLI::FailureMessage::simple(app, error);
}

/// Line by line: what a program that was run has said may have several.
void report_failure(Terminal& terminal, std::string_view message) {
  terminal.err << "homeport: ";
  for (std::size_t begin = 0; begin <= message.size();) {
    const std::size_t end = std::min(message.find('\n', begin), message.size());
    terminal.err << for_terminal(message.substr(begin, end - begin)) << "\n";
    begin = end + 1;
  }
}

int parse_and_run(const std::vector<std::string>& arguments, Invocation& invocation) {
  CLI::App app(
      "Moves running applications between hosts while they keep their addresses.\n"
      "Exit status: 0 done, 1 failed or rolled back, 2 wrong usage, 3 in doubt, 130 interrupted.",
      "homeport");
  app.set_version_flag("--version", "homeport " + std::string(policy::kVersion));
  app.set_help_all_flag("--help-all", "Print the help of all commands");
  // Global options may also come after the command.
  app.fallthrough();
  app.require_subcommand(1);
  app.failure_message(usage_error);
  add_global_options(app, invocation.global);
  add_db_commands(app, invocation);
  add_pki_commands(app, invocation);
  add_status_command(app, invocation);
  add_network_commands(app, invocation);
  add_app_commands(app, invocation);
  add_policy_commands(app, invocation);
  add_interface_commands(app, invocation);
  add_path_commands(app, invocation);
  add_move_command(app, invocation);
  add_task_commands(app, invocation);
  add_trace_command(app, invocation);
  try {
    // CLI11 takes the arguments last first.
    app.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));
  } catch (const CLI::ParseError& error) {
    int code = app.exit(error, invocation.terminal.out, invocation.terminal.err);
    return code == 0 ? kExitDone : kExitUsage;
  }
  policy::Result<int> result = invocation.action();
  if (result) return *result;
  report_failure(invocation.terminal, result.error().message);
  return kExitFailed;
}

}  // namespace

int run_command_line(const std::vector<std::string>& arguments, Terminal terminal) {
  Invocation invocation{{}, terminal, {}};
  try {
    return parse_and_run(arguments, invocation);
  } catch (const std::exception& error) {
    report_failure(terminal, error.what());
    return kExitFailed;
  }
}

}  // namespace homeport::agent
