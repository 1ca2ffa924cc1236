// homeport interface set|list
#include "agent/cli/arguments.h"
#include "agent/cli/commands.h"
#include "agent/cli/database_client.h"
#include "agent/cli/output.h"
#include "agent/cli/path_ends.h"
#include "policy/path/end_text.h"

#include <fmt/format.h>
#include <CLI/CLI.hpp>
#include <boost/json.hpp>

#include <algorithm>
#include <memory>
#include <ostream>
#include <tuple>

namespace homeport::agent {
namespace {

namespace asio = boost::asio;
namespace json = boost::json;
using policy::Result;

struct InterfaceArguments {
  std::string interface;  ///< HOST/INTERFACE
  std::optional<std::int64_t> cost;
  std::string label;
  bool no_label = false, allow = false, deny = false, as_configured = false;
  std::optional<std::int64_t> bulk_limit;
  bool no_bulk_limit = false;

  InterfaceSay say() const {
    InterfaceSay said{.cost = cost};
    if (no_label || !label.empty()) said.label = label;
    if (allow || deny) said.allowed = allow;
    if (as_configured) said.allowed = std::optional<bool>();
    said.bulk_limit_mbps = no_bulk_limit ? 0 : bulk_limit;
    return said;
  }
};

json::object interface_json(const Interface& row) {
  return {{"host", row.host},
          {"name", row.name},
          {"address", row.address.to_string()},
          {"speed_mbps", row.speed_mbps},
          {"mtu", row.mtu},
          {"state", to_string(row.state)},
          {"label", row.label},
          {"cost", row.cost},
          {"allowed", row.allowed ? json::value(*row.allowed) : json::value(nullptr)},
          {"bulk_limit_mbps",
           row.bulk_limit_mbps ? json::value(row.bulk_limit_mbps) : json::value(nullptr)}};
}

/// Whether Homeport may use it.
const char* use_of(const Interface& row) {
  if (!row.allowed) return "as configured";
  return *row.allowed ? "allowed" : "denied";
}

/// Nothing for 0.
std::string mbps(std::int64_t rate) {
  return rate == 0 ? "" : fmt::format("{} Mbit/s", rate);
}

/// `host` and `name`: of which; empty: of all.
std::string interfaces_text(const Contents& contents, bool as_json, const std::string& host,
                            const std::string& name) {
  std::vector<const Interface*> rows;
  for (const auto& [uuid, row] : contents.interfaces) {
    if ((host.empty() || row.host == host) && (name.empty() || row.name == name)) {
      rows.push_back(&row);
    }
  }
  std::ranges::sort(
      rows, {}, [](const Interface* row) { return std::tie(row->host, row->name, row->address); });
  Table table({{"HOST"},
               {"INTERFACE"},
               {"ADDRESS"},
               {"SPEED", true},
               {"MTU", true},
               {"STATE"},
               {"LABEL"},
               {"COST", true},
               {"BULK LIMIT", true},
               {"USE"}});
  json::array interfaces;
  for (const Interface* row : rows) {
    interfaces.emplace_back(interface_json(*row));
    table.add({row->host, row->name, row->address.to_string(), mbps(row->speed_mbps),
               std::to_string(row->mtu), to_string(row->state), row->label,
               std::to_string(row->cost), mbps(row->bulk_limit_mbps), use_of(*row)});
  }
  return as_json ? json::serialize(interfaces) + "\n" : table.to_string();
}

asio::awaitable<Result<int>> set(DatabaseClient& client, Invocation& invocation,
                                 const InterfaceArguments& given) {
  const policy::EndMatch end = *policy::parse_end(given.interface);
  auto known = check_known(client.contents(), end);
  if (!known) co_return known.error();
  auto written = co_await client.database().say_of_interface(end.host, end.interface, given.say());
  if (!written) co_return written.error();
  invocation.terminal.out << interfaces_text(client.contents(), invocation.global.json, end.host,
                                             end.interface);
  co_return kExitDone;
}

asio::awaitable<Result<int>> list(DatabaseClient& client, Invocation& invocation,
                                  const InterfaceArguments&) {
  invocation.terminal.out << interfaces_text(client.contents(), invocation.global.json, {}, {});
  for (const auto& [row, problem] : client.contents().problems) {
    if (row.first != Interface::kTable) continue;
    invocation.terminal.err << "homeport: " << for_terminal(problem.message) << "\n";
  }
  co_return kExitDone;
}

void add_set_options(CLI::App& command, InterfaceArguments& given) {
  command.add_option("INTERFACE", given.interface, "HOST/INTERFACE, with all its addresses")
      ->required()
      ->check(CLI::Validator(
          [](std::string& text) -> std::string {
            auto end = policy::parse_end(text);
            if (end && !end->host.empty() && !end->interface.empty()) return {};
            return "\"" + text + "\" is not HOST/INTERFACE";
          },
          "HOST/INTERFACE"));
  CLI::Option* label =
      command.add_option("--label", given.label, "A name for its kind")->check(kIsLabel);
  command.add_flag("--no-label", given.no_label, "None")->excludes(label);
  command.add_option("--cost", given.cost, "The price for using it (0: the cheapest)")
      ->check(CLI::Range(std::int64_t{0}, kMostCost))
      ->type_name("N");
  CLI::Option* allow = command.add_flag("--allow", given.allow, "Homeport may use it");
  CLI::Option* deny =
      command.add_flag("--deny", given.deny, "Homeport keeps off it")->excludes(allow);
  command
      .add_flag("--as-configured", given.as_configured,
                "Homeport may use it if its host's configuration says so")
      ->excludes(allow)
      ->excludes(deny);
  CLI::Option* limit =
      command
          .add_option("--bulk-limit", given.bulk_limit,
                      "The most of bulk traffic that leaves by it, transfers and applications' "
                      "(Mbit/s)")
          ->check(CLI::Range(std::int64_t{1}, kMostBulkLimit))
          ->type_name("MBIT");
  command.add_flag("--no-bulk-limit", given.no_bulk_limit, "None")->excludes(limit);
  command.parse_complete_callback([&given] {
    const InterfaceSay said = given.say();
    if (!said.cost && !said.label && !said.allowed && !said.bulk_limit_mbps) {
      throw CLI::ValidationError(
          "Say what to set: a label, a cost, a limit of bulk traffic, or whether it may be used.");
    }
  });
}

}  // namespace

void add_interface_commands(CLI::App& app, Invocation& invocation) {
  CLI::App* group = app.add_subcommand(
      "interface", "Label hosts' interfaces, price and limit them, and show them");
  group->require_subcommand(1);
  auto arguments = std::make_shared<InterfaceArguments>();
  auto add_command = [&](const char* name, const char* help, auto command) {
    return add_database_command(*group, name, help, invocation,
                                [=, &invocation](DatabaseClient& client) {
                                  return command(client, invocation, *arguments);
                                });
  };
  add_set_options(*add_command("set", "Change what is given of an interface", set), *arguments);
  add_command("list", "List the interfaces of all hosts", list);
}

}  // namespace homeport::agent
