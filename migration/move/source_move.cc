#include "migration/move/source_move.h"

#include "migration/move/about.h"
#include "migration/move/peer_message.h"
#include "migration/move/prepare_message.h"
#include "migration/move/tap_queue.h"
#include "overlay/link/tap.h"
#include "overlay/log/log.h"
#include "policy/text.h"

#include <fmt/format.h>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace homeport::migration {

namespace asio = boost::asio;
namespace log = overlay::log;
namespace errc = boost::system::errc;
using namespace asio::experimental::awaitable_operators;
using namespace std::chrono_literals;
using std::chrono::steady_clock;

namespace {

/// How long the guest gets to empty its own receive queue. What is left then is sent on after it.
constexpr auto kDrainPatience = 500ms;
/// How long the destination may take for anything it is asked, the longest of which is to start a
/// guest.
constexpr auto kAnswerPatience = 20s;
/// How long a destination that owns the guest may be silent before a person is asked.
constexpr auto kHandOverPatience = 20s;
/// How long an unreachable database may keep a copied guest waiting before the move goes back.
constexpr auto kSessionPatience = 30s;

}  // namespace

SourceMove::SourceMove(std::shared_ptr<const SourceContext> context, MoveRequest request,
                       std::shared_ptr<Vm> vm)
    : context_(std::move(context)),
      request_(std::move(request)),
      vm_(std::move(vm)),
      started_(steady_clock::now()) {}

std::shared_ptr<SourceMove> SourceMove::recovered(std::shared_ptr<const SourceContext> context,
                                                  MoveRequest request, std::shared_ptr<Vm> vm) {
  auto move = std::make_shared<SourceMove>(std::move(context), std::move(request), std::move(vm));
  const bool commit_sent = move->request_.entry.phase == JournalPhase::decided;
  move->machine_ = SourceMachine::recovered(commit_sent);
  move->error_ = fmt::format("the agent of {} was ended during the move", move->context_->host);
  if (commit_sent) {
    // Until the outcome is known the application's traffic waits at the destination, as it did.
    if (auto redirected =
            move->context_->traffic.redirect(move->entry().application, move->entry().peer);
        !redirected) {
      log::warn(about(move->entry()), "move: {}", redirected.error().message);
    }
  }
  return move;
}

SourceMove::~SourceMove() = default;

bool SourceMove::cancel() {
  if (!machine_.cancellable()) return false;
  if (!cancelled_) log::info(about(entry()), "move: to be cancelled");
  cancelled_ = true;
  if (copier_) copier_->cancel();
  return true;
}

void SourceMove::give_up(std::string why) {
  if (cancelled_ || !cancel()) return;
  given_up_ = true;
  fail(std::move(why));
}

MoveProgress SourceMove::progress() const {
  MoveProgress progress;
  progress.phase = to_string(machine_.state());
  progress.memory = copier_ ? copier_->progress() : copied_;
  progress.elapsed =
      std::chrono::duration_cast<std::chrono::milliseconds>(steady_clock::now() - started_);
  progress.stopped = stopped_;
  progress.doubt = doubt_;
  return progress;
}

SourceEvent SourceMove::fail(std::string message) {
  if (error_.empty()) error_ = std::move(message);
  return Event::failed;
}

SourceEvent SourceMove::fail(const policy::Error& error) {
  return fail(error.message);
}

asio::awaitable<MoveReport> SourceMove::run() {
  auto self = shared_from_this();
  std::map<std::string_view, std::chrono::milliseconds> phases;
  while (machine_.action() != SourceAction::finish) {
    log::info(about(entry()), "move: {} to {}: {}", entry().application, entry().peer,
              to_string(machine_.state()));
    const std::string_view phase = to_string(machine_.state());
    const auto began = steady_clock::now();
    Event event = co_await carry_out(machine_.action());
    phases[phase] +=
        std::chrono::duration_cast<std::chrono::milliseconds>(steady_clock::now() - began);
    if (event == Event::done && cancelled_ && machine_.cancellable()) {
      event = fail("cancelled on request");
    }
    machine_.on(event);
  }
  MoveReport report;
  report.outcome = machine_.outcome();
  report.cancelled = cancelled_ && !given_up_ && report.outcome == SourceOutcome::rolled_back;
  if (report.outcome != SourceOutcome::succeeded) report.error = error_;
  report.progress = progress();
  report.phases = std::move(phases);
  report.device_state_bytes = device_state_bytes_;
  // In doubt the journal stays: the next start of the agent takes the move up again.
  if (report.outcome != SourceOutcome::in_doubt) context_->journal.remove(entry());
  co_return report;
}

