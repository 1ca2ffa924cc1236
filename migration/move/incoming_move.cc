#include "migration/move/incoming_move.h"

#include "migration/move/about.h"
#include "migration/move/peer_message.h"
#include "overlay/link/tap.h"
#include "overlay/link/tap_queue.h"
#include "overlay/log/log.h"
#include "overlay/pause.h"
#include "overlay/spawn.h"

#include <fmt/format.h>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace homeport::migration {

namespace asio = boost::asio;
namespace log = overlay::log;
namespace errc = boost::system::errc;

namespace {

/// How long a guest's program that has just been started may take to look at its tap.
constexpr auto kReaderPatience = std::chrono::seconds(5);

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

asio::awaitable<Result<void>> IncomingMove::prepare(const Prepare& request) {
  preparing_ = true;  // what calls it off meanwhile waits, see discard()
  auto outcome = co_await make_room(request);
  preparing_ = false;
  prepared_.cancel();
  // A failure takes the same way back as one at any later time.
  if (!outcome) co_await on(DestinationEvent::failed);
  if (outcome && machine_.state() != DestinationState::receiving) {
    outcome = policy::make_error(errc::operation_canceled,
                                 fmt::format("the move of {} was called off", entry_.application));
  }
  if (outcome) watch_guest();
  co_return outcome;
}

asio::awaitable<Result<void>> IncomingMove::make_room(const Prepare& request) {
  if (auto written = context_->journal.write(entry_); !written) co_return written.error();
  VmSpec spec{entry_.application,   entry_.generation, request.launch_profile(),
              request.memory_mib(), request.vcpus(),   {}};
  std::vector<overlay::UniqueFd> queues;  // the guest has copies once it is started
  Result<void> outcome{};
  for (const PortSpec& port : entry_.ports) {
    auto queue = context_->traffic.provide(entry_.application, port);
    if (!queue) {
      outcome = queue.error();
      break;
    }
    queues.push_back(std::move(*queue));
    spec.nics.push_back({queues.back().get(), port.device, port.mac.to_string(), port.mtu});
  }
  if (outcome) {
    auto vm = co_await context_->driver.launch(std::move(spec), LaunchMode::incoming);
    if (vm) {
      vm_ = std::make_shared<Vm>(std::move(*vm));
      outcome = co_await vm_->prepare_for_move();
    } else {
      outcome = vm.error();
    }
  }
  if (outcome) outcome = co_await prime_taps(queues);
  if (outcome) {
    auto target = co_await map_memory(request);
    if (target) {
      auto expect = [lanes = &context_->lanes,
                     target = std::move(*target)]() mutable -> asio::awaitable<void> {
        lanes->expect(std::move(target));
        co_return;
      };
      co_await asio::co_spawn(context_->lane_executor, std::move(expect), asio::use_awaitable);
    } else {
      outcome = target.error();
    }
  }
  co_return outcome;
}

/// Lets the paused guest's program read its one frame ahead now, see overlay::put_blank_frame().
asio::awaitable<Result<void>> IncomingMove::prime_taps(
    const std::vector<overlay::UniqueFd>& queues) {
  const auto deadline = std::chrono::steady_clock::now() + kReaderPatience;
  for (std::size_t i = 0; i < queues.size(); ++i) {
    const std::string& device = entry_.ports[i].device;
    if (auto primed = overlay::put_blank_frame(device); !primed) co_return primed;
    while (true) {
      auto empty = overlay::tap_queue_empty(queues[i].get());
      if (!empty) co_return empty.error();
      if (*empty) break;
      if (std::chrono::steady_clock::now() > deadline) {
        co_return policy::make_error(
            errc::timed_out,
            fmt::format("the guest of {} does not read its tap {}: does its launch profile connect "
                        "{{tap_fd}}?",
                        entry_.application, device));
      }
      co_await overlay::pause(std::chrono::milliseconds(2));
    }
  }
  co_return Result<void>{};
}

asio::awaitable<Result<LaneTarget>> IncomingMove::map_memory(const Prepare& request) {
  auto blocks = co_await vm_->ram_blocks();
  if (!blocks) co_return blocks.error();
  auto matching = matching_blocks(request, *blocks);
  if (!matching) co_return policy::with_context(context_->host, matching.error());
  LaneTarget target;
  target.move_id = entry_.move_id;
  target.source = entry_.peer;
  std::vector<PageStore::Target> targets;
  for (const RamBlock& mine : *matching) {
    auto file = vm_->open_ram(mine);
    if (!file) co_return file.error();
    auto memory = GuestMemory::map(file->get(), mine.offset, mine.size, Access::write);
    if (!memory) co_return memory.error();
    targets.push_back(memory->store_target());
    target.memory.push_back(std::move(*memory));
  }
  target.store = std::make_unique<PageStore>(std::move(targets));
  target.on_failure = [self = weak_from_this(),
                       executor = context_->executor](policy::Error error) {
    auto report = [self, error]() -> asio::awaitable<void> {
      if (auto move = self.lock()) {
        move->fail(fmt::format("a lane of {} failed: {}", move->entry_.peer, error.message));
        co_await move->on(DestinationEvent::failed);
      }
    };
    overlay::spawn(executor, report);
  };
  co_return target;
}

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
    if (auto again = context_->traffic.provide_again(entry_.application, port); !again) {
      log::info(about(entry_), "move: {}", again.error().message);
    }
  }
  if (machine_.state() == DestinationState::holding) take_addresses();
}

