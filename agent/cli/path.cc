// homeport path: what is asked of the ways between hosts, and what they are.
#include "agent/cli/commands.h"
#include "agent/cli/path_policy.h"
#include "agent/cli/path_status.h"

#include <CLI/CLI.hpp>

namespace homeport::agent {

void add_path_commands(CLI::App& app, Invocation& invocation) {
  CLI::App* group =
      app.add_subcommand("path", "Say by which interfaces hosts reach each other, and show it");
  group->require_subcommand(1);
  add_path_policy_commands(*group, invocation);
  add_path_views(*group, invocation);
}

}  // namespace homeport::agent
