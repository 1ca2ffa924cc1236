// The routing controllers of this host, one for each other host that it has to do with: what they
// negotiate is what the datapath does.
//
//   kernel: links, addresses --> Offer -----.
//   control database: policy, rows ---------+--> PathNegotiator <==PathChannels==> the peer's
//   ProbeWire --> Prober: measurements -----'        |
//                   ^                                |--> VirtualNetwork: ways, aliases
//                   |---- the ways there are, in use   '--> SourceMove: paths of its lanes
//                   |---- what lanes have carried -------------- SourceMove
//                   '---- that they carry ---------------------- LaneTraffic
#pragma once

#include "agent/network/virtual_network.h"
#include "agent/paths/offer.h"
#include "agent/status/path_model.h"
#include "migration/move/lane_paths.h"
#include "overlay/channel/channel.h"
#include "overlay/datapath/datapath.h"
#include "overlay/link/monitor.h"

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace homeport::agent {

/// Used on the control executor only.
class PathControllers {
 public:
  struct Context {
    boost::asio::any_io_executor executor;
    std::string host;
    const ControlDatabase& database;
    VirtualNetwork& network;
    overlay::Datapath& datapath;
    UnderlayChoice underlay;
    overlay::TlsContext tls;
    overlay::PeerCheck peer_check;
    overlay::Timeouts timeouts;
    std::shared_ptr<overlay::LaneTraffic> lane_traffic = {};  ///< or nullptr: there is none
    /// How long the ways to a host are looked after once no application of a network that is
    /// carried here is there any more: hosts that have not heard of a move send there that long.
    std::chrono::seconds linger{300};
    /// events() may have others from now on.
    std::function<void()> changed = [] {};
  };

  explicit PathControllers(Context context);
  /// Nothing of the context is used any more.
  ~PathControllers();

  /// After the network has followed a change of the database.
  void follow();
  void on_link_event(const overlay::LinkEvent& event);
  /// For RouteMonitor: an interface by whose address the way led may be one no longer, or again.
  void on_routes_changed();
  /// Serves a channel of kPathsSession until it ends.
  boost::asio::awaitable<void> serve(overlay::Channel channel);

  /// A host that is followed is one that this host has to do with.
  migration::LanePaths& lane_paths();

  /// `peer`: of whom everything is wanted, see StatusWanted.
  PathsSnapshot snapshot(const std::string& peer) const;
  /// Of all peers.
  std::vector<PathEvent> events() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace homeport::agent
