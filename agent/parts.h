// The parts of an agent that its start and its end deal with.
#pragma once

#include "agent/control/database.h"
#include "agent/host_rows.h"
#include "agent/mobility/teller.h"
#include "agent/network/virtual_network.h"
#include "agent/options.h"
#include "agent/tasks/guests.h"
#include "agent/tasks/task_runner.h"
#include "migration/move/destination.h"
#include "migration/move/journal.h"

#include <boost/asio/any_io_executor.hpp>

namespace homeport::agent {

struct AgentParts {
  boost::asio::any_io_executor executor;
  HostIdentity& identity;
  ControlDatabase& database;
  HostRows& rows;
  VirtualNetwork& network;
  MobilityTeller& teller;
  Guests& guests;
  TaskRunner& tasks;
  migration::Destination& destination;
  const migration::Journal& journal;
};

}  // namespace homeport::agent
