#include "overlay/ovsdb/leader_first.h"

#include <algorithm>

namespace homeport::overlay::ovsdb {

LeaderFirst::LeaderFirst(bool choice, Time now, std::uint32_t seed)
    : choice_(choice), random_(seed) {
  if (choice) enter(State::searching, now);
}

LeaderFirst::State LeaderFirst::next(bool in_sync, Time now) const {
  const bool is_due = now >= due_;
  switch (state_) {
    case State::searching:
      return in_sync ? State::led : is_due ? State::anyone : State::searching;
    case State::led:
      return in_sync ? State::led : State::searching;
    case State::anyone:
      return in_sync ? State::served : State::anyone;
    case State::served:
      return in_sync && !is_due ? State::served : State::searching;
  }
  return state_;
}

void LeaderFirst::enter(State state, Time now) {
  state_ = state;
  due_ = Time::max();
  if (state == State::searching) {
    due_ = now + kPatience;
  } else if (state == State::led) {
    wait_ = kFirstWait;
  } else if (state == State::served) {
    std::uniform_int_distribution<std::int64_t> later(0, wait_.count());
    due_ = now + wait_ + std::chrono::milliseconds(later(random_));
    wait_ = std::min(2 * wait_, kLongestWait);
  }
}

void LeaderFirst::look(bool in_sync, Time now) {
  if (!choice_) return;
  const State state = next(in_sync, now);
  if (state != state_) enter(state, now);
}

}  // namespace homeport::overlay::ovsdb