asio::awaitable<SourceEvent> SourceMove::carry_out(SourceAction action) {
  switch (action) {
    case SourceAction::prepare_destination:
      co_return co_await prepare_destination();
    case SourceAction::copy_rounds:
      co_return co_await copy_rounds();
    case SourceAction::check_session:
      co_return co_await check_session();
    case SourceAction::redirect:
      co_return co_await redirect();
    case SourceAction::drain_receive_queue:
      co_return co_await drain_receive_queue();
    case SourceAction::stop_guest:
      co_return co_await stop_guest();
    case SourceAction::copy_rest:
      co_return co_await copy_rest();
    case SourceAction::send_device_state:
      co_return co_await send_device_state();
    case SourceAction::commit:
      co_return co_await commit();
    case SourceAction::resolve_commit:
      co_return co_await resolve_commit();
    case SourceAction::hand_over:
      co_return co_await hand_over();
    case SourceAction::settle:
      co_return co_await settle();
    case SourceAction::reinstate:
      co_return co_await reinstate();
    case SourceAction::abort_destination:
      co_return co_await abort_destination();
    case SourceAction::advance_generation:
      co_return co_await advance_generation();
    case SourceAction::finish:
      break;
  }
  co_return Event::done;
}

asio::awaitable<void> SourceMove::pause(std::chrono::milliseconds time) {
  asio::steady_timer timer(context_->executor, time);
  boost::system::error_code ignored;
  co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
}

asio::awaitable<void> SourceMove::hold(std::string_view point) {
  if (context_->hold) co_await context_->hold(point);
}

template <class T>
asio::awaitable<T> SourceMove::on_bulk(asio::awaitable<T> work) {
  return asio::co_spawn(context_->bulk_executor, std::move(work), asio::use_awaitable);
}

// --- The channel to the destination.

asio::awaitable<Result<void>> SourceMove::connect() {
  channel_.reset();
  policy::Error last = policy::make_error(
      errc::host_unreachable,
      fmt::format("the control database has no control endpoint of {}", entry().peer));
  for (const auto& endpoint : context_->endpoints_of(entry().peer)) {
    overlay::ConnectOptions options;
    options.endpoint = endpoint;
    options.expected_host = entry().peer;
    options.session = entry().move_id;
    options.timeouts = context_->timeouts;
    auto channel = co_await overlay::connect(context_->tls, options, context_->peer_check);
    if (channel) {
      channel_ = std::make_shared<overlay::Channel>(std::move(*channel));
      co_return Result<void>{};
    }
    last = channel.error();
  }
  co_return last;
}

/// Sends one message and receives its answer.
asio::awaitable<Result<ToSource>> SourceMove::ask(ToDestination message) {
  if (!channel_) {
    if (auto connected = co_await connect(); !connected) co_return connected.error();
  }
  auto channel = channel_;
  // A destination that hangs keeps its connection alive, so time itself must end the wait.
  asio::steady_timer timer(context_->executor, kAnswerPatience);
  timer.async_wait([channel](boost::system::error_code error) {
    if (!error) channel->close();
  });
  if (auto sent = co_await channel->send(message); !sent) {
    channel_.reset();
    co_return sent.error();
  }
  auto answer = co_await channel->receive<ToSource>();
  if (!answer) channel_.reset();
  co_return answer;
}

/// Lets go of the guest's memory; the figures stay.
void SourceMove::end_copier() {
  if (copier_) copied_ = copier_->progress();
  copier_.reset();
}

/// Waits for a person, or for the other host to come back.
asio::awaitable<void> SourceMove::stay_in_doubt(std::string why) {
  if (doubt_ != why) log::error(about(entry()), "move: {}", why);
  doubt_ = std::move(why);
  co_await pause(1s);
}

// --- While the guest runs here.

