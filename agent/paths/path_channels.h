// The channels on which routing controllers talk: to each peer one for each of its control
// endpoints, as the interface that a channel goes over may be the one that fails. What a host says
// is how things stand, so it is said on all of them, and of what waits only the last is sent, of
// each kind.
#pragma once

#include "agent/control/records.h"
#include "overlay/channel/channel.h"
#include "overlay/negotiation/relay_statement.h"
#include "overlay/negotiation/statement.h"

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace homeport::agent {

/// Session of the control channels on which paths are negotiated.
inline constexpr const char* kPathsSession = "paths";

/// Used on the control executor only. Of two hosts that want to the one whose name sorts first
/// connects; the other does when that one has not.
class PathChannels {
 public:
  struct Context {
    boost::asio::any_io_executor executor;
    std::string host;
    overlay::TlsContext tls;
    overlay::PeerCheck peer_check;
    overlay::Timeouts timeouts;
    /// How long the host whose name sorts first is waited for.
    std::chrono::milliseconds others_turn{2000};
    std::function<std::vector<Endpoint>(const std::string& host)> endpoints_of;
    /// A channel to the peer stands.
    std::function<void(const std::string& peer)> connected;
    /// The last one has gone.
    std::function<void(const std::string& peer)> disconnected;
    std::function<void(const std::string& peer, overlay::PathStatement)> heard;
    std::function<void(const std::string& peer, overlay::RelayStatement)> heard_of_relaying;
  };

  /// Of one peer, at most; one that comes in addition takes the place of the oldest.
  static constexpr std::size_t kMostChannels = 8;

  explicit PathChannels(Context context);
  /// Its channels close, and nothing of the context is called any more.
  ~PathChannels();

  /// The peers to be connected to. The channels to others
  /// close; not those that others have connected.
  void follow(const std::set<std::string>& peers);
  bool connected(const std::string& peer) const;
  /// The peer has connected a channel, so it has to do with this host, whatever is known here.
  bool called_by(const std::string& peer) const;
  /// If there is no channel, or it breaks, nobody hears it.
  void say(const std::string& peer, const overlay::PathStatement& statement);
  void say(const std::string& peer, const overlay::RelayStatement& statement);
  /// Serves a channel that a peer has connected, until it ends.
  boost::asio::awaitable<void> serve(overlay::Channel channel);

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace homeport::agent
