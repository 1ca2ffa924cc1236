// Who has the guest: the commit and what follows from it, forth or back, on the source's side.
#include "migration/move/about.h"
#include "migration/move/forward.h"
#include "migration/move/source_move.h"
#include "overlay/log/log.h"
#include "overlay/pause.h"
#include "policy/text.h"

#include <fmt/format.h>
#include <boost/asio/experimental/awaitable_operators.hpp>

namespace homeport::migration {

namespace asio = boost::asio;
namespace log = overlay::log;
using namespace asio::experimental::awaitable_operators;
using namespace std::chrono_literals;
using std::chrono::steady_clock;

namespace {

/// How long a destination that owns the guest may be silent before a person is asked.
constexpr auto kHandOverPatience = 20s;
/// How long a guest may refuse to go on before a person is asked.
constexpr auto kResumePatience = 2s;

}  // namespace

/// While it is not known whose the application is.
std::string SourceMove::held_how() const {
  if (entry().cargo == Cargo::ports) return fmt::format("its traffic goes to {}", entry().peer);
  return fmt::format("the guest is held at {}", context_->host);
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
      std::string why = fmt::format("{}; until then {}", owner.error().message, held_how());
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
          "of this move: {} until the bindings name one of them",
          entry().application, owner->host, owner->generation, held_how());
      co_await stay_in_doubt(std::move(why));
      continue;
    }
    auto outcome = co_await context_->ownership.pass(entry().application, context_->host,
                                                     context_->host, before);
    if (outcome == CommitOutcome::committed) {
      fail("the commit did not happen");
      co_return Event::not_moved;
    }
    co_await overlay::pause(50ms);
  }
}

// --- After the commit.

asio::awaitable<SourceEvent> SourceMove::hand_over() {
  auto wait = 50ms;
  const auto began = steady_clock::now();
  if (handovers_.empty()) sign_handovers();
  while (true) {
    if (left_to_destination_) co_return Event::done;
    ToDestination message;
    Resume& resume = *message.mutable_resume();
    resume.set_move_id(entry().move_id);
    resume.set_generation(entry().generation + 1);
    resume.set_application(entry().application);
    resume.mutable_handovers()->Add(handovers_.begin(), handovers_.end());
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
      co_await overlay::pause(20ms);
      continue;
    }
    if (answer) {
      // Made before the co_await: GCC 12 destroys temporaries of a condition inside it twice.
      std::string why = fmt::format(
          "committed to {}, which says: {}; {}: see `homeport task resolve`", entry().peer,
          answer->has_failed() ? policy::printable(answer->failed().reason()) : "nothing known",
          held_how());
      co_await stay_in_doubt(std::move(why));
      continue;
    }
    log::warn(about(entry()), "move: committed, and {} does not answer: {}", entry().peer,
              answer.error().message);
    if (steady_clock::now() - began > kHandOverPatience) {
      doubt_ = fmt::format(
          "committed to {}, which does not answer; {}: bring {} back, or see "
          "`homeport task resolve`",
          entry().peer, held_how(), entry().peer);
    }
    co_await overlay::pause(wait);
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
  const std::size_t forwarded = co_await forward_all(queues);
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
  if (entry().cargo == Cargo::ports) co_return Event::done;
  const auto deadline = steady_clock::now() + kResumePatience;
  while (vm_ && !vm_->exited()) {
    if (!vm_->qmp().connected()) vm_ = co_await context_->reconnect(entry().application);
    if (!vm_) break;
    auto resumed = co_await vm_->cont();
    if (resumed) co_return Event::done;
    if (steady_clock::now() < deadline) {
      co_await overlay::pause(100ms);
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
  // One that was not reached is not waited for a second time.
  if (!told_) co_return Event::done;
  // On a channel of its own: at the other end of the old one the device state may be half loaded.
  if (channel_) channel_->close();
  channel_.reset();
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
  const auto deadline = steady_clock::now() + kBindingsPatience;
  while (true) {
    auto owner = co_await context_->ownership.owner(entry().application);
    if (!owner && owner.error().cancelled()) co_return Event::done;
    if (!owner && steady_clock::now() < deadline) {  // the bindings disagree, or are half read
      co_await overlay::pause(100ms);
      continue;
    }
    if (!owner) co_return Event::done;  // they are gone
    if (owner->host != context_->host || owner->generation != entry().generation) {
      co_return Event::done;
    }
    auto outcome = co_await context_->ownership.pass(entry().application, context_->host,
                                                     context_->host, entry().generation);
    if (outcome == CommitOutcome::committed) co_return Event::done;
    co_await overlay::pause(100ms);
  }
}

}  // namespace homeport::migration