asio::awaitable<SourceEvent> SourceMove::prepare_destination() {
  if (auto written = context_->journal.write(entry()); !written) co_return fail(written.error());
  co_await hold("requested");
  if (auto movable = co_await vm_->check_movable(); !movable) co_return fail(movable.error());
  if (auto ready = co_await vm_->prepare_for_move(); !ready) co_return fail(ready.error());
  auto blocks = co_await vm_->ram_blocks();
  if (!blocks) co_return fail(blocks.error());
  auto pinned = co_await vm_->has_pinned_io();
  if (!pinned) co_return fail(pinned.error());

  CopierSetup setup;
  for (const RamBlock& block : *blocks) {
    auto file = vm_->open_ram(block);
    if (!file) co_return fail(file.error());
    setup.files.push_back(std::move(*file));
  }
  ToDestination message = prepare_message(request_, *blocks);
  auto answer = co_await ask(std::move(message));
  if (!answer) co_return fail(answer.error());
  if (!answer->has_prepared()) {
    co_return fail(answer->has_refused()
                       ? fmt::format("{} refused: {}", entry().peer,
                                     policy::printable(answer->refused().reason()))
                       : fmt::format("{} did not say what it was asked", entry().peer));
  }

  setup.about = about(entry());
  setup.pid = vm_->pid();
  setup.blocks = std::move(*blocks);
  setup.pinned_io = *pinned;
  setup.limits = request_.limits;
  setup.executor = context_->bulk_executor;
  auto lanes = lane_endpoints_of(answer->prepared());
  if (!lanes) co_return fail(policy::with_context(entry().peer, lanes.error()));
  setup.lane_endpoints = std::move(*lanes);
  setup.lane.expected_host = entry().peer;
  setup.lane.purpose = overlay::Purpose::lane;
  setup.lane.session = entry().move_id;
  setup.lane.timeouts = context_->timeouts;
  setup.tls = context_->tls;
  setup.peer_check = context_->peer_check;
  // Stop and go: no I/O that was under way before is still to land in guest memory.
  setup.barrier = [vm = vm_, context = context_]() -> asio::awaitable<Result<void>> {
    auto stop_and_go = [vm, context]() -> asio::awaitable<Result<void>> {
      auto stopped = co_await vm->stop();
      if (context->hold) co_await context->hold("barrier");
      auto resumed = co_await vm->cont();
      if (!stopped) co_return stopped.error();
      co_return resumed;
    };
    co_return co_await asio::co_spawn(context->executor, stop_and_go, asio::use_awaitable);
  };
  copier_ = std::make_shared<MemoryCopier>(std::move(setup));
  co_await hold("prepared");
  co_return Event::done;
}

asio::awaitable<SourceEvent> SourceMove::copy_rounds() {
  if (cancelled_) copier_->cancel();
  co_await hold("copying");
  auto copied = co_await on_bulk(copier_->copy_until_converged());
  co_return copied ? Event::done : fail(copied.error());
}

asio::awaitable<SourceEvent> SourceMove::check_session() {
  const auto deadline = steady_clock::now() + kSessionPatience;
  bool waited = false;
  while (!co_await context_->ownership.answers(1s)) {
    if (cancelled_) co_return fail("cancelled on request");
    if (steady_clock::now() > deadline) {
      co_return fail(
          "the control database does not answer, and without it the move cannot be "
          "committed: move again when `homeport status` shows it synchronized");
    }
    waited = true;
    co_await pause(100ms);
  }
  if (waited) co_return co_await copy_rounds();  // the guest has written since
  co_return Event::done;
}

asio::awaitable<SourceEvent> SourceMove::redirect() {
  auto redirected = context_->traffic.redirect(entry().application, entry().peer);
  if (!redirected) co_return fail(redirected.error());
  co_await hold("redirected");
  co_return Event::done;
}

asio::awaitable<SourceEvent> SourceMove::drain_receive_queue() {
  if (auto arrived = overlay::wait_for_frames_in_flight(); !arrived)
    co_return fail(arrived.error());
  const auto deadline = steady_clock::now() + kDrainPatience;
  for (const PortSpec& port : entry().ports) {
    auto queue = vm_->borrow_tap(port.device);
    if (!queue) co_return fail(queue.error());
    // When this is read, everything before it is in the guest's memory.
    if (auto put = overlay::put_blank_frame(port.device); !put) co_return fail(put.error());
    while (steady_clock::now() < deadline) {
      auto empty = overlay::tap_queue_empty(queue->get());
      if (!empty) co_return fail(empty.error());
      if (*empty) break;
      co_await pause(1ms);
    }
  }
  co_return Event::done;
}

asio::awaitable<SourceEvent> SourceMove::stop_guest() {
  stopped_at_ = steady_clock::now();
  auto stopped = co_await vm_->stop();
  co_await hold("stopped");
  co_return stopped ? Event::done : fail(stopped.error());
}

// --- While the guest is stopped.

asio::awaitable<SourceEvent> SourceMove::copy_rest() {
  auto copied = co_await on_bulk(copier_->copy_rest());
  co_return copied ? Event::done : fail(copied.error());
}

