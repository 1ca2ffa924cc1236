// What a source asks the destination of a move to make room for.
#pragma once

#include "migration/move/move.pb.h"
#include "migration/move/source_move.h"
#include "migration/vm/ram_map.h"

#include <vector>

namespace homeport::migration {

ToDestination prepare_message(const MoveRequest& request, const std::vector<RamBlock>& blocks);

}  // namespace homeport::migration
