// The source's side of a move as a state machine without I/O.
//
// The machine decides the order of things and what a failure at each point means; source_move.cc
// carries its actions out and reports how each one went. One action is under way at a time.
//
//   preparing --> copying --> checking_session --> redirecting --> draining --> stopping
//       |            |               |                  |             |            |
//       |            |               |                  |             |            v
//       |            |               |                  |             |      copying_rest
//       |            |               |                  |             |            |
//       |            |               |                  |             |            v
//       |            |               |                  |             |      sending_device_state
//       |            |               |                  |             |            |
//       v            v               v                  v             v            v
//   aborting <------------------------------------- reinstating <------------- (any failure)
//       |  destination did not acknowledge                  ^              |
//       |  and may be holding: releasing                    |              v ready
//       v                                                   |          committing
//     done (rolled back)                          not moved |           |      |
//                                                           |   unknown |      | committed
//                                                       resolving <-----+      v
//                                                           |            handing_over --> settling
//                                                           +-- moved ------->          --> done
//
// A move that carries nothing but ports has no memory and no guest: of the steps before the commit
// it takes preparing, checking_session, redirecting, draining and sending_device_state, in which
// nothing is sent and the destination says that it is ready.
//
// Who may run the guest (the fence): the source until `committing` begins, nobody while the
// outcome of the commit is unknown, then whoever the control database names. Once the destination
// has said that it is ready it holds until the generation changes or the source calls it off.
#pragma once

#include "migration/move/cargo.h"

#include <cstdint>
#include <string_view>

namespace homeport::migration {

enum class SourceState : std::uint8_t {
  preparing,             ///< destination makes room: memory, paused guest, port
  copying,               ///< pre-copy rounds while the guest runs
  checking_session,      ///< is the control database there to commit to?
  redirecting,           ///< the application's traffic is sent on to the destination's port
  draining,              ///< frames in flight arrive; the guest empties its own receive queue
  stopping,              ///< the guest's processors and I/O come to rest
  copying_rest,          ///< pages written since the last round
  sending_device_state,  ///< device state; ends when the destination says it is ready
  committing,            ///< the conditional transaction is on its way
  resolving,             ///< its outcome is not known: nobody runs until it is
  handing_over,          ///< the destination owns the guest and is told to resume it
  settling,              ///< what is left of the guest here is released
  reinstating,           ///< redirect withdrawn, guest resumed here if it is stopped
  aborting,              ///< the destination is told to clean up
  releasing,             ///< a new generation tells a holding destination to let go
  done,
};

enum class SourceAction : std::uint8_t {
  prepare_destination,
  copy_rounds,
  check_session,
  redirect,
  drain_receive_queue,
  stop_guest,
  copy_rest,
  send_device_state,
  commit,
  resolve_commit,  ///< wait for the session, read the binding, roll back if it is still ours
  hand_over,
  settle,
  reinstate,
  abort_destination,
  advance_generation,
  finish,
};

/// How the last action went.
enum class SourceEvent : std::uint8_t {
  done,       ///< it did what was asked
  failed,     ///< it did not, and changed nothing that its undo does not undo
  unknown,    ///< commit: may or may not have happened
  not_moved,  ///< resolve, hand over: the application is the source's again, by a new generation
  moved,      ///< resolve: the commit had happened
};

enum class SourceOutcome : std::uint8_t {
  under_way,
  succeeded,
  rolled_back,  ///< the guest runs at the source; the destination is clean or will be
  in_doubt,     ///< the guest is held; an operator decides (homeport task resolve)
};

std::string_view to_string(SourceState state);

class SourceMachine {
 public:
  /// A move that begins now: its first action is `action()`.
  explicit SourceMachine(Cargo cargo = Cargo::vm) : cargo_(cargo) {}

  /// A move whose agent was ended and is back. Before the commit was sent nobody but this host
  /// could own the guest, so it resumes at once; afterwards the database says who does.
  static SourceMachine recovered(bool commit_sent, Cargo cargo = Cargo::vm);

  SourceState state() const { return state_; }
  SourceAction action() const { return action_; }
  SourceOutcome outcome() const { return outcome_; }

  /// Whether a request to cancel still takes effect: until the commit is sent.
  bool cancellable() const { return state_ < SourceState::committing; }

  /// Feeds the result of `action()`; afterwards `action()` is what to do next. An event that the
  /// state does not know counts as `failed`.
  void on(SourceEvent event);

 private:
  void go(SourceState state, SourceAction action);
  void go_back();
  void get_ready();

  Cargo cargo_;
  SourceState state_ = SourceState::preparing;
  SourceAction action_ = SourceAction::prepare_destination;
  SourceOutcome outcome_ = SourceOutcome::under_way;
  /// The destination may have become ready, so that it holds until it is released.
  bool destination_may_hold_ = false;
};

}  // namespace homeport::migration