asio::awaitable<SourceEvent> SourceMove::send_device_state() {
  if (!channel_) co_return fail(fmt::format("the channel to {} is lost", entry().peer));
  auto channel = channel_;
  StateSink sink = [channel](std::span<const std::byte> piece) -> asio::awaitable<Result<void>> {
    ToDestination message;
    message.mutable_device_state();
    while (!piece.empty()) {
      auto part = piece.first(std::min(piece.size(), std::size_t{overlay::kMaxFramePayload}));
      if (auto sent = co_await channel->send(message, part); !sent) co_return sent.error();
      piece = piece.subspan(part.size());
    }
    co_return Result<void>{};
  };
  auto saved = co_await vm_->save_device_state(sink);
  if (!saved) co_return fail(saved.error());
  device_state_bytes_ = saved->bytes;
  co_await hold("device-state");
  ToDestination end;
  end.mutable_device_state_end()->set_size_bytes(saved->bytes);
  auto answer = co_await ask(std::move(end));
  if (!answer) co_return fail(answer.error());
  if (answer->has_ready()) co_return Event::done;
  co_return fail(fmt::format(
      "{} could not load the guest: {}", entry().peer,
      answer->has_failed() ? policy::printable(answer->failed().reason()) : "no reason given"));
}

asio::awaitable<SourceEvent> SourceMove::commit() {
  request_.entry.phase = JournalPhase::decided;
  if (auto written = context_->journal.write(entry()); !written) {
    request_.entry.phase = JournalPhase::under_way;
    co_return fail(written.error());
  }
  co_await hold("commit");
  // Both at once, so that a test can hold here with the transaction on its way.
  auto pass = context_->ownership.pass(entry().application, context_->host, entry().peer,
                                       entry().generation);
  auto held = hold("commit-sent");
  const CommitOutcome outcome = co_await (std::move(pass) && std::move(held));
  co_await hold("committed");
  switch (outcome) {
    case CommitOutcome::committed:
      co_return Event::done;
    case CommitOutcome::unknown:
      co_return Event::unknown;
    case CommitOutcome::not_committed:
      break;
  }
  co_return fail("the control database refused the commit");
}

asio::awaitable<SourceEvent> SourceMove::resolve_commit() {
  const Generation before = entry().generation;
  while (true) {
    log::warn(about(entry()),
              "move: whether {} was committed to {} is not known; it is held until the control "
              "database says",
              entry().application, entry().peer);
    auto owner = co_await context_->ownership.owner(entry().application);
    if (!owner) {
      if (owner.error().cancelled()) co_return fail(owner.error());
      std::string why = fmt::format("{}; until then the guest is held at {}", owner.error().message,
                                    context_->host);
      co_await stay_in_doubt(std::move(why));
      continue;
    }
    if (owner->host == entry().peer && owner->generation > before) co_return Event::moved;
    if (owner->host == context_->host && owner->generation > before) {
      fail("the commit did not happen");
      co_return Event::not_moved;
    }
    if (owner->host != context_->host || owner->generation != before) {
      std::string why = fmt::format(
          "the control database says that {} is at \"{}\" by generation {}, which is neither host "
          "of this move: the guest is held at {} until the bindings name one of them",
          entry().application, owner->host, owner->generation, context_->host);
      co_await stay_in_doubt(std::move(why));
      continue;
    }
    auto outcome = co_await context_->ownership.pass(entry().application, context_->host,
                                                     context_->host, before);
    if (outcome == CommitOutcome::committed) {
      fail("the commit did not happen");
      co_return Event::not_moved;
    }
    co_await pause(50ms);
  }
}

// --- After the commit.

