#include "agent/cli/task_wait.h"

#include "agent/cli/lookup.h"
#include "agent/cli/progress.h"
#include "agent/cli/task_view.h"
#include "agent/control/validate.h"

#include <fmt/format.h>
#include <boost/asio/signal_set.hpp>
#include <boost/json/serialize.hpp>

#include <pwd.h>
#include <unistd.h>

#include <csignal>
#include <ostream>

namespace homeport::agent {
namespace {

namespace asio = boost::asio;
using boost::system::errc::errc_t;
using policy::Result;

/// "operator@machine", for whoever reads the task later.
std::string requester() {
  const passwd* user = ::getpwuid(::geteuid());
  char machine[256] = "";
  ::gethostname(machine, sizeof machine - 1);
  return fmt::format("{}@{}", user ? user->pw_name : std::to_string(::geteuid()), machine);
}

policy::Error gone(const Uuid& id) {
  return policy::make_error(
      errc_t::no_such_file_or_directory,
      fmt::format("Task {} was removed while it was waited for.", to_string(id)));
}

}  // namespace

asio::awaitable<Result<int>> request_task(DatabaseClient& client, Invocation& invocation, Task task,
                                          bool wait) {
  const Contents& contents = client.contents();
  if (const Task* other = open_task_of(contents, task.application)) {
    TaskSnapshot view = view_task(contents, *other);
    co_return policy::make_error(
        errc_t::device_or_resource_busy,
        fmt::format("A {} of {} is {}; wait for it with `homeport task wait {}` or cancel it with "
                    "`homeport task cancel {}`.",
                    view.kind, view.application, view.state, view.id, view.id));
  }
  auto valid = check_task(contents, task);
  if (!valid) co_return valid.error();
  task.requested_by = requester();
  task.requested_at = wall_clock_now();
  auto id = co_await client.database().insert_task(task);
  if (!id) co_return id.error();
  if (wait) co_return co_await wait_for_task(client, invocation, *id);
  std::string text = to_string(*id);
  if (invocation.global.json) {
    invocation.terminal.out << boost::json::serialize(boost::json::object{{"id", text}}) << "\n";
  } else {
    invocation.terminal.out << fmt::format(
        "Asked for task {}; `homeport task wait {}` shows its progress.\n", text, text);
  }
  co_return kExitDone;
}

asio::awaitable<Result<int>> wait_for_task(DatabaseClient& client, Invocation& invocation,
                                           Uuid id) {
  Terminal& terminal = invocation.terminal;
  bool show = !invocation.global.json;
  ProgressPrinter printer(terminal.interactive);
  bool interrupted = false;
  asio::signal_set signals(co_await asio::this_coro::executor, SIGINT, SIGTERM);
  signals.async_wait([&](boost::system::error_code ec, int) {
    if (ec) return;
    interrupted = true;
    client.wake();
  });

  bool was_synced = true;
  bool seen = false;
  while (!interrupted) {
    bool synced = client.database().synced();
    if (show && synced != was_synced) {
      terminal.out << printer.notice(synced ? "The control database is back."
                                            : "The control database is away; waiting for it. The "
                                              "task itself goes on as far as it can.");
    }
    was_synced = synced;
    auto task = client.contents().tasks.find(id);
    if (task != client.contents().tasks.end()) {
      seen = true;
      TaskSnapshot view = view_task(client.contents(), task->second);
      if (has_ended(view)) {
        if (show) {
          terminal.out << printer.finish() << task_summary(view) << "\n";
        } else {
          terminal.out << boost::json::serialize(task_to_json(client.contents(), task->second))
                       << "\n";
        }
        co_return exit_code_of(view);
      }
      if (show) terminal.out << printer.update(view, ProgressPrinter::Clock::now()) << std::flush;
    } else if (seen && synced) {
      if (show) terminal.out << printer.finish();
      co_return gone(id);
    }
    co_await client.next_change();
  }
  if (show) terminal.out << printer.finish();
  std::string text = to_string(id);
  terminal.err << fmt::format(
      "No longer watching; the task goes on. Watch it with `homeport task wait {}`, end it with "
      "`homeport task cancel {}`.\n",
      text, text);
  co_return kExitInterrupted;
}

}  // namespace homeport::agent
