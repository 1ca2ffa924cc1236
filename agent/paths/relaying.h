// Paths through other hosts, and through this one: what the routing controllers of three hosts have
// to do with each other beside negotiating, two by two.
//
//   this host, as one end                      the host that relays
//     asks for labels towards the other end -->  gives labels out: LabelBook --> VirtualNetwork
//     its own path to the host that relays  <--  tells of them, and of its path to the other end
//       '-> both together: a candidate, which PathNegotiator is told of as of one that is measured
//
// The other end does the same, so that both know the same paths.
#pragma once

#include "agent/control/database.h"
#include "agent/network/virtual_network.h"
#include "agent/status/path_model.h"
#include "overlay/negotiation/negotiator.h"
#include "overlay/negotiation/relay_statement.h"
#include "policy/address.h"
#include "policy/path/quality.h"

#include <boost/asio/any_io_executor.hpp>

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace homeport::agent {

/// Used on the control executor only. A peer is a host that this one has a PathNegotiator for.
class Relaying {
 public:
  struct Context {
    boost::asio::any_io_executor executor;
    std::string host;
    policy::IpAddress vtep;
    bool relays = false;  ///< this host, for others
    const ControlDatabase& database;
    VirtualNetwork& network;
    /// Of a peer; nullptr: it is none.
    std::function<const overlay::PathNegotiator*(const std::string& peer)> negotiator;
    std::function<void(const std::string& peer, const overlay::RelayStatement&)> say;
    /// reports() or way_through() of that peer may be otherwise than before.
    std::function<void(const std::string& peer)> news;
    /// VirtualNetwork::reconcile() is due; programmed() is told once it is done.
    std::function<void()> program;
  };

  explicit Relaying(Context context);
  /// Nothing of the context is called any more.
  ~Relaying();

  /// The hosts of the database may be others.
  void follow_hosts();
  /// Hosts that this one has networks in common with, and these.
  void follow_networks(std::map<std::string, std::set<policy::Vni>> of_hosts);
  /// The hosts through which paths to those are looked for: they are to be peers.
  std::set<std::string> relays() const;
  /// There are such for that host.
  bool has_relays(const std::string& host) const;
  /// That peer has asked this host to relay for it.
  bool is_asked_by(const std::string& peer) const;
  /// The peers may be others.
  void follow_peers();

  void connected(const std::string& peer);
  void heard(const std::string& peer, overlay::RelayStatement statement);
  /// The peer's negotiator has been told something.
  void followed(const std::string& peer);
  void forget(const std::string& peer);
  void programmed();

  /// Of the relayed paths to that peer, what is known of them here: for PathNegotiator.
  std::vector<policy::PathReport> reports(const std::string& peer) const;
  /// How to send to the peer by that relayed path; nullopt: it cannot be (yet).
  std::optional<Way> way_of(const std::string& peer, const policy::PathId& path) const;
  /// The host that a relayed way leads through; empty: it is not known (any more).
  std::string relay_of(const Way& way) const;

  RelayingSnapshot totals() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace homeport::agent
