// What can go wrong during a move, as a table: whom it befalls, and how.
#pragma once

#include <string>
#include <vector>

#include "tests/lab/fleet.h"

namespace homeport::lab {

enum class Victim {
  source_agent,
  destination_agent,
  source_guest,       ///< the guest's QEMU at the source
  destination_guest,  ///< the one made for it at the destination
  database,
  database_leader,  ///< of a cluster
  data_link,        ///< of the destination, to everybody
  database_link,    ///< between the source and the control database
};

enum class Harm {
  kill,     ///< kill -9; what a supervisor starts again is started again at once
  freeze,   ///< SIGSTOP for 10 s
  cut,      ///< until the move has ended, or has had time to see it
  blink,    ///< cut for a second
  one_way,  ///< as `cut`, but only what the member sends is lost
  loss,     ///< 5% of the frames in both directions, until the move has ended
};

struct Fault {
  Victim victim;
  Harm harm;
  /// "source_agent_kill"
  std::string name() const;
};

/// All that make sense: processes are killed and frozen, links cut, disturbed and lossy. Those of a
/// cluster's leader come last.
std::vector<Fault> all_faults();

/// A move that is held at a step, for a fault to meet it.
struct HeldMove {
  Fleet& fleet;
  Host& source;
  Host& destination;
};

/// Brings the fault about while the move is held, lets the move go on with it, and takes it away
/// again.
void inflict(const Fault& fault, HeldMove move);

/// Everything that a fault may have left broken works again.
void repair(HeldMove move);

/// Waits for the end of the move and returns its state. What stays in doubt is decided for where
/// the database says that the guest is: "decided, " and the state then.
std::string end_of_move(HeldMove move);

}  // namespace homeport::lab
