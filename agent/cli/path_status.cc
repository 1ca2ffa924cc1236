#include "agent/cli/path_status.h"

#include "agent/cli/arguments.h"
#include "agent/cli/commands.h"
#include "agent/cli/path_view.h"
#include "agent/cli/status_client.h"
#include "agent/status/server.h"

#include <fmt/format.h>
#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <boost/url/encode.hpp>
#include <boost/url/rfc/unreserved_chars.hpp>

#include <memory>
#include <ostream>

namespace homeport::agent {
namespace {

namespace json = boost::json;
using policy::Result;
using Page = std::function<Result<std::string>(const json::value&)>;

struct PathArguments {
  std::string peer, traffic;
  std::string agent = kDefaultStatusEndpoint;
};

Result<json::value> get(const PathArguments& arguments, const std::string& target,
                        const Invocation& invocation) {
  return get_status(arguments.agent, target,
                    std::chrono::round<std::chrono::milliseconds>(invocation.global.timeout));
}

/// All pages of /v1/paths as one.
Result<json::value> get_all(const PathArguments& arguments, const Invocation& invocation) {
  Result<json::value> all = get(arguments, "/v1/paths", invocation);
  while (all && all->is_object()) {
    json::object& paths = all->get_object();
    const json::value* next = paths.if_contains("next");
    if (!next || !next->is_string()) break;
    const std::string after =
        boost::urls::encode(next->get_string(), boost::urls::unreserved_chars);
    Result<json::value> more = get(arguments, "/v1/paths?after=" + after, invocation);
    if (!more) return more.error();
    json::value* peers = paths.if_contains("peers");
    json::object* page = more->if_object();
    json::value* others = page ? page->if_contains("peers") : nullptr;
    if (!peers || !peers->is_array() || !others || !others->is_array()) break;
    for (json::value& peer : others->get_array()) {
      peers->get_array().push_back(std::move(peer));
    }
    json::value* last = page->if_contains("next");
    paths["next"] = last ? std::move(*last) : json::value();
  }
  return all;
}

Result<int> show(const Result<json::value>& answer, const Page& page, Invocation& invocation) {
  if (!answer) return answer.error();
  if (invocation.global.json) {
    invocation.terminal.out << json::serialize(*answer) << "\n";
    return kExitDone;
  }
  Result<std::string> text = page(*answer);
  if (!text) return text.error();
  invocation.terminal.out << *text;
  return kExitDone;
}

std::string target_of(const PathArguments& arguments) {
  return "/v1/paths/" + boost::urls::encode(arguments.peer, boost::urls::unreserved_chars);
}

/// Prints the events of paths that are asked for, as they come.
Result<int> watch(const PathArguments& arguments, Invocation& invocation) {
  auto& out = invocation.terminal.out;
  auto take = [&](const ServerEvent& event) -> Result<void> {
    if (event.name != "path" && event.name != "path-removed") return {};
    boost::system::error_code ec;
    json::value data = json::parse(event.data, ec);
    auto is = [&](const char* member, const std::string& wanted) {
      const json::object* object = data.if_object();
      const json::value* value = object ? object->if_contains(member) : nullptr;
      return wanted.empty() || (value && *value == json::value(wanted));
    };
    if (!is("peer", arguments.peer) || !is("class", arguments.traffic)) return {};
    if (invocation.global.json) {
      if (auto* object = data.if_object()) (*object)["event"] = event.name;
      out << json::serialize(data) << std::endl;
      return {};
    }
    Result<std::string> line = path_event(event.name, data);
    if (!line) return line.error();
    out << *line << std::flush;
    return {};
  };
  auto watched =
      follow_status(arguments.agent, "/v1/events",
                    std::chrono::round<std::chrono::milliseconds>(invocation.global.timeout), take);
  if (!watched) return watched.error();
  return kExitInterrupted;
}

void add_agent(CLI::App& command, PathArguments& arguments) {
  command
      .add_option("--agent", arguments.agent,
                  fmt::format("The agent's status address: a loopback ADDRESS:PORT or unix:PATH "
                              "(default: {})",
                              kDefaultStatusEndpoint))
      ->envname("HOMEPORT_AGENT")
      ->type_name("ADDRESS");
}

CLI::Option* add_peer(CLI::App& command, PathArguments& arguments) {
  return command.add_option("PEER", arguments.peer, "The other host")->check(kIsGiven);
}

void add_class(CLI::App& command, PathArguments& arguments) {
  command
      .add_option("--class", arguments.traffic, "Only of this class: interactive, default or bulk")
      ->check(CLI::IsMember({"interactive", "default", "bulk"}))
      ->type_name("CLASS");
}

}  // namespace

void add_path_views(CLI::App& path, Invocation& invocation) {
  auto arguments = std::make_shared<PathArguments>();
  CLI::App* list = path.add_subcommand(
      "list", "Which path each class of traffic takes from this machine to each other host");
  add_agent(*list, *arguments);
  list->callback([arguments, &invocation] {
    invocation.action = [arguments, &invocation] {
      return show(get_all(*arguments, invocation), path_list, invocation);
    };
  });

  CLI::App* one = path.add_subcommand(
      "show", "All paths from this machine to another host, best first, and how they are");
  add_peer(*one, *arguments)->required();
  add_agent(*one, *arguments);
  one->callback([arguments, &invocation] {
    invocation.action = [arguments, &invocation] {
      return show(get(*arguments, target_of(*arguments), invocation), path_page, invocation);
    };
  });

  CLI::App* explain = path.add_subcommand(
      "explain", "Why traffic to another host takes the path it takes, and what would change that");
  add_peer(*explain, *arguments)->required();
  add_class(*explain, *arguments);
  add_agent(*explain, *arguments);
  explain->callback([arguments, &invocation] {
    invocation.action = [arguments, &invocation] {
      const Page page = [&](const json::value& paths) {
        return path_explanation(paths, arguments->traffic);
      };
      return show(get(*arguments, target_of(*arguments), invocation), page, invocation);
    };
  });

  CLI::App* follow = path.add_subcommand(
      "watch",
      "Which path traffic takes to each other host, and every change of that with its "
      "cause, as it happens");
  add_peer(*follow, *arguments);
  add_class(*follow, *arguments);
  add_agent(*follow, *arguments);
  follow->callback([arguments, &invocation] {
    invocation.action = [arguments, &invocation] { return watch(*arguments, invocation); };
  });
}

}  // namespace homeport::agent