asio::awaitable<SourceEvent> SourceMove::hand_over() {
  auto wait = 50ms;
  const auto began = steady_clock::now();
  while (true) {
    if (left_to_destination_) co_return Event::done;
    ToDestination message;
    message.mutable_resume()->set_move_id(entry().move_id);
    message.mutable_resume()->set_generation(entry().generation + 1);
    message.mutable_resume()->set_application(entry().application);
    auto answer = co_await ask(std::move(message));
    if (answer && answer->has_running()) {
      if (stopped_at_) {
        stopped_ = std::chrono::duration_cast<std::chrono::microseconds>(steady_clock::now() -
                                                                         *stopped_at_);
      }
      co_return Event::done;
    }
    const bool handed_back = answer && answer->has_handed_back();
    if (handed_back) {
      fail(fmt::format("{} could not run it: {}", entry().peer,
                       policy::printable(answer->handed_back().reason())));
    }
    // The database has the last word, also when the destination or a person gives it back: a guest
    // that runs before this host has read that would be taken for one that is elsewhere.
    auto owner = context_->ownership.last_seen(entry().application);
    if (owner && owner->host == context_->host && owner->generation > entry().generation + 1) {
      fail("the application was given back to this host");
      co_return Event::not_moved;
    }
    // Only who has it can have passed it on.
    if (owner && owner->host != context_->host && owner->generation > entry().generation + 1) {
      co_return Event::done;
    }
    if (handed_back) {
      if (steady_clock::now() - began > kHandOverPatience) {
        doubt_ = fmt::format(
            "{} says that it has given the application back, and the control database does not: "
            "see `homeport task resolve`",
            entry().peer);
      }
      co_await pause(20ms);
      continue;
    }
    if (answer) {
      // Made before the co_await: GCC 12 destroys temporaries of a condition inside it twice.
      std::string why = fmt::format(
          "committed to {}, which says: {}. The guest is held at {}: see `homeport task resolve`",
          entry().peer,
          answer->has_failed() ? policy::printable(answer->failed().reason()) : "nothing known",
          context_->host);
      co_await stay_in_doubt(std::move(why));
      continue;
    }
    log::warn(about(entry()), "move: committed, and {} does not answer: {}", entry().peer,
              answer.error().message);
    if (steady_clock::now() - began > kHandOverPatience) {
      doubt_ = fmt::format(
          "committed to {}, which does not answer. The guest is held at {}: bring {} back, or see "
          "`homeport task resolve`",
          entry().peer, context_->host, entry().peer);
    }
    co_await pause(wait);
    wait = std::min(2 * wait, 2000ms);
  }
}

asio::awaitable<SourceEvent> SourceMove::settle() {
  co_await hold("resumed");
  std::vector<overlay::UniqueFd> queues;
  if (vm_) {
    for (const PortSpec& port : entry().ports) {
      if (auto queue = vm_->borrow_tap(port.device)) queues.push_back(std::move(*queue));
    }
    if (auto killed = co_await vm_->kill(); !killed) {
      log::error(about(entry()), "move: {}", killed.error().message);
    }
    vm_.reset();
  }
  std::size_t forwarded = 0;
  for (const overlay::UniqueFd& queue : queues) forwarded += forward_waiting(queue.get());
  if (forwarded > 0) {
    log::info(about(entry()), "move: sent {} packets that the guest had not taken on to {}",
              forwarded, entry().peer);
  }
  queues.clear();
  end_copier();
  context_->departed(entry().application);
  context_->traffic.release(entry().application);
  co_await hold("settled");
  co_return Event::done;
}

// --- The way back.

asio::awaitable<SourceEvent> SourceMove::reinstate() {
  if (auto back = context_->traffic.reinstate(entry().application); !back) {
    log::error(about(entry()), "move: {}", back.error().message);
  }
  for (int attempt = 0; vm_ && !vm_->exited(); ++attempt) {
    auto resumed = co_await vm_->cont();
    if (resumed) {
      doubt_.clear();
      co_return Event::done;
    }
    if (attempt < 20) {
      co_await pause(100ms);
      continue;
    }
    std::string why = fmt::format(
        "{} is at {} again and its guest does not resume ({}): it is tried again until it does, or "
        "until process {} is ended",
        entry().application, context_->host, resumed.error().message, vm_->pid());
    co_await stay_in_doubt(std::move(why));
  }
  fail(fmt::format("the guest of {} has ended at {}", entry().application, context_->host));
  co_return Event::done;  // there is nothing to resume, and nothing that could run twice
}

asio::awaitable<SourceEvent> SourceMove::abort_destination() {
  if (copier_) copier_->cancel();
  end_copier();
  ToDestination message;
  message.mutable_call_off()->set_move_id(entry().move_id);
  message.mutable_call_off()->set_reason(error_);
  auto answer = co_await ask(std::move(message));
  if (!answer) co_return Event::failed;
  if (answer->has_called_off()) {
    if (const std::string& problem = answer->called_off().problem(); !problem.empty()) {
      error_ = fmt::format("{} ({})", error_, policy::printable(problem));
    }
    co_return Event::done;
  }
  co_return Event::failed;
}

asio::awaitable<SourceEvent> SourceMove::advance_generation() {
  while (true) {
    auto owner = co_await context_->ownership.owner(entry().application);
    if (!owner || owner->host != context_->host || owner->generation != entry().generation) {
      co_return Event::done;
    }
    auto outcome = co_await context_->ownership.pass(entry().application, context_->host,
                                                     context_->host, entry().generation);
    if (outcome == CommitOutcome::committed) co_return Event::done;
    co_await pause(100ms);
  }
}

}  // namespace homeport::migration
