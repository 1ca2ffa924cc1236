// How an agent begins.
#pragma once

#include "agent/parts.h"
#include "overlay/channel/channel.h"

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/ip/tcp.hpp>

#include <memory>
#include <set>
#include <string>
#include <vector>

namespace homeport::agent {

/// Throws if an endpoint cannot be listened on. Connections that are refused go to the log.
std::unique_ptr<overlay::ChannelServer> serve_channels(
    boost::asio::any_io_executor executor, const overlay::TlsContext& tls, overlay::Purpose purpose,
    std::vector<boost::asio::ip::tcp::endpoint> endpoints, const overlay::Timeouts& timeouts,
    overlay::PeerCheck check, overlay::ChannelServer::Handler handler,
    std::shared_ptr<overlay::LaneTraffic> traffic = nullptr);

/// The applications that are here whatever the control database says: guests, those of moves, and
/// those that have left and for which others may still send here.
std::set<std::string> applications_here(const ControlDatabase& database, const Guests& guests,
                                        const VirtualNetwork& network,
                                        const migration::Destination& destination);

/// Tells the log that the control database has come or gone.
void report_state(const ControlDatabase& database, bool synced);

/// Tells the destination's moves who owns their applications.
void report_owners(const Contents& contents, migration::Destination& destination);

/// Begins the agent's work: once the database is there, publishes this host, finds the guests that
/// run here, takes up moves that were cut short, then follows tasks. From then on tells the
/// database that it lives, and compares the datapath with what it should be every few seconds.
void start_up(AgentParts parts);

}  // namespace homeport::agent
