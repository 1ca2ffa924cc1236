// Fills the status snapshot from the modules that know, on the control executor.
#pragma once

#include "agent/control/database.h"
#include "agent/network/virtual_network.h"
#include "agent/paths/bulk_limits.h"
#include "agent/paths/path_controllers.h"
#include "agent/peers.h"
#include "agent/status/model.h"
#include "agent/tasks/guests.h"
#include "agent/tasks/task_runner.h"
#include "overlay/datapath/datapath.h"

#include <string>
#include <vector>

namespace homeport::agent {

struct SnapshotSources {
  std::string host;
  std::string remotes;  ///< of the control database
  std::string datapath_kind;
  SystemTime started;
  const ControlDatabase& database;
  const VirtualNetwork& network;
  overlay::Datapath& datapath;
  const Guests& guests;
  const TaskRunner& tasks;
  const Peers& peers;
  const PathControllers& paths;
  const BulkLimits& bulk_limits;
};

/// With only what is wanted filled in, beside what is always there.
StatusModel snapshot(const SnapshotSources& sources, const StatusWanted& wanted);

}  // namespace homeport::agent
