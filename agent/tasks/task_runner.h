// Executes the tasks of the control database that are for this host: start, stop and move.
//
// A task is for the host where its application is when it is first seen. Its Task_Status row, which
// this host writes, says that it was taken up, how far it is, and how it ended.
#pragma once

#include "agent/control/database.h"
#include "agent/tasks/guests.h"
#include "migration/move/source_move.h"

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace homeport::agent {

/// Totals of the moves this host was the source of, since the agent was started.
struct MoveTotals {
  std::map<TaskState, std::uint64_t> ended;
  std::uint64_t bytes_sent = 0;
  std::chrono::milliseconds total{}, downtime{};  ///< sums over moves that succeeded
  std::optional<std::chrono::milliseconds> last_downtime, worst_downtime;
  struct Phase {
    std::uint64_t count = 0;
    std::chrono::milliseconds total{};
  };
  std::map<std::string, Phase> phases;  ///< by name, of moves that succeeded
};

/// Used on the control executor only.
class TaskRunner {
 public:
  TaskRunner(boost::asio::any_io_executor executor, ControlDatabase& database, Guests& guests,
             std::shared_ptr<const migration::SourceContext> moves, std::string host,
             std::size_t max_moves, std::function<bool(const std::string& application)> arriving);

  /// Takes up new tasks and requests to cancel. Does nothing before resume() was called.
  void on_database_change();

  /// Takes up the moves that a killed agent left, and from now on new tasks.
  void resume(std::vector<migration::JournalEntry> interrupted);

  /// Takes up nothing more, and rolls back the moves that can still go back, because of `why`.
  void wind_up(const std::string& why);
  /// Whether a task is under way here.
  bool busy() const;

  /// True once it takes up tasks.
  bool ready() const { return resumed_; }
  const MoveTotals& totals() const { return totals_; }
  /// The applications that are being moved away from here.
  bool moving(const std::string& application) const { return moves_.contains(application); }

 private:
  using MovePtr = std::shared_ptr<migration::SourceMove>;

  void take_up(const Task& task);
  void give_back(const Task& task);
  void end_interrupted();
  void forget_deleted();
  policy::Result<void> claim(const TaskStatus& status);
  void release(const Uuid& task, const std::string& application);
  void ended(const Uuid& task, const std::string& application);
  boost::asio::awaitable<void> run(Task task);
  boost::asio::awaitable<void> run_move(Task task, TaskStatus status);
  boost::asio::awaitable<void> follow(MovePtr move, TaskStatus status);
  boost::asio::awaitable<void> recover(migration::JournalEntry entry);
  policy::Result<migration::MoveRequest> request_of(const Task& task) const;
  boost::asio::awaitable<void> write(TaskStatus status);
  boost::asio::awaitable<void> finish(TaskStatus status, TaskState state, std::string error);
  TaskStatus status_of(const Task& task) const;

  boost::asio::any_io_executor executor_;
  ControlDatabase& database_;
  Guests& guests_;
  std::shared_ptr<const migration::SourceContext> context_;
  std::string host_;
  std::size_t max_moves_;
  std::function<bool(const std::string& application)> arriving_;
  bool resumed_ = false;
  bool forgetting_ = false;
  bool ending_ = false;
  std::size_t move_tasks_ = 0;  ///< taken up and not ended
  std::set<Uuid> giving_back_;
  std::map<Uuid, bool> taken_;              ///< tasks this agent has taken up; true while they run
  std::map<std::string, TaskStatus> busy_;  ///< by application: the task that has it
  std::map<std::string, MovePtr> moves_;    ///< by application
  MoveTotals totals_;
};

}  // namespace homeport::agent
