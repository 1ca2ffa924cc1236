// homeport task list|show|cancel|resolve|remove|wait
#include "agent/cli/arguments.h"
#include "agent/cli/commands.h"
#include "agent/cli/listen.h"
#include "agent/cli/lookup.h"
#include "agent/cli/output.h"
#include "agent/cli/progress.h"
#include "agent/cli/task_view.h"
#include "agent/cli/task_wait.h"
#include "agent/status/json.h"

#include <fmt/format.h>
#include <CLI/CLI.hpp>
#include <boost/json.hpp>

#include <algorithm>
#include <memory>
#include <ostream>

namespace homeport::agent {
namespace {

namespace asio = boost::asio;
namespace json = boost::json;
using boost::system::errc::errc_t;
using policy::Result;

/// The latest request last.
std::vector<const Task*> by_request(const Contents& contents, bool open_only) {
  std::vector<const Task*> tasks;
  for (const auto& [uuid, task] : contents.tasks) {
    if (!open_only || is_open(contents, task)) tasks.push_back(&task);
  }
  std::stable_sort(tasks.begin(), tasks.end(),
                   [](const Task* a, const Task* b) { return a->requested_at < b->requested_at; });
  return tasks;
}

std::string tasks_json(const Contents& contents, const std::vector<const Task*>& tasks) {
  json::array array;
  for (const Task* task : tasks) array.emplace_back(task_to_json(contents, *task));
  return json::serialize(array) + "\n";
}

std::string optional_ms(const std::optional<std::uint64_t>& ms) {
  return ms ? format_duration(std::chrono::milliseconds(*ms)) : "";
}

asio::awaitable<Result<int>> list(DatabaseClient& client, Invocation& invocation, bool open_only) {
  const Contents& contents = client.contents();
  std::vector<const Task*> tasks = by_request(contents, open_only);
  if (invocation.global.json) {
    invocation.terminal.out << tasks_json(contents, tasks);
    co_return kExitDone;
  }
  Table table({{"TASK"},
               {"KIND"},
               {"APPLICATION"},
               {"FROM"},
               {"TO"},
               {"STATE"},
               {"PHASE"},
               {"SENT", true},
               {"TOOK", true},
               {"STOPPED", true},
               {"REQUESTED"}});
  for (const Task* task : tasks) {
    TaskSnapshot view = view_task(contents, *task);
    table.add({view.id.substr(0, 8), view.kind, view.application, view.source, view.destination,
               view.state, view.phase, format_bytes(view.bytes_sent), optional_ms(view.total_ms),
               optional_ms(view.downtime_ms), to_rfc3339(task->requested_at)});
  }
  invocation.terminal.out << table.to_string();
  co_return kExitDone;
}

std::string lane_table(const std::vector<LaneSnapshot>& lanes) {
  Table table({{"LANE FROM"}, {"TO"}, {"THROUGH"}, {"STATE"}, {"SENT", true}, {"RATE", true}});
  for (const LaneSnapshot& lane : lanes) {
    const bool open = lane.state == "open";
    table.add({lane.local.empty() ? "any" : lane.local, lane.remote, "none", lane.state,
               format_bytes(lane.bytes_sent), open ? format_bytes(lane.rate) + "/s" : ""});
  }
  return table.to_string();
}

asio::awaitable<Result<int>> show(DatabaseClient& client, Invocation& invocation,
                                  const std::string& text) {
  const Contents& contents = client.contents();
  auto id = find_task(contents, text);
  if (!id) co_return id.error();
  const Task& task = contents.tasks.at(*id);
  if (invocation.global.json) {
    invocation.terminal.out << json::serialize(task_to_json(contents, task)) << "\n";
    co_return kExitDone;
  }
  TaskSnapshot view = view_task(contents, task);
  Table table({{"TASK"}, {view.id}});
  table.add({"kind", view.kind});
  table.add({"application", view.application});
  table.add({"source", view.source});
  table.add({"destination", view.destination});
  table.add(
      {"requested", fmt::format("{} by {}", to_rfc3339(task.requested_at), task.requested_by)});
  table.add({"cancel asked", task.cancel ? "yes" : "no"});
  table.add({"executed by", view.host});
  table.add({"state", view.state});
  table.add({"phase", view.phase});
  table.add({"started", view.started ? to_rfc3339(*view.started) : ""});
  table.add({"finished", view.finished ? to_rfc3339(*view.finished) : ""});
  table.add({"sent", fmt::format("{} for {} of memory in {}", format_bytes(view.bytes_sent),
                                 format_bytes(view.ram_bytes), counted(view.rounds, "round"))});
  table.add({"took", optional_ms(view.total_ms)});
  table.add({"application stopped for", optional_ms(view.downtime_ms)});
  if (const TaskStatus* status = status_of(contents, *id)) {
    for (const auto& [name, value] : status->figures) table.add({name, std::to_string(value)});
  }
  table.add({"error", view.error});
  invocation.terminal.out << table.to_string();
  if (!view.lanes.empty()) invocation.terminal.out << "\n" << lane_table(view.lanes);
  co_return kExitDone;
}

asio::awaitable<Result<int>> cancel(DatabaseClient& client, Invocation& invocation,
                                    const std::string& text, bool wait) {
  auto id = find_task(client.contents(), text);
  if (!id) co_return id.error();
  TaskSnapshot view = view_task(client.contents(), client.contents().tasks.at(*id));
  if (view.state == "in-doubt") {
    co_return policy::make_error(
        errc_t::operation_not_permitted,
        fmt::format("Task {} is in doubt, which cannot be cancelled; settle it with `homeport task "
                    "resolve {}`.",
                    view.id, view.id));
  }
  if (has_ended(view)) {
    co_return policy::make_error(
        errc_t::operation_not_permitted,
        fmt::format("Task {} has ended already: {}", view.id, task_summary(view)));
  }
  auto asked = co_await client.database().request_cancel(*id);
  if (!asked) co_return asked.error();
  if (wait) {
    auto waited = co_await wait_for_task(client, invocation, *id);
    if (!waited || *waited != kExitFailed) co_return waited;
    // Cancelled or rolled back is what was wanted here.
    auto task = client.contents().tasks.find(*id);
    bool failed = task != client.contents().tasks.end() &&
                  view_task(client.contents(), task->second).state == "failed";
    co_return failed ? kExitFailed : kExitDone;
  }
  if (invocation.global.json) {
    invocation.terminal.out << json::serialize(json::object{{"id", view.id}, {"cancel", true}})
                            << "\n";
  } else {
    invocation.terminal.out << fmt::format(
        "Asked to cancel task {}; a move that has not switched yet is rolled back.\n", view.id);
  }
  co_return kExitDone;
}

constexpr char kResolveConsequence[] =
    "A move is in doubt when the switch was begun and the application does not run, or may not "
    "run,\n"
    "at the destination. The source holds it stopped with its memory, so that it cannot run "
    "twice.\n"
    "Find out at the hosts which of them has its complete state, then decide with --to:\n"
    "  --to source       the destination gives it back unless it runs there; it goes on where it "
    "was\n"
    "  --to destination  it stays the destination's; what the source holds is no longer needed\n"
    "An application is taken from a host that has been silent for 40 s. Make sure that such a host "
    "is\n"
    "down: until it is heard of again, the application would run there too if it ran before.\n"
    "What the other host holds of it is lost. The decision cannot be taken back.\n";

/// The owner that a decision must take the application from, if any: a host that is alive gives it
/// back itself unless it runs there; one that is silent cannot, nor one that is no part of the
/// move.
std::optional<Ownership> owner_to_override(const Contents& contents, const TaskSnapshot& task,
                                           const std::string& chosen, const SignsOfLife& now) {
  Ownership owner = ownership(contents, task.application);
  if (owner.kind != Ownership::Kind::owned || owner.location == chosen) return std::nullopt;
  const bool takes_part = owner.location == task.source || owner.location == task.destination;
  if (takes_part && !is_silent(contents, owner.location, now)) return std::nullopt;
  return owner;
}

asio::awaitable<Result<int>> resolve(DatabaseClient& client, Invocation& invocation,
                                     const std::string& text, const std::string& to) {
  const Contents& contents = client.contents();
  std::set<std::string> hosts;
  for (const Task* task : by_request(contents, true)) {
    const TaskStatus* status = status_of(contents, task->uuid);
    if (!status || (!text.empty() && !to_string(task->uuid).starts_with(text))) continue;
    hosts.insert({status->host, status->source, status->destination});
  }
  const SignsOfLife now = co_await listen_for(client, invocation, std::move(hosts));
  std::vector<const Task*> doubtful;
  for (const Task* task : by_request(contents, false)) {
    if (is_doubtful(contents, *task, now)) doubtful.push_back(task);
  }
  if (!text.empty()) {
    auto id = find_task(contents, text);
    if (!id) co_return id.error();
    std::erase_if(doubtful, [&](const Task* task) { return task->uuid != *id; });
    if (doubtful.empty()) {
      co_return policy::make_error(
          errc_t::invalid_argument,
          fmt::format("Task {} is not in doubt, so there is nothing to resolve.", to_string(*id)));
    }
  }
  std::ostream& out = invocation.terminal.out;
  if (to.empty()) {
    if (invocation.global.json) {
      out << tasks_json(contents, doubtful);
      co_return kExitDone;
    }
    if (doubtful.empty()) {
      out << "No task is in doubt.\n";
      co_return kExitDone;
    }
    Table table({{"TASK"}, {"APPLICATION"}, {"SOURCE"}, {"DESTINATION"}, {"DECIDED"}, {"WHY"}});
    for (const Task* task : doubtful) {
      TaskSnapshot view = view_task(contents, *task);
      table.add({view.id, view.application, view.source, view.destination,
                 task->resolution ? to_string(*task->resolution) : "", view.error});
    }
    out << table.to_string() << "\n" << kResolveConsequence;
    co_return kExitDone;
  }
  Uuid id = doubtful.front()->uuid;
  TaskSnapshot view = view_task(contents, *doubtful.front());
  bool to_source = to == "source";
  auto written = co_await client.database().resolve_task(
      id, to_source ? Resolution::source : Resolution::destination);
  if (!written) co_return written.error();
  const std::string& chosen = to_source ? view.source : view.destination;
  if (auto owner = owner_to_override(client.contents(), view, chosen, now)) {
    auto taken = co_await client.database().commit_move(view.application, owner->location, chosen,
                                                        owner->generation);
    if (!taken) co_return taken.error();
    if (*taken != Outcome::committed) {
      co_return policy::make_error(
          errc_t::resource_unavailable_try_again,
          fmt::format("The bindings of {} changed meanwhile. Look with `homeport app list`, then "
                      "decide again.",
                      view.application));
    }
  }
  if (invocation.global.json) {
    out << json::serialize(json::object{{"id", view.id}, {"resolution", to}}) << "\n";
  } else {
    out << fmt::format("Decided: {} goes on at {}; what {} holds of it is thrown away.\n",
                       view.application, for_terminal(chosen),
                       for_terminal(to_source ? view.destination : view.source));
  }
  co_return kExitDone;
}

asio::awaitable<Result<int>> wait(DatabaseClient& client, Invocation& invocation,
                                  const std::string& text) {
  auto id = find_task(client.contents(), text);
  if (!id) co_return id.error();
  co_return co_await wait_for_task(client, invocation, *id);
}

/// Whether it is the last success of an application that is there: without it, `app remove` would
/// take one that runs for one that was never started.
bool tells_what_runs(const Contents& contents, const Uuid& task) {
  const std::string& application = contents.tasks.at(task).application;
  const TaskStatus* last = last_success(contents, application);
  return last && last->task == task && contents.applications.contains(application);
}

/// Those that have ended and may go.
std::vector<Uuid> ended_tasks(const Contents& contents, std::size_t& kept) {
  std::vector<Uuid> ended;
  for (const auto& [uuid, task] : contents.tasks) {
    if (is_open(contents, task)) continue;
    if (tells_what_runs(contents, uuid)) {
      ++kept;
    } else {
      ended.push_back(uuid);
    }
  }
  return ended;
}

/// Deletes one task, or those that have ended.
asio::awaitable<Result<int>> remove(DatabaseClient& client, Invocation& invocation,
                                    const std::string& text) {
  std::vector<Uuid> chosen;
  std::size_t kept = 0;
  if (text.empty()) {
    chosen = ended_tasks(client.contents(), kept);
  } else {
    auto id = find_task(client.contents(), text);
    if (!id) co_return id.error();
    if (is_open(client.contents(), client.contents().tasks.at(*id))) {
      co_return policy::make_error(
          errc_t::operation_not_permitted,
          fmt::format("Task {} has not ended: cancel it with `homeport task cancel {}`, or wait "
                      "for it with `homeport task wait {}`.",
                      to_string(*id), text, text));
    }
    if (tells_what_runs(client.contents(), *id)) {
      co_return policy::make_error(
          errc_t::operation_not_permitted,
          fmt::format("Task {} is the last of {} that succeeded, and tells whether it runs: it "
                      "stays until another has succeeded, or the application is removed.",
                      to_string(*id), client.contents().tasks.at(*id).application));
    }
    chosen.push_back(*id);
  }
  json::array removed;
  for (const Uuid& task : chosen) {
    auto done = co_await client.database().remove_task(task);
    if (!done) co_return done.error();
    removed.emplace_back(to_string(task));
  }
  if (invocation.global.json) {
    invocation.terminal.out << json::serialize(json::object{{"removed", removed}, {"kept", kept}})
                            << "\n";
  } else {
    invocation.terminal.out << fmt::format("Removed {}.", counted(removed.size(), "task"));
    if (kept != 0) {
      invocation.terminal.out << fmt::format(
          " Kept {}, the last that succeeded of each application: they tell what runs.",
          counted(kept, "task"));
    }
    invocation.terminal.out << "\n";
  }
  co_return kExitDone;
}

struct TaskArguments {
  std::string task, to;
  bool open_only = false;
  bool ended = false;
  bool wait = false;
};

}  // namespace

void add_task_commands(CLI::App& app, Invocation& invocation) {
  CLI::App* group = app.add_subcommand("task", "Show, watch, cancel and settle tasks");
  group->require_subcommand(1);
  auto arguments = std::make_shared<TaskArguments>();
  auto add = [&](const char* name, const char* help, auto command) {
    return add_database_command(*group, name, help, invocation,
                                [=, &invocation](DatabaseClient& client) {
                                  return command(client, invocation, *arguments);
                                });
  };
  auto add_task_argument = [&](CLI::App* command) {
    return command->add_option("TASK", arguments->task, "UUID of the task, or its beginning")
        ->check(kIsGiven);
  };

  add("list", "List the tasks, the latest last",
      [](auto& client, auto& call, const TaskArguments& given) {
        return list(client, call, given.open_only);
      })
      ->add_flag("--open", arguments->open_only, "Only those that have not ended");
  add_task_argument(add("show", "Show one task",
                        [](auto& client, auto& call, const TaskArguments& given) {
                          return show(client, call, given.task);
                        }))
      ->required();
  CLI::App* cancel_command = add("cancel", "Cancel a task; a move is rolled back",
                                 [](auto& client, auto& call, const TaskArguments& given) {
                                   return cancel(client, call, given.task, given.wait);
                                 });
  add_task_argument(cancel_command)->required();
  cancel_command->add_flag("--wait", arguments->wait, "Return when it has ended");
  CLI::App* resolve_command =
      add("resolve", "Show moves in doubt, and decide with --to where the application goes on",
          [](auto& client, auto& call, const TaskArguments& given) {
            return resolve(client, call, given.task, given.to);
          });
  resolve_command->footer(kResolveConsequence);
  CLI::Option* resolve_task = add_task_argument(resolve_command);
  resolve_command->add_option("--to", arguments->to, "source or destination")
      ->check(CLI::IsMember({"source", "destination"}))
      ->needs(resolve_task);
  CLI::App* remove_command =
      add("remove", "Delete a task that has ended, or all but each application's last success",
          [](auto& client, auto& call, const TaskArguments& given) {
            return remove(client, call, given.task);
          });
  CLI::Option_group* which = remove_command->add_option_group("which");
  add_task_argument(which);
  which->add_flag("--ended", arguments->ended,
                  "All that have ended, but for the last success of each application");
  which->require_option(1);
  add_task_argument(add("wait", "Watch a task until it has ended",
                        [](auto& client, auto& call, const TaskArguments& given) {
                          return wait(client, call, given.task);
                        }))
      ->required();
}

}  // namespace homeport::agent
