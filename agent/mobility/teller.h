// Tells the hosts that may send to an application that it has left this one, and what they confirm;
// and that it has come here, by what the host that it has left has signed (handover.h). Beside the
// database, which tells the same: a host that is cut off from it hears it from here, and the host
// that was left learns when nothing has to be sent on any more.
#pragma once

#include "agent/control/database.h"
#include "agent/network/virtual_network.h"
#include "overlay/channel/channel.h"

#include <boost/asio/any_io_executor.hpp>

#include <memory>
#include <string>
#include <vector>

namespace homeport::agent {

/// Session of the control channels on which moves are told.
inline constexpr const char* kMobilitySession = "mobility";
/// Of one message, at most; what is more goes into the next.
inline constexpr int kMostTold = 1024;

/// Used on the control executor only.
class MobilityTeller {
 public:
  struct Context {
    boost::asio::any_io_executor executor;
    std::string host;
    const ControlDatabase& database;
    VirtualNetwork& network;
    overlay::TlsContext tls;
    overlay::PeerCheck peer_check;
    overlay::Timeouts timeouts;
  };

  explicit MobilityTeller(Context context);
  ~MobilityTeller();

  /// After the network has followed a change of the database.
  void follow();
  /// `source` has moved the application here, which is here by `generation`. `handovers`: what it
  /// has signed, each a serialized SignedHandover. What is not of that move is left out, with a
  /// warning.
  void arrived(const std::string& source, const std::string& application,
               policy::Generation generation, std::vector<std::string> handovers);
  /// Now and then: ends what every peer has confirmed.
  void settle();

 private:
  struct State;
  std::shared_ptr<State> state_;
};

/// The other end: serves one channel of that session until it ends. `check` knows the certificates
/// of other hosts.
boost::asio::awaitable<void> hear_of_moves(overlay::Channel channel, VirtualNetwork& network,
                                           overlay::PeerCheck check);

}  // namespace homeport::agent
