#include "migration/move/source_move.h"

#include "migration/move/about.h"
#include "overlay/channel/connect_any.h"
#include "overlay/log/log.h"
#include "overlay/pause.h"

#include <fmt/format.h>
#include <boost/asio/steady_timer.hpp>

namespace homeport::migration {

namespace asio = boost::asio;
namespace log = overlay::log;
namespace errc = boost::system::errc;
using namespace std::chrono_literals;
using std::chrono::steady_clock;

namespace {

/// How long the destination may take for anything it is asked, the longest of which is to start a
/// guest.
constexpr auto kAnswerPatience = 20s;

}  // namespace

SourceMove::SourceMove(std::shared_ptr<const SourceContext> context, MoveRequest request,
                       std::shared_ptr<Vm> vm)
    : context_(std::move(context)),
      request_(std::move(request)),
      vm_(std::move(vm)),
      machine_(request_.entry.cargo),
      started_(steady_clock::now()) {}

std::shared_ptr<SourceMove> SourceMove::recovered(std::shared_ptr<const SourceContext> context,
                                                  MoveRequest request, std::shared_ptr<Vm> vm) {
  auto move = std::make_shared<SourceMove>(std::move(context), std::move(request), std::move(vm));
  const bool commit_sent = move->request_.entry.phase == JournalPhase::decided;
  move->machine_ = SourceMachine::recovered(commit_sent, move->entry().cargo);
  move->error_ = fmt::format("the agent of {} was ended during the move", move->context_->host);
  move->told_ = true;
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
  progress.lanes = lanes_;
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
    doubt_.clear();  // it was of that state
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
  if (report.outcome != SourceOutcome::in_doubt) {
    if (auto removed = context_->journal.remove(entry()); !removed) {
      log::error(about(entry()), "move: {}", removed.error().message);
    }
  }
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

asio::awaitable<void> SourceMove::hold(std::string_view point) {
  if (context_->hold) co_await context_->hold(point);
}

// --- The channel to the destination.

asio::awaitable<Result<void>> SourceMove::connect() {
  channel_.reset();
  overlay::ConnectOptions options;
  options.expected_host = entry().peer;
  options.session = entry().move_id;
  options.timeouts = context_->timeouts;
  auto endpoints = context_->endpoints_of(entry().peer);
  auto channel = co_await overlay::connect_any(context_->tls, std::move(endpoints), options,
                                               context_->peer_check);
  if (!channel) co_return channel.error();
  channel_ = std::make_shared<overlay::Channel>(std::move(*channel));
  co_return Result<void>{};
}

/// Sends one message and receives its answer.
asio::awaitable<Result<ToSource>> SourceMove::ask(ToDestination message) {
  if (!channel_) {
    if (auto connected = co_await connect(); !connected) co_return connected.error();
  }
  told_ = true;
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

void SourceMove::sign_handovers() {
  handovers_ = context_->vouch(entry().application, entry().peer, entry().generation + 1);
}

/// Lets go of the guest's memory; the figures stay.
void SourceMove::end_copier() {
  if (copier_) copied_ = copier_->progress();
  copier_.reset();
  paths_.reset();
}

/// Waits for a person, or for the other host to come back.
asio::awaitable<void> SourceMove::stay_in_doubt(std::string why) {
  if (doubt_ != why) log::error(about(entry()), "move: {}", why);
  doubt_ = std::move(why);
  co_await overlay::pause(1s);
}

}  // namespace homeport::migration
