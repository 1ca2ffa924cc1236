#include "migration/move/destination_machine.h"

namespace homeport::migration {

std::string_view to_string(DestinationState state) {
  switch (state) {
    case DestinationState::receiving:
      return "receiving";
    case DestinationState::holding:
      return "holding";
    case DestinationState::activating:
      return "activating";
    case DestinationState::discarding:
      return "discarding";
    case DestinationState::finished:
      return "finished";
  }
  return "unknown";
}

DestinationAction DestinationMachine::on(DestinationEvent event) {
  using State = DestinationState;
  using Event = DestinationEvent;
  using Action = DestinationAction;
  switch (state_) {
    case State::receiving:
      switch (event) {
        case Event::loaded:
          state_ = State::holding;
          return Action::say_ready;
        case Event::failed:
        case Event::channel_lost:
        case Event::called_off:
        case Event::owner_elsewhere:
          state_ = State::discarding;
          return Action::discard;
        default:
          return Action::none;
      }
    case State::holding:
      switch (event) {
        case Event::told_to_resume:
        case Event::owner_is_here:
          state_ = State::activating;
          activated_ = true;
          return Action::activate;
        case Event::called_off:
        case Event::owner_elsewhere:
          state_ = State::discarding;
          return Action::discard;
        default:
          // `failed` too: if the paused guest ended, the source learns it when it hands over, and
          // what it holds is then the only copy.
          return Action::none;
      }
    case State::activating:
    case State::discarding:
      if (event == Event::carried_out) state_ = State::finished;
      return Action::none;
    case State::finished:
      return Action::none;
  }
  return Action::none;
}

}  // namespace homeport::migration
