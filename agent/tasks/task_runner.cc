#include "agent/tasks/task_runner.h"

#include "agent/control/validate.h"
#include "agent/tasks/needs.h"
#include "overlay/log/log.h"
#include "overlay/pause.h"
#include "overlay/spawn.h"
#include "policy/text.h"

#include <fmt/format.h>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <algorithm>
#include <tuple>

namespace homeport::agent {

namespace asio = boost::asio;
namespace log = overlay::log;
namespace errc = boost::system::errc;
using namespace asio::experimental::awaitable_operators;
using namespace std::chrono_literals;
using migration::Cargo;
using migration::JournalEntry;
using migration::MoveProgress;
using migration::MoveReport;
using migration::MoveRequest;
using migration::SourceMove;
using migration::SourceOutcome;
using policy::Result;

namespace {

constexpr auto kProgressInterval = 500ms;
/// Bytes of Task_Status.error, by the schema.
constexpr std::size_t kLongestError = 4096;

LaneState state_of(migration::LaneState state) {
  switch (state) {
    case migration::LaneState::open:
      return LaneState::open;
    case migration::LaneState::given_up:
      return LaneState::given_up;
    case migration::LaneState::closed:
      break;
  }
  return LaneState::closed;
}

void fill(TaskStatus& status, const MoveProgress& progress) {
  status.phase = progress.phase;
  status.bytes_sent = static_cast<std::int64_t>(progress.memory.bytes_sent);
  status.bytes_total =
      static_cast<std::int64_t>(progress.memory.bytes_sent + progress.memory.bytes_left);
  status.ram_bytes = static_cast<std::int64_t>(progress.memory.ram_bytes);
  status.rounds = progress.memory.rounds;
  status.bytes_per_second = static_cast<std::int64_t>(progress.memory.bytes_per_second);
  if (progress.memory.bytes_per_second > 0) {
    status.eta = std::chrono::milliseconds(progress.memory.bytes_left * 1000 /
                                           progress.memory.bytes_per_second);
  }
  status.total = progress.elapsed;
  if (progress.stopped) {
    status.downtime = std::chrono::ceil<std::chrono::milliseconds>(*progress.stopped);
  }
  status.lanes.clear();
  for (const migration::LaneReport& lane : progress.lanes) {
    status.lanes.push_back({.local = lane.path ? lane.path->local.to_string() : std::string(),
                            .remote = lane.remote,
                            .state = state_of(lane.state),
                            .bytes_sent = static_cast<std::int64_t>(lane.bytes_sent),
                            .bytes_per_second = static_cast<std::int64_t>(lane.bytes_per_second)});
  }
}

log::About about(const TaskStatus& status) {
  return {{"task", to_string(status.task)},
          {"application", status.application},
          {"kind", std::string(to_string(status.kind))}};
}

TaskState state_of(const MoveReport& report) {
  switch (report.outcome) {
    case SourceOutcome::succeeded:
      return TaskState::succeeded;
    case SourceOutcome::in_doubt:
      return TaskState::in_doubt;
    default:
      return report.cancelled ? TaskState::cancelled : TaskState::rolled_back;
  }
}

}  // namespace

TaskRunner::TaskRunner(asio::any_io_executor executor, ControlDatabase& database, Guests& guests,
                       std::shared_ptr<const migration::SourceContext> moves, std::string host,
                       std::size_t max_moves,
                       std::function<bool(const std::string& application)> arriving)
    : executor_(std::move(executor)),
      database_(database),
      guests_(guests),
      context_(std::move(moves)),
      host_(std::move(host)),
      max_moves_(max_moves),
      arriving_(std::move(arriving)) {}

TaskStatus TaskRunner::status_of(const Task& task) const {
  TaskStatus status;
  status.task = task.uuid;
  status.host = host_;
  status.kind = task.kind;
  status.application = task.application;
  status.started = wall_clock_now();
  status.phase = "requested";
  if (task.kind == TaskKind::move) {
    status.source = host_;
    if (auto to = task.arguments.find("destination"); to != task.arguments.end()) {
      status.destination = to->second;
    }
  }
  return status;
}

void TaskRunner::on_database_change() {
  if (!resumed_) return;
  std::vector<const Task*> waiting;
  for (const auto& [uuid, task] : database_.tasks()) {
    auto move = moves_.find(task.application);
    if (move != moves_.end() && move->second->entry().move_id == to_string(uuid)) {
      if (task.cancel) move->second->cancel();
      if (task.resolution == Resolution::destination) move->second->leave_to_destination();
    }
    if (task.resolution == Resolution::source) give_back(task);
    if (ending_ || taken_.contains(uuid) || database_.task_status().contains(uuid)) continue;
    if (ownership(database_.contents(), task.application).location != host_) continue;
    // What another host wrote of it may be on its way still.
    if (!database_.settled()) continue;
    waiting.push_back(&task);
  }
  std::sort(waiting.begin(), waiting.end(), [](const Task* a, const Task* b) {
    return std::tie(b->priority, a->requested_at, a->uuid) <
           std::tie(a->priority, b->requested_at, b->uuid);
  });
  for (const Task* task : waiting) {
    // One too many waits for another to end; what is called off need not wait for that.
    const bool full = task->kind == TaskKind::move && move_tasks_ >= max_moves_;
    if (!full || task->cancel) take_up(*task);
  }
  std::erase_if(taken_, [&](const auto& item) {
    return !item.second && !database_.tasks().contains(item.first);
  });
  end_interrupted();
  forget_deleted();
}

void TaskRunner::wind_up(const std::string& why) {
  ending_ = true;
  for (const auto& [application, move] : moves_) move->give_up(why);
}

bool TaskRunner::busy() const {
  return std::ranges::any_of(taken_, [](const auto& item) { return item.second; });
}

/// Who asked for a task deletes it when they no longer care; what was written about it goes too.
void TaskRunner::forget_deleted() {
  // A task that has not been read yet is not gone.
  if (!database_.settled()) return;
  if (forgetting_ || abandoned_status(database_.contents(), host_).empty()) return;
  forgetting_ = true;
  auto forget = [this]() -> asio::awaitable<void> {
    if (auto removed = co_await database_.remove_abandoned_status(host_); !removed) {
      log::warn("task status: {}", removed.error().message);
    }
    forgetting_ = false;
  };
  overlay::spawn(executor_, forget);
}

/// A person has said that an application which was committed to this host, and cannot run here,
/// goes back to where its memory still is. The source waits for exactly that.
void TaskRunner::give_back(const Task& task) {
  // A move that has not come to its end here runs the guest, or gives it back itself.
  if (giving_back_.contains(task.uuid) || arriving_(task.application)) return;
  auto status = database_.task_status().find(task.uuid);
  if (task.kind != TaskKind::move || status == database_.task_status().end() ||
      status->second.state != TaskState::in_doubt || status->second.destination != host_ ||
      guests_.running(task.application)) {
    return;
  }
  const Ownership owner = ownership(database_.contents(), task.application);
  if (owner.kind != Ownership::Kind::owned || owner.location != host_) return;
  log::warn(about(status->second), "{} is given back to {}, as was decided", task.application,
            status->second.host);
  giving_back_.insert(task.uuid);
  auto give = [this, task, to = status->second.host, whom = about(status->second),
               generation = owner.generation]() -> asio::awaitable<void> {
    auto outcome = co_await context_->ownership.pass(task.application, host_, to, generation);
    if (outcome != migration::CommitOutcome::committed) {
      log::warn(whom,
                "{} could not be given back to {}; it is tried again when the bindings change",
                task.application, to);
    }
    giving_back_.erase(task.uuid);
  };
  overlay::spawn(executor_, give);
}

void TaskRunner::take_up(const Task& task) {
  taken_[task.uuid] = true;
  if (task.kind == TaskKind::move) ++move_tasks_;
  auto carry_out = [this, task]() -> asio::awaitable<void> {
    co_await run(task);
    if (task.kind == TaskKind::move) --move_tasks_;
    ended(task.uuid, task.application);
  };
  overlay::spawn(executor_, carry_out);
}

/// Before it can be read that the task has ended: whoever reads that may ask for the next one.
void TaskRunner::release(const Uuid& task, const std::string& application) {
  auto busy = busy_.find(application);
  if (busy != busy_.end() && busy->second.task == task) busy_.erase(busy);
}

void TaskRunner::ended(const Uuid& task, const std::string& application) {
  release(task, application);
  taken_[task] = false;
  on_database_change();  // others may have waited for this one
}

/// Tasks that this host was at when its agent was ended, and of which its journal knows nothing:
/// what became of a move the bindings say.
void TaskRunner::end_interrupted() {
  for (const auto& [uuid, status] : database_.task_status()) {
    const bool open = status.state == TaskState::running || status.state == TaskState::in_doubt;
    if (status.host != host_ || !open || taken_.contains(uuid)) continue;
    taken_[uuid] = false;
    const Ownership owner = ownership(database_.contents(), status.application);
    TaskState state = TaskState::failed;
    std::string error = fmt::format("the agent of {} was ended during the task", host_);
    if (status.kind == TaskKind::move && owner.kind == Ownership::Kind::owned &&
        owner.location == status.destination) {
      state = TaskState::succeeded;
      error.clear();
    }
    overlay::spawn(executor_, finish(status, state, std::move(error)));
  }
}

asio::awaitable<void> TaskRunner::write(TaskStatus status) {
  const log::About whom = about(status);
  if (auto written = co_await database_.write_task_status(std::move(status)); !written) {
    log::warn(whom, "task status: {}", written.error().message);
  }
}

asio::awaitable<void> TaskRunner::finish(TaskStatus status, TaskState state, std::string error) {
  status.state = state;
  status.error = policy::printable(error, kLongestError);
  status.finished = wall_clock_now();
  status.eta.reset();
  if (state == TaskState::succeeded) status.phase = "done";
  const log::About whom = about(status);
  const std::string text =
      fmt::format("{} of {} {}{}{}", to_string(status.kind), status.application, to_string(state),
                  status.error.empty() ? "" : ": ", status.error);
  if (state == TaskState::succeeded || state == TaskState::cancelled) {
    log::info(whom, "task: {}", text);
  } else {
    log::warn(whom, "task: {}", text);
  }
  // How it ended must get through, however long the database is away.
  while (true) {
    auto written = co_await database_.write_task_status(status);
    if (written || written.error().cancelled()) co_return;
    log::warn(whom, "how the task ended is not in the control database yet: {}",
              written.error().message);
    if (written.error().code != errc::timed_out) co_return;  // it was refused, and would be again
    co_await overlay::pause(1s);
  }
}

/// One task at a time has an application: two would take its guest from each other.
Result<void> TaskRunner::claim(const TaskStatus& status) {
  auto [busy, claimed] = busy_.try_emplace(status.application, status);
  if (claimed) return {};
  const TaskStatus& other = busy->second;
  std::string what = other.kind == TaskKind::start ? "started" : "stopped";
  std::string then = "wait for it";
  if (other.kind == TaskKind::move) {
    what = "moved to " + other.destination;
    then += ", or cancel it with `homeport task cancel`";
  }
  return policy::make_error(errc::device_or_resource_busy,
                            fmt::format("{} is being {} already, by task {}: {}",
                                        status.application, what, to_string(other.task), then));
}

asio::awaitable<void> TaskRunner::run(Task task) {
  TaskStatus status = status_of(task);
  if (task.cancel) {
    co_await finish(std::move(status), TaskState::cancelled, "cancelled before it was taken up");
    co_return;
  }
  if (auto claimed = claim(status); !claimed) {
    co_await finish(std::move(status), TaskState::failed, claimed.error().message);
    co_return;
  }
  // Until this is in, the application may still be given to another host.
  auto told = co_await database_.write_task_status(status);
  if (told && ownership(database_.contents(), task.application).location != host_) {
    told = policy::make_error(errc::operation_not_permitted,
                              fmt::format("{} is not at {} any more", task.application, host_));
  }
  if (!told) {
    release(task.uuid, task.application);
    co_await finish(std::move(status), TaskState::failed, told.error().message);
    co_return;
  }
  if (task.kind == TaskKind::move) {
    co_await run_move(std::move(task), std::move(status));
    co_return;
  }
  Result<void> done{};
  if (arriving_(task.application)) {
    done = policy::make_error(
        errc::device_or_resource_busy,
        fmt::format("{} is being moved to {}: wait for that", task.application, host_));
  } else if (task.kind == TaskKind::start) {
    done = co_await guests_.start(task.application);
  } else {
    done = co_await guests_.stop(task.application);
  }
  status.total = wall_clock_now() - status.started;
  // Nothing conditional inside the co_await: GCC 12 destroys such temporaries twice.
  TaskState state = TaskState::succeeded;
  std::string error;
  if (!done) {
    state = TaskState::failed;
    error = done.error().message;
  }
  release(task.uuid, task.application);
  co_await finish(std::move(status), state, std::move(error));
}

Result<MoveRequest> TaskRunner::request_of(const Task& task) const {
  if (auto checked = check_task(database_.contents(), task); !checked) return checked.error();
  const Application& application = database_.applications().at(task.application);
  auto needs = needs_of(application);
  if (!needs) return needs.error();
  auto ports = guests_.ports_of(task.application);
  if (!ports) return ports.error();

  MoveRequest request;
  request.entry.role = JournalEntry::Role::source;
  request.entry.move_id = to_string(task.uuid);
  request.entry.application = task.application;
  request.entry.peer = task.arguments.at("destination");
  request.entry.generation = ownership(database_.contents(), task.application).generation;
  request.entry.ports = std::move(*ports);
  request.application_row = to_string(application.uuid);
  for (const Binding* binding : database_.contents().bindings_of(task.application)) {
    request.binding_rows.push_back(to_string(binding->uuid));
  }
  if (application.driver == Driver::netdev) {
    request.entry.cargo = Cargo::ports;
  } else {
    request.launch_profile = application.launch_profile;
    request.memory_mib = needs->memory_mib;
    request.vcpus = needs->vcpus;
  }
  // The policy of this one move, or the application's own.
  std::string policy_name = application.policy.value_or("");
  if (auto asked = task.arguments.find("policy"); asked != task.arguments.end()) {
    policy_name = asked->second;
  }
  if (!policy_name.empty()) {
    auto named = database_.policies().find(policy_name);
    if (named == database_.policies().end()) {
      return policy::make_error(
          errc::invalid_argument,
          fmt::format("there is no policy \"{}\" in the control database: see `homeport policy "
                      "list`, or add it",
                      policy_name));
    }
    const Policy& wanted = named->second;
    if (wanted.downtime_limit) request.limits.downtime_limit = *wanted.downtime_limit;
    if (wanted.copy_timeout) request.limits.copy_timeout = *wanted.copy_timeout;
    if (wanted.convergence) {
      request.limits.on_no_convergence = *wanted.convergence == Convergence::force
                                             ? policy::OnNoConvergence::force
                                             : policy::OnNoConvergence::rollback;
    }
  }
  return request;
}

asio::awaitable<void> TaskRunner::run_move(Task task, TaskStatus status) {
  auto request = request_of(task);
  if (!request) {
    release(task.uuid, task.application);
    co_await finish(std::move(status), TaskState::failed, request.error().message);
    co_return;
  }
  std::shared_ptr<migration::Vm> vm;
  if (request->entry.cargo == Cargo::vm) {
    auto found = co_await guests_.find(task.application);
    if (!found) {
      release(task.uuid, task.application);
      co_await finish(std::move(status), TaskState::failed, found.error().message);
      co_return;
    }
    vm = std::move(*found);
  }
  auto move = std::make_shared<SourceMove>(context_, std::move(*request), std::move(vm));
  moves_[task.application] = move;
  // It may have been called off since it was taken up.
  if (auto row = database_.tasks().find(task.uuid);
      row != database_.tasks().end() && row->second.cancel) {
    move->cancel();
  }
  if (ending_) move->give_up("the agent is being ended");
  co_await follow(std::move(move), std::move(status));
}

/// Runs the move to its end while its progress is written to the database.
asio::awaitable<void> TaskRunner::follow(MovePtr move, TaskStatus status) {
  asio::steady_timer interval(executor_);
  bool over = false;
  auto report_progress = [&]() -> asio::awaitable<void> {
    TaskStatus now = status;
    while (true) {
      interval.expires_after(kProgressInterval);
      boost::system::error_code ignored;
      co_await interval.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
      if (over) co_return;
      const MoveProgress progress = move->progress();
      fill(now, progress);
      now.state = progress.doubt.empty() ? TaskState::running : TaskState::in_doubt;
      now.error = policy::printable(progress.doubt, kLongestError);
      // Skipped while the database is away: a report must not hold up the next one.
      if (database_.synced()) co_await write(now);
    }
  };
  auto run = [&]() -> asio::awaitable<MoveReport> {
    MoveReport report = co_await move->run();
    over = true;
    interval.cancel();
    moves_.erase(status.application);
    co_return report;
  };
  // Both to their ends: a progress that is still being written must not come after the end.
  auto moved = run();
  auto told = report_progress();
  MoveReport report = co_await (std::move(moved) && std::move(told));
  fill(status, report.progress);
  status.phase = report.progress.phase;
  status.figures["device_state_bytes"] = static_cast<std::int64_t>(report.device_state_bytes);
  const TaskState state = state_of(report);
  ++totals_.ended[state];
  totals_.bytes_sent += report.progress.memory.bytes_sent;
  if (state == TaskState::succeeded) {
    totals_.total += report.progress.elapsed;
    for (const auto& [name, took] : report.phases) {
      MoveTotals::Phase& phase = totals_.phases[std::string(name)];
      ++phase.count;
      phase.total += took;
    }
    if (status.downtime) {
      totals_.downtime += *status.downtime;
      totals_.last_downtime = status.downtime;
      totals_.worst_downtime = std::max(totals_.worst_downtime.value_or(0ms), *status.downtime);
    }
  }
  release(status.task, status.application);
  co_await finish(std::move(status), state, std::move(report.error));
}

void TaskRunner::resume(std::vector<JournalEntry> interrupted) {
  for (JournalEntry& entry : interrupted) {
    if (auto task = parse_uuid(entry.move_id)) taken_[*task] = true;
    overlay::spawn(executor_, recover(std::move(entry)));
  }
  resumed_ = true;
  on_database_change();
}

asio::awaitable<void> TaskRunner::recover(JournalEntry entry) {
  const std::string application = entry.application;
  TaskStatus status;
  if (auto uuid = parse_uuid(entry.move_id)) {
    auto row = database_.task_status().find(*uuid);
    if (row != database_.task_status().end()) status = row->second;
    status.task = *uuid;
  }
  status.host = status.source = host_;
  status.kind = TaskKind::move;
  status.application = application;
  status.destination = entry.peer;
  const Uuid task = status.task;
  busy_.insert_or_assign(application, status);
  ++move_tasks_;
  std::shared_ptr<migration::Vm> vm;  // none: it has certainly ended, or only ports move
  if (entry.cargo == Cargo::vm) {
    co_await guests_.settle(application);
    if (auto found = co_await guests_.find(application)) vm = *found;
  }
  MoveRequest request;
  request.entry = std::move(entry);
  auto move = SourceMove::recovered(context_, std::move(request), std::move(vm));
  moves_[application] = move;
  co_await follow(std::move(move), std::move(status));
  --move_tasks_;
  ended(task, application);
}

}  // namespace homeport::agent
