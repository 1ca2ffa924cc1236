// The destination's side of a move as a state machine without I/O.
//
//                 lost / called off                     called off, or generation says: not ours
//   receiving ----------------------> discarding <---------------------- holding
//       |                                  |                                |
//       | memory and device state in       v                                | told to resume, or
//       +-----------------> holding     finished                            | generation says: ours
//                                                                           v
//                                                                       activating --> finished
//
// `receiving`: the source cannot commit without our Ready, so what is here may be thrown away on
// our own decision. `holding`: Ready was said; the source may have committed at any moment since,
// so the guest is neither run nor thrown away until the source or the control database says which
// (a lost channel changes nothing).
#pragma once

#include <cstdint>
#include <string_view>

namespace homeport::migration {

enum class DestinationState : std::uint8_t { receiving, holding, activating, discarding, finished };

enum class DestinationEvent : std::uint8_t {
  loaded,           ///< memory and device state are complete in the paused guest
  failed,           ///< something here went wrong: the guest ended, memory or disk ran out
  channel_lost,     ///< the source is not heard any more
  called_off,       ///< the source says: clean up
  told_to_resume,   ///< the source says: it is yours
  owner_is_here,    ///< the database names this host, by a later generation
  owner_elsewhere,  ///< the database names another host, by a later generation
  carried_out,      ///< the last action is done
};

enum class DestinationAction : std::uint8_t {
  none,
  say_ready,  ///< journal first, then tell the source
  activate,   ///< take the addresses, resume the guest, announce it, tell the source
  discard,    ///< end the guest, forward what waits in its port, remove everything
};

std::string_view to_string(DestinationState state);

class DestinationMachine {
 public:
  explicit DestinationMachine(DestinationState state = DestinationState::receiving)
      : state_(state) {}

  DestinationState state() const { return state_; }
  /// True when the guest came to run here.
  bool activated() const { return activated_; }

  /// What to do about `event` now; `none` where it changes nothing.
  DestinationAction on(DestinationEvent event);

 private:
  DestinationState state_;
  bool activated_ = false;
};

}  // namespace homeport::migration
