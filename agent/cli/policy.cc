// homeport policy set|list|remove
#include "agent/cli/commands.h"
#include "agent/cli/database_client.h"
#include "agent/cli/lookup.h"
#include "agent/cli/output.h"
#include "agent/control/validate.h"

#include <fmt/format.h>
#include <CLI/CLI.hpp>
#include <boost/json.hpp>

#include <memory>
#include <ostream>

namespace homeport::agent {
namespace {

namespace asio = boost::asio;
namespace json = boost::json;
using policy::Result;

struct PolicyArguments {
  std::string name;
  std::optional<std::int64_t> downtime_limit_ms, copy_timeout_s, bandwidth_share;
  std::string convergence, compression;
};

template <class Enum>
json::value optional_text(const std::optional<Enum>& value) {
  return value ? json::value(to_string(*value)) : json::value(nullptr);
}

template <class Count>
json::value optional_count(const std::optional<Count>& value) {
  return value ? json::value(value->count()) : json::value(nullptr);
}

json::object policy_json(const Policy& policy) {
  json::value share = nullptr;
  if (policy.bandwidth_share) share = *policy.bandwidth_share;
  return {{"name", policy.name},
          {"downtime_limit_ms", optional_count(policy.downtime_limit)},
          {"convergence", optional_text(policy.convergence)},
          {"copy_timeout_s", optional_count(policy.copy_timeout)},
          {"compression", optional_text(policy.compression)},
          {"bandwidth_share", std::move(share)}};
}

asio::awaitable<Result<int>> set(DatabaseClient& client, Invocation& invocation,
                                 const PolicyArguments& given) {
  // What is not given stays as it is in a policy that exists.
  Policy changed;
  auto known = client.contents().policies.find(given.name);
  if (known != client.contents().policies.end()) changed = known->second;
  changed.name = given.name;
  if (given.downtime_limit_ms) {
    changed.downtime_limit = std::chrono::milliseconds(*given.downtime_limit_ms);
  }
  if (given.copy_timeout_s) changed.copy_timeout = std::chrono::seconds(*given.copy_timeout_s);
  if (given.bandwidth_share) changed.bandwidth_share = given.bandwidth_share;
  if (!given.convergence.empty()) {
    changed.convergence = given.convergence == "force" ? Convergence::force : Convergence::rollback;
  }
  for (Compression each : {Compression::automatic, Compression::off, Compression::zstd}) {
    if (given.compression == to_string(each)) changed.compression = each;
  }
  auto valid = check_policy(changed);
  if (!valid) co_return valid.error();
  auto written = co_await client.database().put_policy(changed);
  if (!written) co_return written.error();
  if (invocation.global.json) {
    invocation.terminal.out << json::serialize(policy_json(changed)) << "\n";
  } else {
    invocation.terminal.out << fmt::format("Policy {} is set.\n", changed.name);
  }
  co_return kExitDone;
}

asio::awaitable<Result<int>> list(DatabaseClient& client, Invocation& invocation,
                                  const PolicyArguments&) {
  Table table({{"POLICY"},
               {"DOWNTIME LIMIT", true},
               {"CONVERGENCE"},
               {"COPY TIMEOUT", true},
               {"COMPRESSION"},
               {"BANDWIDTH", true}});
  json::array policies;
  for (const auto& [name, policy] : client.contents().policies) {
    policies.emplace_back(policy_json(policy));
    table.add({name, policy.downtime_limit ? format_duration(*policy.downtime_limit) : "",
               policy.convergence ? to_string(*policy.convergence) : "",
               policy.copy_timeout ? format_duration(*policy.copy_timeout) : "",
               policy.compression ? to_string(*policy.compression) : "",
               policy.bandwidth_share ? fmt::format("{}%", *policy.bandwidth_share) : ""});
  }
  invocation.terminal.out << (invocation.global.json ? json::serialize(policies) + "\n"
                                                     : table.to_string());
  co_return kExitDone;
}

asio::awaitable<Result<int>> remove(DatabaseClient& client, Invocation& invocation,
                                    const PolicyArguments& given) {
  std::string name = given.name;
  auto known = find_named(client.contents().policies, "policy", name);
  if (!known) co_return known.error();
  auto removed = co_await client.database().remove_policy(name);
  if (!removed) co_return removed.error();
  invocation.terminal.out << removed_text(invocation.global.json, name, "policy " + name);
  co_return kExitDone;
}

}  // namespace

void add_policy_commands(CLI::App& app, Invocation& invocation) {
  CLI::App* group = app.add_subcommand("policy", "Set, list and remove the limits that moves obey");
  group->require_subcommand(1);
  auto arguments = std::make_shared<PolicyArguments>();
  auto add_command = [&](const char* name, const char* help, auto command) {
    return add_database_command(*group, name, help, invocation,
                                [=, &invocation](DatabaseClient& client) {
                                  return command(client, invocation, *arguments);
                                });
  };
  CLI::App* setting = add_command("set", "Add a policy, or change what is given of one", set);
  setting->add_option("NAME", arguments->name, "The policy")->required();
  setting
      ->add_option("--downtime-limit", arguments->downtime_limit_ms,
                   "How long a move may stop the application, in milliseconds")
      ->check(CLI::PositiveNumber);
  setting
      ->add_option("--convergence", arguments->convergence,
                   "What to do when memory changes faster than it can be sent: force the switch, "
                   "or roll back")
      ->check(CLI::IsMember({"force", "rollback"}));
  setting
      ->add_option("--copy-timeout", arguments->copy_timeout_s,
                   "How long copying may take before that, in seconds")
      ->check(CLI::PositiveNumber);
  setting
      ->add_option("--compression", arguments->compression,
                   "How what is sent is compressed (not used yet)")
      ->check(CLI::IsMember({to_string(Compression::automatic), to_string(Compression::off),
                             to_string(Compression::zstd)}));
  setting
      ->add_option("--bandwidth-share", arguments->bandwidth_share,
                   "Percent of a link's bandwidth that moves may use (not used yet)")
      ->check(CLI::Range(1, 100));
  add_command("list", "List the policies", list);
  add_command("remove", "Remove a policy that no application names", remove)
      ->add_option("NAME", arguments->name, "The policy")
      ->required();
}

}  // namespace homeport::agent
