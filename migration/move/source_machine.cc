#include "migration/move/source_machine.h"

namespace homeport::migration {

std::string_view to_string(SourceState state) {
  switch (state) {
    case SourceState::preparing:
      return "preparing";
    case SourceState::copying:
      return "copying";
    case SourceState::checking_session:
      return "checking-session";
    case SourceState::redirecting:
      return "redirecting";
    case SourceState::draining:
      return "draining";
    case SourceState::stopping:
      return "stopping";
    case SourceState::copying_rest:
      return "copying-rest";
    case SourceState::sending_device_state:
      return "device-state";
    case SourceState::committing:
      return "committing";
    case SourceState::resolving:
      return "resolving";
    case SourceState::handing_over:
      return "handing-over";
    case SourceState::settling:
      return "settling";
    case SourceState::reinstating:
      return "reinstating";
    case SourceState::aborting:
      return "aborting";
    case SourceState::releasing:
      return "releasing";
    case SourceState::done:
      return "done";
  }
  return "unknown";
}

SourceMachine SourceMachine::recovered(bool commit_sent, Cargo cargo) {
  SourceMachine machine(cargo);
  machine.destination_may_hold_ = true;
  if (commit_sent) {
    machine.go(SourceState::resolving, SourceAction::resolve_commit);
  } else {
    machine.go(SourceState::reinstating, SourceAction::reinstate);
  }
  return machine;
}

void SourceMachine::go(SourceState state, SourceAction action) {
  state_ = state;
  action_ = action;
}

/// The way back from wherever the guest has not been committed away.
void SourceMachine::go_back() {
  // From the first barrier on the guest may be stopped.
  if (state_ >= SourceState::copying) {
    go(SourceState::reinstating, SourceAction::reinstate);
  } else {
    go(SourceState::aborting, SourceAction::abort_destination);
  }
}

/// The last step of the way there.
void SourceMachine::get_ready() {
  // From here the last byte of device state may get through even when we see a failure.
  destination_may_hold_ = true;
  go(SourceState::sending_device_state, SourceAction::send_device_state);
}

void SourceMachine::on(SourceEvent event) {
  using State = SourceState;
  using Action = SourceAction;
  const bool done = event == SourceEvent::done;
  const bool vm = cargo_ == Cargo::vm;
  switch (state_) {
    case State::preparing:
      if (!done) return go_back();
      return vm ? go(State::copying, Action::copy_rounds)
                : go(State::checking_session, Action::check_session);
    case State::copying:
      return done ? go(State::checking_session, Action::check_session) : go_back();
    case State::checking_session:
      return done ? go(State::redirecting, Action::redirect) : go_back();
    case State::redirecting:
      return done ? go(State::draining, Action::drain_receive_queue) : go_back();
    case State::draining:
      if (!done) return go_back();
      return vm ? go(State::stopping, Action::stop_guest) : get_ready();
    case State::stopping:
      return done ? go(State::copying_rest, Action::copy_rest) : go_back();
    case State::copying_rest:
      return done ? get_ready() : go_back();
    case State::sending_device_state:
      return done ? go(State::committing, Action::commit) : go_back();

    case State::committing:
      if (done) return go(State::handing_over, Action::hand_over);
      if (event == SourceEvent::unknown) return go(State::resolving, Action::resolve_commit);
      return go_back();
    case State::resolving:
      if (event == SourceEvent::moved) return go(State::handing_over, Action::hand_over);
      if (event == SourceEvent::not_moved) {
        destination_may_hold_ = false;  // the new generation has released it
        return go_back();
      }
      // Neither host, or nobody to ask: held here until an operator settles it.
      outcome_ = SourceOutcome::in_doubt;
      return go(State::done, Action::finish);

    case State::handing_over:
      if (done) return go(State::settling, Action::settle);
      if (event == SourceEvent::not_moved) {
        destination_may_hold_ = false;  // it has handed the guest back: it could not run it
        return go_back();
      }
      // Committed, but the destination does not have the guest any more: what is here is the last
      // copy. It is neither run nor thrown away without a person's word.
      outcome_ = SourceOutcome::in_doubt;
      return go(State::done, Action::finish);
    case State::settling:
      outcome_ = SourceOutcome::succeeded;
      return go(State::done, Action::finish);

    case State::reinstating:
      if (done) return go(State::aborting, Action::abort_destination);
      outcome_ = SourceOutcome::in_doubt;
      return go(State::done, Action::finish);
    case State::aborting:
      outcome_ = SourceOutcome::rolled_back;
      if (!done && destination_may_hold_) {
        return go(State::releasing, Action::advance_generation);
      }
      return go(State::done, Action::finish);
    case State::releasing:
      return go(State::done, Action::finish);
    case State::done:
      return;
  }
}

}  // namespace homeport::migration
