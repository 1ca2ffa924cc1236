// What becomes of an application that was received: it runs here, is handed back or thrown away.
#include "migration/move/about.h"
#include "migration/move/forward.h"
#include "migration/move/incoming_move.h"
#include "overlay/log/log.h"
#include "overlay/pause.h"

#include <fmt/format.h>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace homeport::migration {

namespace asio = boost::asio;
namespace errc = boost::system::errc;
namespace log = overlay::log;

asio::awaitable<void> IncomingMove::activate() {
  if (std::string problem = co_await run_guest(); !problem.empty()) {
    co_await hand_back(std::move(problem));
    co_return;
  }
  if (entry_.cargo == Cargo::vm && !vm_) {  // it ran here, and ended before the agent was back
    co_await discard();
    co_return;
  }
  if (vm_) context_->arrived(entry_.application, vm_);
  remove_journal();
  log::info(about(entry_), "move: {} runs here, by generation {}", entry_.application,
            entry_.generation + 1);
  if (!vm_) co_return;
  if (auto announced = co_await vm_->announce_self(); !announced) {
    log::info(about(entry_), "move: no announcement: {}", announced.error().message);
  }
}

/// Says why the guest certainly has not run here; empty: it runs, or may have run.
asio::awaitable<std::string> IncomingMove::run_guest() {
  if (entry_.cargo == Cargo::ports) {
    const auto there = check_devices();
    co_return there ? std::string() : there.error().message;
  }
  bool asked = entry_.phase == JournalPhase::running;  // by an agent that was ended then
  std::string problem = fmt::format("the guest of {} has ended", entry_.application);
  for (auto vm = vm_; vm && !vm->exited(); vm = vm_) {
    const bool before = asked;
    if (!vm->qmp().connected()) {
      if (!asked) co_return problem;
      if (auto again = co_await context_->driver.adopt(entry_.application)) {
        vm_ = vm = std::make_shared<Vm>(std::move(*again));
      }
    }
    if (!asked && vm->qmp().connected()) {
      entry_.phase = JournalPhase::running;
      if (auto written = context_->journal.write(entry_); !written) {
        entry_.phase = JournalPhase::decided;  // as the journal says still
        co_return written.error().message;
      }
      asked = true;
    }
    auto resumed = co_await vm->cont();
    if (resumed) co_return std::string();
    if (resumed.error().code == errc::protocol_error) {  // it was refused
      if (!before || co_await never_ran(*vm)) co_return resumed.error().message;
      co_return std::string();
    }
    if (std::exchange(problem, resumed.error().message) != problem) {
      log::error(about(entry_), "move: {} is to run here and its program does not answer: {}",
                 entry_.application, problem);
    }
    if (vm->exited()) break;
    co_await overlay::pause(std::chrono::seconds(1));
  }
  // Once it was told to go on it may have answered its clients and written its disks: what the
  // source has is old from then on.
  co_return asked ? std::string() : problem;
}

/// Of a guest that was told to go on, maybe without effect.
asio::awaitable<bool> IncomingMove::never_ran(Vm& vm) {
  auto status = co_await vm.status();
  co_return status && !status->running &&
      (status->state == "inmigrate" || status->state == "prelaunch" || status->state == "paused");
}

/// The application is ours and cannot run here: gives it back to where its memory still is.
asio::awaitable<void> IncomingMove::hand_back(std::string reason) {
  log::warn(about(entry_), "move: {} cannot run here and is handed back to {}: {}",
            entry_.application, entry_.peer, reason);
  // It has not run: the next agent, should this one be ended now, must know that too.
  const bool told = std::exchange(entry_.phase, JournalPhase::decided) == JournalPhase::running;
  while (told) {
    auto written = context_->journal.write(entry_);
    if (written) break;
    log::error(about(entry_), "move: {}", written.error().message);
    co_await overlay::pause(std::chrono::seconds(1));
  }
  co_await end_guest();  // before the source may run it
  const Generation ours = entry_.generation + 1;
  const auto deadline = std::chrono::steady_clock::now() + kBindingsPatience;
  while (true) {
    auto owner = co_await context_->ownership.owner(entry_.application);
    if (!owner && owner.error().cancelled()) co_return;
    if (owner && owner->generation > ours) break;
    if (!owner && std::chrono::steady_clock::now() > deadline) break;  // they are gone
    // The source may have told us before the database has; bindings may be half read.
    if (owner && owner->generation == ours && owner->host == context_->host) {
      auto outcome =
          co_await context_->ownership.pass(entry_.application, context_->host, entry_.peer, ours);
      if (outcome == CommitOutcome::committed) break;
    }
    co_await overlay::pause(std::chrono::milliseconds(20));
  }
  handed_back_ = std::move(reason);
  co_await discard();
}

asio::awaitable<void> IncomingMove::discard() {
  while (preparing_) {
    boost::system::error_code ignored;
    co_await prepared_.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
  }
  if (!called_off_.empty()) {
    log::info(about(entry_), "move: {} called it off: {}", entry_.peer, called_off_);
  }
  co_await remove_guest();
  co_await asio::co_spawn(context_->lane_executor, forget_lanes(context_, entry_.move_id),
                          asio::use_awaitable);
  remove_journal();
}

/// Ends the guest's process, and keeps what waits for it.
asio::awaitable<void> IncomingMove::end_guest() {
  auto vm = std::exchange(vm_, nullptr);
  if (!vm) co_return;
  for (const PortSpec& port : entry_.ports) {
    if (auto queue = vm->borrow_tap(port.device)) queues_.push_back(std::move(*queue));
  }
  while (true) {  // nothing goes on before it certainly has ended
    auto killed = co_await vm->kill();
    if (killed || killed.error().cancelled() || vm->exited()) co_return;
    log::error(about(entry_), "move: {}", killed.error().message);
    co_await overlay::pause(std::chrono::seconds(1));
  }
}

asio::awaitable<void> IncomingMove::remove_guest() {
  co_await end_guest();
  // What waits is the source's again; it must not come straight back.
  if (auto given = context_->traffic.give_up(entry_.application); !given) {
    log::debug(about(entry_), "move: {}", given.error().message);
  }
  const std::size_t forwarded = co_await forward_all(queues_);
  if (forwarded > 0) {
    log::info(about(entry_), "move: sent {} packets that waited here on to {}", forwarded,
              entry_.peer);
  }
  queues_.clear();
  context_->traffic.release(entry_.application);
  if (auto removed = context_->driver.remove(entry_.application); !removed) {
    log::error(about(entry_), "move: {}", removed.error().message);
  }
}

}  // namespace homeport::migration
