// homeport network add|list|show|remove
#include "agent/cli/arguments.h"
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
using boost::system::errc::errc_t;
using policy::Result;

struct NetworkArguments {
  std::string name;
  policy::Vni vni = 0;
  std::vector<std::string> subnets;
  std::optional<std::int64_t> mtu;
  std::vector<std::string> gateways;
  std::string unknown = "drop";
  bool host_access = false;
};

json::object network_json(const Network& network) {
  json::object object{{"name", network.name},
                      {"vni", network.vni},
                      {"subnets", json_array(texts(network.subnets))},
                      {"mtu", nullptr},
                      {"unknown", to_string(network.unknown)},
                      {"gateways", json_array(texts(network.gateways))},
                      {"host_access", network.host_access}};
  if (network.mtu) object["mtu"] = *network.mtu;
  return object;
}

asio::awaitable<Result<int>> add(DatabaseClient& client, Invocation& invocation,
                                 const NetworkArguments& given) {
  if (client.contents().networks.contains(given.name)) {
    co_return policy::make_error(
        errc_t::file_exists,
        fmt::format("There is a network {} already; choose another name or remove it first.",
                    given.name));
  }
  Network network;
  network.name = given.name;
  network.vni = given.vni;
  for (const std::string& text : given.subnets) network.subnets.push_back(*Subnet::parse(text));
  network.mtu = given.mtu;
  for (const std::string& text : given.gateways) {
    network.gateways.push_back(boost::asio::ip::make_address(text));
  }
  network.unknown =
      given.unknown == "normal" ? UnknownDestination::normal : UnknownDestination::drop;
  network.host_access = given.host_access;
  auto valid = check_network(client.contents(), network);
  if (!valid) co_return valid.error();
  auto written = co_await client.database().put_network(network);
  if (!written) co_return written.error();
  if (invocation.global.json) {
    invocation.terminal.out << json::serialize(network_json(network)) << "\n";
  } else {
    invocation.terminal.out << fmt::format("Added network {} with VNI {}.\n", network.name,
                                           network.vni);
  }
  co_return kExitDone;
}

asio::awaitable<Result<int>> list(DatabaseClient& client, Invocation& invocation,
                                  const NetworkArguments&) {
  Table table({{"NETWORK"}, {"VNI", true}, {"SUBNETS"}, {"MTU", true}, {"UNKNOWN"}});
  json::array networks;
  for (const auto& [name, network] : client.contents().networks) {
    networks.emplace_back(network_json(network));
    table.add({name, std::to_string(network.vni), join(texts(network.subnets), ", "),
               network.mtu ? std::to_string(*network.mtu) : "", to_string(network.unknown)});
  }
  invocation.terminal.out << (invocation.global.json ? json::serialize(networks) + "\n"
                                                     : table.to_string());
  co_return kExitDone;
}

asio::awaitable<Result<int>> show(DatabaseClient& client, Invocation& invocation,
                                  const NetworkArguments& given) {
  const Contents& contents = client.contents();
  auto network = find_named(contents.networks, "network", given.name);
  if (!network) co_return network.error();
  json::object object = network_json(**network);
  json::array bindings;
  Table table({{"BINDING"}, {"APPLICATION"}, {"LOCATION"}, {"MAC"}, {"ADDRESSES"}});
  for (const auto& [name, binding] : contents.bindings) {
    if (binding.network != given.name) continue;
    bindings.emplace_back(
        json::object{{"name", name},
                     {"application", binding.application},
                     {"location", binding.location.str()},
                     {"mac", binding.mac.to_string()},
                     {"prior_addresses", json_array(texts(binding.prior_addresses))}});
    table.add({name, binding.application, binding.location, binding.mac.to_string(),
               join(texts(binding.prior_addresses), ", ")});
  }
  if (invocation.global.json) {
    object["bindings"] = std::move(bindings);
    invocation.terminal.out << json::serialize(object) << "\n";
    co_return kExitDone;
  }
  const Network& row = **network;
  invocation.terminal.out << fmt::format(
      "Network {}: VNI {}, {}, MTU {}, unknown destinations: {}, gateways: {}, hosts' own "
      "processes: {}\n\n{}",
      for_terminal(row.name), row.vni,
      row.subnets.empty() ? "any address" : join(texts(row.subnets), ", "),
      row.mtu ? std::to_string(*row.mtu) : "as the underlay allows", to_string(row.unknown),
      row.gateways.empty() ? "none" : join(texts(row.gateways), ", "),
      row.host_access ? "reach it" : "do not reach it", table.to_string());
  co_return kExitDone;
}

asio::awaitable<Result<int>> remove(DatabaseClient& client, Invocation& invocation,
                                    const NetworkArguments& given) {
  auto network = find_named(client.contents().networks, "network", given.name);
  if (!network) co_return network.error();
  std::string name = given.name;
  auto removed = co_await client.database().remove_network(name);
  if (!removed) co_return removed.error();
  invocation.terminal.out << removed_text(invocation.global.json, name, "network " + name);
  co_return kExitDone;
}

}  // namespace

void add_network_commands(CLI::App& app, Invocation& invocation) {
  CLI::App* group = app.add_subcommand("network", "Add, show and remove virtual networks");
  group->require_subcommand(1);
  auto arguments = std::make_shared<NetworkArguments>();
  auto add_command = [&](const char* name, const char* help, auto command) {
    return add_database_command(*group, name, help, invocation,
                                [=, &invocation](DatabaseClient& client) {
                                  return command(client, invocation, *arguments);
                                });
  };
  auto add_name = [&](CLI::App* command) {
    command->add_option("NAME", arguments->name, "The network")->required();
  };

  CLI::App* adding = add_command("add", "Add a network", add);
  add_name(adding);
  adding->add_option("--vni", arguments->vni, "VXLAN network identifier, unique among networks")
      ->required()
      ->check(CLI::Range(1u, policy::kVniMax));
  add_repeated(*adding, "--subnet", arguments->subnets,
               "A prefix its applications' addresses are in; may be repeated (default: any)")
      ->check(kIsSubnet);
  adding->add_option("--mtu", arguments->mtu, "MTU of its ports (default: what fits the underlay)")
      ->check(CLI::Range(576, 65'465));
  add_repeated(*adding, "--gateway", arguments->gateways,
               "An address of the router that every host is for its applications; may be repeated")
      ->check(kIsIpAddress);
  adding
      ->add_option("--unknown", arguments->unknown,
                   "What is not for an application: drop, or normal, its normal way on the host "
                   "(default: drop)")
      ->check(CLI::IsMember({"drop", "normal"}));
  adding->add_flag("--host-access", arguments->host_access,
                   "Hosts' own processes reach its applications by their addresses");
  add_command("list", "List the networks", list);
  add_name(add_command("show", "Show one network and what is in it", show));
  add_name(add_command("remove", "Remove a network that nothing is in", remove));
}

}  // namespace homeport::agent