asio::awaitable<void> IncomingMove::take_up() {
  while (!vm_) {
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

asio::awaitable<Result<void>> IncomingMove::load(overlay::Channel& channel,
                                                 std::vector<std::byte> first) {
  if (!vm_ || machine_.state() != DestinationState::receiving) {
    co_return policy::make_error(
        errc::operation_not_permitted,
        fmt::format("{} is not receiving {}", context_->host, entry_.application));
  }
  auto all_memory = [self = shared_from_this()]() -> asio::awaitable<Result<void>> {
    co_return self->context_->lanes.check_complete(self->entry_.move_id);
  };
  auto complete = co_await asio::co_spawn(context_->lane_executor, all_memory, asio::use_awaitable);
  if (!complete) {
    co_await on(DestinationEvent::failed);
    co_return complete.error();
  }
  std::uint64_t received = 0;
  StateSource source = [&]() -> asio::awaitable<Result<std::vector<std::byte>>> {
    if (!first.empty()) {
      received += first.size();
      co_return std::exchange(first, {});
    }
    std::vector<std::byte> piece;
    auto message = co_await channel.receive<ToDestination>(&piece);
    if (!message) co_return message.error();
    received += piece.size();
    if (received > kDeviceStateLimit) {
      co_return policy::make_error(errc::file_too_large,
                                   fmt::format("the device state from {} is more than {} bytes",
                                               entry_.peer, kDeviceStateLimit));
    }
    if (message->has_device_state() && !piece.empty()) co_return piece;
    if (message->has_device_state_end() && message->device_state_end().size_bytes() == received) {
      co_return std::vector<std::byte>{};
    }
    co_return policy::make_error(
        errc::bad_message,
        fmt::format("{} broke off the device state after {} bytes", entry_.peer, received));
  };
  auto vm = vm_;  // it may have ended meanwhile, or the move may have been called off
  if (!vm || machine_.state() != DestinationState::receiving) {
    co_return policy::make_error(
        errc::operation_not_permitted,
        fmt::format("{} does not receive {} any more", context_->host, entry_.application));
  }
  auto loaded = co_await vm->load_device_state(source);
  if (!loaded) {
    co_await on(DestinationEvent::failed);
    co_return loaded.error();
  }
  // The machine writes Ready down before anybody hears of it.
  co_await on(DestinationEvent::loaded);
  if (machine_.state() != DestinationState::holding) {
    co_return policy::make_error(errc::io_error, fmt::format("{} could not write down that it "
                                                             "holds {}",
                                                             context_->host, entry_.application));
  }
  co_return Result<void>{};
}

asio::awaitable<void> IncomingMove::on(DestinationEvent event) {
  auto self = shared_from_this();
  switch (machine_.on(event)) {
    case DestinationAction::none:
      co_return;
    case DestinationAction::say_ready: {
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
    }
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

/// Of a guest that was told to go on, maybe without effect.
asio::awaitable<bool> IncomingMove::never_ran(Vm& vm) {
  auto status = co_await vm.status();
  co_return status && !status->running &&
      (status->state == "inmigrate" || status->state == "prelaunch" || status->state == "paused");
}

/// Says why the guest certainly has not run here; empty: it runs, or may have run.
asio::awaitable<std::string> IncomingMove::run_guest() {
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

asio::awaitable<void> IncomingMove::activate() {
  if (std::string problem = co_await run_guest(); !problem.empty()) {
    co_await hand_back(std::move(problem));
    co_return;
  }
  if (!vm_) {  // it ran here, and ended before the agent was back
    co_await discard();
    co_return;
  }
  context_->arrived(entry_.application, vm_);
  remove_journal();
  log::info(about(entry_), "move: {} runs here, by generation {}", entry_.application,
            entry_.generation + 1);
  if (auto announced = co_await vm_->announce_self(); !announced) {
    log::info(about(entry_), "move: no announcement: {}", announced.error().message);
  }
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
  std::size_t forwarded = 0;
  for (const overlay::UniqueFd& queue : queues_) forwarded += overlay::forward_waiting(queue.get());
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
