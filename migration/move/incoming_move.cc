#include "migration/move/incoming_move.h"

#include "migration/move/about.h"
#include "overlay/log/log.h"
#include "overlay/pause.h"
#include "overlay/spawn.h"

#include <fmt/format.h>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace homeport::migration {

namespace asio = boost::asio;
namespace log = overlay::log;

namespace {

DestinationState state_of(const JournalEntry& entry) {
  return entry.phase == JournalPhase::under_way ? DestinationState::receiving
                                                : DestinationState::holding;
}

}  // namespace

IncomingMove::IncomingMove(std::shared_ptr<const DestinationContext> context, JournalEntry entry,
                           bool known)
    : context_(std::move(context)),
      entry_(std::move(entry)),
      machine_(state_of(entry_)),
      known_(known),
      prepared_(context_->executor, asio::steady_timer::time_point::max()),
      finished_(context_->executor, asio::steady_timer::time_point::max()) {}

/// A guest that ends before it is complete ends the move.
void IncomingMove::watch_guest() {
  auto watch = [self = shared_from_this(), vm = vm_]() -> asio::awaitable<void> {
    auto ended = co_await vm->wait_exit();
    if (!ended || vm != self->vm_ || self->machine_.state() > DestinationState::holding) co_return;
    self->fail(fmt::format("the incoming guest of {} has ended", self->entry_.application));
    self->vm_.reset();
    co_await self->on(DestinationEvent::failed);
  };
  overlay::spawn(context_->executor, watch);
}

void IncomingMove::fail(std::string problem) {
  log::warn(about(entry_), "move: {}", problem);
  if (problem_.empty()) problem_ = fmt::format("{}: {}", context_->host, problem);
}

void IncomingMove::give_up(std::string why) {
  if (!known_ || machine_.state() != DestinationState::receiving) return;
  fail(std::move(why));
  auto leave = [self = shared_from_this()]() -> asio::awaitable<void> {
    co_await self->on(DestinationEvent::failed);
  };
  overlay::spawn(context_->executor, leave);
}

void IncomingMove::hold_ports() {
  for (const PortSpec& port : entry_.ports) {
    if (auto again = context_->traffic.hold(entry_.application, port); !again) {
      log::info(about(entry_), "move: {}", again.error().message);
    }
  }
  if (machine_.state() == DestinationState::holding) take_addresses();
}

asio::awaitable<void> IncomingMove::take_up() {
  while (entry_.cargo == Cargo::vm && !vm_) {
    auto vm = co_await context_->driver.adopt(entry_.application);
    if (vm) {
      vm_ = std::make_shared<Vm>(std::move(*vm));
      watch_guest();
      break;
    }
    fail(fmt::format("cannot take over the incoming guest of {}: {}", entry_.application,
                     vm.error().message));
    // Only a guest that is certainly gone may be given up: one that hangs could still run.
    if (context_->driver.remove(entry_.application)) break;
    co_await overlay::pause(std::chrono::seconds(1));
  }
  known_ = true;
  if (machine_.state() == DestinationState::holding) {
    log::info(about(entry_), "move: holding {} until the control database says whose it is",
              entry_.application);
  } else {
    co_await on(DestinationEvent::channel_lost);  // the source heard no Ready, and never will
  }
}

asio::awaitable<void> IncomingMove::on(DestinationEvent event) {
  auto self = shared_from_this();
  switch (machine_.on(event)) {
    case DestinationAction::none:
      co_return;
    case DestinationAction::say_ready:
      entry_.phase = JournalPhase::decided;
      overlay::spawn(context_->lane_executor, forget_lanes(context_, entry_.move_id));
      if (auto written = context_->journal.write(entry_); !written) {
        log::error(about(entry_), "move: {}", written.error().message);
        machine_ = DestinationMachine(DestinationState::receiving);
        co_await on(DestinationEvent::failed);
        co_return;
      }
      take_addresses();
      co_return;
    case DestinationAction::activate:
      co_await activate();
      break;
    case DestinationAction::discard:
      co_await discard();
      break;
  }
  machine_.on(DestinationEvent::carried_out);
  finished_.cancel();
}

void IncomingMove::take_addresses() {
  if (auto taken = context_->traffic.take(entry_.application); !taken) {
    // The datapath is repaired by the next reconcile; the guest need not wait for it.
    log::error(about(entry_), "move: {}", taken.error().message);
  }
}

asio::awaitable<void> IncomingMove::forget_lanes(std::shared_ptr<const DestinationContext> context,
                                                 std::string move_id) {
  context->lanes.forget(move_id);
  co_return;
}

void IncomingMove::remove_journal() {
  if (auto removed = context_->journal.remove(entry_); !removed) {
    log::error(about(entry_), "move: {}", removed.error().message);
  }
}

asio::awaitable<void> IncomingMove::wait_finished() {
  while (!finished()) {
    boost::system::error_code ignored;
    co_await finished_.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
  }
}

asio::awaitable<ToSource> IncomingMove::resume() {
  auto self = shared_from_this();
  co_await on(DestinationEvent::told_to_resume);
  ToSource answer;
  if (machine_.state() < DestinationState::activating) {
    answer.mutable_failed()->set_reason(
        fmt::format("{} is not holding {}", context_->host, entry_.application));
    co_return answer;
  }
  co_await wait_finished();
  if (!handed_back_.empty()) {
    answer.mutable_handed_back()->set_reason(handed_back_);
  } else if (machine_.activated()) {
    answer.mutable_running();
  } else {
    answer.mutable_failed()->set_reason(
        fmt::format("{} has thrown away what it had of {}", context_->host, entry_.application));
  }
  co_return answer;
}

asio::awaitable<ToSource> IncomingMove::call_off(std::string reason) {
  auto self = shared_from_this();
  called_off_ = std::move(reason);
  co_await on(DestinationEvent::called_off);
  co_await wait_finished();
  ToSource answer;
  if (machine_.activated() && handed_back_.empty()) {
    answer.mutable_failed()->set_reason(
        fmt::format("{} runs {} already", context_->host, entry_.application));
  } else {
    answer.mutable_called_off()->set_problem(problem_);
  }
  co_return answer;
}

}  // namespace homeport::migration
