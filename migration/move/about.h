// What the log says a move is about.
#pragma once

#include "migration/move/journal.h"
#include "overlay/log/line.h"

namespace homeport::migration {

inline overlay::log::About about(const JournalEntry& move) {
  return {{"task", move.move_id}, {"application", move.application}, {"peer", move.peer}};
}

}  // namespace homeport::migration
