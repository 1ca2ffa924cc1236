// The paths of a status snapshot as metrics.
#pragma once

#include "agent/status/exposition.h"
#include "agent/status/path_model.h"

#include <cstddef>

namespace homeport::agent {

/// Of more peers than these, the others in the order of names have no series of their own: some
/// fifty go with each.
inline constexpr std::size_t kPathMetricsPeers = 200;

void write_paths(Exposition& out, const PathsSnapshot& paths);

}  // namespace homeport::agent
