// homeport app add|set|list|show|remove|start|stop
#include "agent/cli/app_view.h"
#include "agent/cli/arguments.h"
#include "agent/cli/commands.h"
#include "agent/cli/listen.h"
#include "agent/cli/lookup.h"
#include "agent/cli/output.h"
#include "agent/cli/task_wait.h"
#include "agent/control/validate.h"

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <memory>
#include <ostream>

namespace homeport::agent {
namespace {

namespace asio = boost::asio;
using boost::system::errc::errc_t;
using policy::Result;

struct AppArguments {
  std::string name, driver = "qemu", profile, device, network, mac, host, policy, qmp_socket;
  std::string traffic_class;
  std::vector<std::string> addresses, properties;
  std::optional<std::int64_t> memory_mib, vcpus;
  bool wait = false;
  bool force = false;
};

/// Options that go together, once they have been parsed; what is wrong is wrong usage.
void check_driver_options(const AppArguments& given) {
  auto wrong = [](const char* sentence) { throw CLI::ValidationError(sentence); };
  if (given.driver == "qemu") {
    if (given.profile.empty()) {
      wrong(
          "A qemu application needs --profile, the name of a file in the hosts' "
          "/etc/homeport/launch.d without .toml.");
    }
    if (!given.device.empty()) {
      wrong("--device is for netdev applications; the ports of a VM are made by the agent.");
    }
    return;
  }
  if (given.device.empty()) {
    wrong("A netdev application needs --device, the name of its network device on the host.");
  }
  if (!given.profile.empty() || given.memory_mib || given.vcpus || !given.qmp_socket.empty()) {
    wrong("--profile, --memory, --vcpus and --qmp-socket are for qemu applications.");
  }
}

Application to_application(const AppArguments& given) {
  Application application;
  application.name = given.name;
  application.driver = given.driver == "qemu" ? Driver::qemu : Driver::netdev;
  application.qmp_socket = given.qmp_socket;
  application.launch_profile = given.profile;
  if (!given.policy.empty()) application.policy = given.policy;
  application.properties = to_map(given.properties);
  if (application.driver == Driver::qemu) {
    application.properties["memory_mib"] = std::to_string(given.memory_mib.value_or(512));
    application.properties["vcpus"] = std::to_string(given.vcpus.value_or(1));
  } else {
    application.properties["device"] = given.device;
  }
  return application;
}

/// None for the default one: most have that, and each that is written costs every host memory.
std::string class_column(const AppArguments& given) {
  const auto traffic_class = policy::parse_traffic_class(given.traffic_class);
  return traffic_class == policy::TrafficClass::best_effort ? "" : given.traffic_class;
}

Binding to_binding(const AppArguments& given) {
  Binding binding;
  binding.name = given.name;
  binding.application = given.name;
  binding.network = given.network;
  binding.mac = *policy::MacAddress::parse(given.mac);
  binding.prior_addresses = to_addresses(given.addresses);
  binding.traffic_class = class_column(given);
  binding.location = given.host;
  return binding;
}

asio::awaitable<Result<int>> add(DatabaseClient& client, Invocation& invocation,
                                 const AppArguments& given) {
  const Contents& contents = client.contents();
  // An application without a binding is what an interrupted `app add` leaves: it is completed.
  if (contents.applications.contains(given.name) && !contents.bindings_of(given.name).empty()) {
    co_return policy::make_error(
        errc_t::file_exists,
        fmt::format("There is an application {} already; choose another name or remove it first.",
                    given.name));
  }
  auto network = find_named(contents.networks, "network", given.network);
  if (!network) co_return network.error();
  auto host = find_named(contents.hosts, "host", given.host);
  if (!host) co_return host.error();
  if (!given.policy.empty()) {
    auto policy = find_named(contents.policies, "policy", given.policy);
    if (!policy) co_return policy.error();
  }
  Application application = to_application(given);
  Binding binding = to_binding(given);
  auto valid = check_application(contents, application);
  if (!valid) co_return valid.error();
  // check_binding() wants to find the application that is only about to be written.
  Contents with_application = contents;
  with_application.applications[application.name] = application;
  valid = check_binding(with_application, binding);
  if (!valid) co_return valid.error();

  auto written = co_await client.database().put_application(application);
  if (!written) co_return written.error();
  written = co_await client.database().put_binding(binding);
  if (!written) {
    co_return policy::with_context(
        "The application is there but not its binding; repeat this command", written.error());
  }
  if (invocation.global.json) {
    invocation.terminal.out << application_json_text(client.contents(), application);
  } else {
    invocation.terminal.out << fmt::format("Added {} at {}, in network {}.\n", given.name,
                                           given.host, given.network);
  }
  co_return kExitDone;
}

asio::awaitable<Result<int>> set(DatabaseClient& client, Invocation& invocation,
                                 const AppArguments& given) {
  const Contents& contents = client.contents();
  auto application = find_named(contents.applications, "application", given.name);
  if (!application) co_return application.error();
  std::vector<Binding> bindings;
  for (const Binding* binding : contents.bindings_of(given.name)) bindings.push_back(*binding);
  for (Binding& binding : bindings) {
    binding.traffic_class = class_column(given);
    auto written = co_await client.database().put_binding(binding);
    if (!written) co_return written.error();
  }
  if (invocation.global.json) {
    auto changed = find_named(client.contents().applications, "application", given.name);
    if (!changed) co_return changed.error();
    invocation.terminal.out << application_json_text(client.contents(), **changed);
  } else {
    invocation.terminal.out << fmt::format("The traffic of {} is of class {}.\n", given.name,
                                           given.traffic_class);
  }
  co_return kExitDone;
}

asio::awaitable<Result<int>> list(DatabaseClient& client, Invocation& invocation,
                                  const AppArguments&) {
  invocation.terminal.out << (invocation.global.json ? applications_json_text(client.contents())
                                                     : applications_table(client.contents()));
  co_return kExitDone;
}

asio::awaitable<Result<int>> show(DatabaseClient& client, Invocation& invocation,
                                  const AppArguments& given) {
  auto application = find_named(client.contents().applications, "application", given.name);
  if (!application) co_return application.error();
  invocation.terminal.out << (invocation.global.json
                                  ? application_json_text(client.contents(), **application)
                                  : application_page(client.contents(), **application));
  co_return kExitDone;
}

asio::awaitable<Result<int>> remove(DatabaseClient& client, Invocation& invocation,
                                    const AppArguments& given) {
  const Contents& contents = client.contents();
  std::string name = given.name;
  auto application = find_named(contents.applications, "application", name);
  if (!application) co_return application.error();
  if (const Task* task = open_task_of(contents, name)) {
    co_return policy::make_error(
        errc_t::device_or_resource_busy,
        fmt::format("A task of {} has not ended; wait for it with `homeport task wait {}` or "
                    "cancel it with `homeport task cancel {}`.",
                    name, to_string(task->uuid), to_string(task->uuid)));
  }
  if (!given.force && (*application)->driver == Driver::qemu && last_seen_running(contents, name)) {
    co_return policy::make_error(
        errc_t::device_or_resource_busy,
        fmt::format(
            "By its last task {0} runs: stop it with `homeport app stop {0}`, or add --force "
            "when it has ended.",
            name));
  }
  std::vector<std::string> bindings;
  for (const Binding* binding : contents.bindings_of(name)) bindings.push_back(binding->name);
  for (const std::string& binding : bindings) {
    auto removed = co_await client.database().remove_binding(binding);
    if (!removed) co_return removed.error();
  }
  auto removed = co_await client.database().remove_application(name);
  if (!removed) co_return removed.error();
  invocation.terminal.out << removed_text(invocation.global.json, name, name);
  co_return kExitDone;
}

asio::awaitable<Result<int>> start_or_stop(DatabaseClient& client, Invocation& invocation,
                                           const AppArguments& given, TaskKind kind) {
  const Contents& contents = client.contents();
  auto application = find_named(contents.applications, "application", given.name);
  if (!application) co_return application.error();
  Ownership owner = ownership(contents, given.name);
  if (owner.kind == Ownership::Kind::owned) {
    std::set<std::string> hosts{owner.location};
    const SignsOfLife signs =
        co_await listen_for(client, invocation, std::move(hosts),
                            shorter_patience(client.contents(), invocation.global));
    auto usable = check_host_usable(contents, owner.location, signs);
    if (!usable) co_return usable.error();
  }
  Task task;
  task.kind = kind;
  task.application = given.name;
  co_return co_await request_task(client, invocation, std::move(task), given.wait);
}

CLI::Option* add_class_option(CLI::App& command, AppArguments& given) {
  return command
      .add_option("--class,--traffic-class", given.traffic_class,
                  "The class of its traffic, which says what ways it takes between hosts: "
                  "interactive, default or bulk (default: default)")
      ->check(kIsTrafficClass);
}

void add_add_options(CLI::App& command, AppArguments& given) {
  command
      .add_option("--driver", given.driver, "qemu, or netdev for a device that is there already")
      ->check(CLI::IsMember({"qemu", "netdev"}));
  command.add_option("--profile", given.profile, "qemu: launch profile on the hosts")
      ->type_name("NAME");
  command.add_option("--memory", given.memory_mib, "qemu: memory in MiB (default: 512)")
      ->check(CLI::PositiveNumber);
  command.add_option("--vcpus", given.vcpus, "qemu: virtual processors (default: 1)")
      ->check(CLI::PositiveNumber);
  command
      .add_option("--qmp-socket", given.qmp_socket,
                  "qemu: QMP socket of a VM that others start (default: the agent's own)")
      ->type_name("PATH");
  command
      .add_option("--device", given.device,
                  "netdev: its network device, by the same name on each host")
      ->type_name("NAME");
  command.add_option("--network", given.network, "The network it is in")->required();
  command.add_option("--mac", given.mac, "Its MAC address")->required()->check(kIsMacAddress);
  add_repeated(command, "--ip", given.addresses,
               "An address it keeps wherever it moves; may be repeated")
      ->required()
      ->check(kIsIpAddress);
  command.add_option("--host", given.host, "The host it is at")->required();
  command.add_option("--policy", given.policy, "The limits its moves obey")->type_name("NAME");
  add_class_option(command, given);
  add_repeated(command, "--property", given.properties,
               "KEY=VALUE for its launch profile; may be repeated")
      ->check(kIsKeyValue);
  command.parse_complete_callback([&given] { check_driver_options(given); });
}

}  // namespace

void add_app_commands(CLI::App& app, Invocation& invocation) {
  CLI::App* group = app.add_subcommand("app", "Add, show, start, stop and remove applications");
  group->require_subcommand(1);
  auto arguments = std::make_shared<AppArguments>();
  auto add_command = [&](const char* name, const char* help, auto command) {
    return add_database_command(*group, name, help, invocation,
                                [=, &invocation](DatabaseClient& client) {
                                  return command(client, invocation, *arguments);
                                });
  };
  auto add_name = [&](CLI::App* command) {
    command->add_option("NAME", arguments->name, "The application")->required();
    return command;
  };
  auto add_wait = [&](CLI::App* command) {
    command->add_flag("--wait", arguments->wait, "Return when it is done");
  };

  add_add_options(*add_name(add_command("add", "Add an application that is at a host", add)),
                  *arguments);
  add_class_option(
      *add_name(add_command("set", "Change the class of an application's traffic", set)),
      *arguments)
      ->required();
  add_command("list", "List the applications and where they are", list);
  add_name(add_command("show", "Show one application", show));
  add_name(add_command("remove", "Remove an application; stop it first", remove))
      ->add_flag("--force", arguments->force, "Also when its last task says that it runs");
  add_wait(
      add_name(add_command("start", "Start an application at its host",
                           [](DatabaseClient& client, Invocation& call, const AppArguments& given) {
                             return start_or_stop(client, call, given, TaskKind::start);
                           })));
  add_wait(
      add_name(add_command("stop", "Stop an application",
                           [](DatabaseClient& client, Invocation& call, const AppArguments& given) {
                             return start_or_stop(client, call, given, TaskKind::stop);
                           })));
}

}  // namespace homeport::agent
