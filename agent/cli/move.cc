// homeport move
#include "agent/cli/commands.h"
#include "agent/cli/listen.h"
#include "agent/cli/lookup.h"
#include "agent/cli/task_wait.h"

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <memory>

namespace homeport::agent {
namespace {

namespace asio = boost::asio;
using boost::system::errc::errc_t;
using policy::Result;

struct MoveArguments {
  std::string application, destination, policy;
  bool wait = false;
};

/// What can be known to fail before anything is asked for.
Result<void> check_move(const Contents& contents, const MoveArguments& arguments,
                        const SignsOfLife& signs) {
  auto application = find_named(contents.applications, "application", arguments.application);
  if (!application) return application.error();
  Ownership owner = ownership(contents, arguments.application);
  if (owner.kind == Ownership::Kind::nowhere) {
    return policy::make_error(
        errc_t::invalid_argument,
        fmt::format("{} is at no host yet, so that it cannot be moved.", arguments.application));
  }
  if (owner.kind == Ownership::Kind::owned && owner.location == arguments.destination) {
    return policy::make_error(
        errc_t::already_connected,
        fmt::format("{} is at {} already.", arguments.application, arguments.destination));
  }
  auto usable = check_host_usable(contents, arguments.destination, signs);
  if (usable && owner.kind == Ownership::Kind::owned) {
    usable = check_host_usable(contents, owner.location, signs);
  }
  if (!usable) return usable;
  if (!arguments.policy.empty()) {
    auto policy = find_named(contents.policies, "policy", arguments.policy);
    if (!policy) return policy.error();
  }
  return {};
}

asio::awaitable<Result<int>> move(DatabaseClient& client, Invocation& invocation,
                                  const MoveArguments& arguments) {
  std::set<std::string> hosts{arguments.destination};
  hosts.insert(ownership(client.contents(), arguments.application).location);
  // What is wrong beside that comes first: listening takes time.
  auto possible = check_move(client.contents(), arguments, SignsOfLife(wall_clock_now(), hosts));
  if (!possible) co_return possible.error();
  const SignsOfLife signs = co_await listen_for(
      client, invocation, std::move(hosts), shorter_patience(client.contents(), invocation.global));
  possible = check_move(client.contents(), arguments, signs);
  if (!possible) co_return possible.error();
  Task task;
  task.kind = TaskKind::move;
  task.application = arguments.application;
  task.arguments["destination"] = arguments.destination;
  if (!arguments.policy.empty()) task.arguments["policy"] = arguments.policy;
  co_return co_await request_task(client, invocation, std::move(task), arguments.wait);
}

}  // namespace

void add_move_command(CLI::App& app, Invocation& invocation) {
  auto arguments = std::make_shared<MoveArguments>();
  CLI::App* command = add_database_command(
      app, "move", "Move a running application to another host; it keeps its addresses", invocation,
      [arguments, &invocation](DatabaseClient& client) {
        return move(client, invocation, *arguments);
      });
  command->add_option("APP", arguments->application, "The application")->required();
  command->add_option("--to", arguments->destination, "The host to move it to")
      ->required()
      ->type_name("HOST");
  command->add_option("--policy", arguments->policy, "Limits for this move, by policy name")
      ->type_name("NAME");
  command->add_flag("--wait", arguments->wait,
                    "Show the progress and return when it has ended; an interrupt (Ctrl-C) ends "
                    "the watching, not the move");
}

}  // namespace homeport::agent
