// How an agent begins, and the options its parts are built with.
#pragma once

#include "agent/config.h"
#include "agent/control/database.h"
#include "agent/network/virtual_network.h"
#include "agent/tasks/guests.h"
#include "agent/tasks/task_runner.h"
#include "migration/move/destination.h"
#include "migration/vm/qemu_driver.h"
#include "overlay/channel/channel.h"
#include "overlay/datapath/ebpf_datapath.h"

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>

#include <memory>
#include <string>
#include <vector>

namespace homeport::agent {

/// What this host says about itself in the control database.
struct HostIdentity {
  Host host;
  std::chrono::system_clock::time_point started;
  HostState state = HostState::starting;
  HostStatus status() const;
};

/// Throws if the certificate names another host than the configuration.
HostIdentity identity_of(const Config& config, const overlay::TlsContext& tls);
overlay::EbpfOptions datapath_options(const Config& config);
migration::QemuDriverOptions driver_options(const Config& config);
DatabaseOptions database_options(const Config& config);

std::vector<boost::asio::ip::tcp::endpoint> control_endpoints(const ControlDatabase& database,
                                                              const std::string& host);

/// admit(), tried again for a moment while the database here may lag behind the source's.
boost::asio::awaitable<policy::Result<std::vector<migration::PortSpec>>> admit_when_known(
    const ControlDatabase& database, std::string host, std::uint32_t mtu_limit, std::string source,
    const migration::Prepare& request);

/// Throws if an endpoint cannot be listened on. Connections that are refused go to the log.
std::unique_ptr<overlay::ChannelServer> serve_channels(
    boost::asio::any_io_executor executor, const overlay::TlsContext& tls,
    std::vector<boost::asio::ip::tcp::endpoint> endpoints, const overlay::Timeouts& timeouts,
    overlay::PeerCheck check, overlay::ChannelServer::Handler handler);

/// Tells the log that the control database has come or gone.
void report_state(const ControlDatabase& database, bool synced);

/// Tells the destination's moves who owns their applications.
void report_owners(const Contents& contents, migration::Destination& destination);

struct StartUp {
  boost::asio::any_io_executor executor;
  HostIdentity& identity;
  ControlDatabase& database;
  VirtualNetwork& network;
  Guests& guests;
  TaskRunner& tasks;
  migration::Destination& destination;
  const migration::Journal& journal;
};

/// Begins the agent's work: once the database is there, publishes this host, finds the guests that
/// run here, takes up moves that were cut short, then follows tasks. From then on tells the
/// database that it lives, and compares the datapath with what it should be every few seconds.
void start_up(StartUp parts);

}  // namespace homeport::agent
