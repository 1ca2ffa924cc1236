// A host as far as the control database and its datapath are concerned: the agent's own session,
// interest, desired state and virtual network, over a fake kernel edge.
#pragma once

#include "agent/control/database.h"
#include "agent/network/departures.h"
#include "agent/network/virtual_network.h"
#include "tests/bench/scale/post.h"

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace homeport::bench {

using Clock = std::chrono::steady_clock;

/// A generation of a binding (by VNI and MAC address) and when a host came to know it, or sent it
/// to be committed.
struct Event {
  std::string host;
  policy::Vni vni = 0;
  policy::MacAddress mac;
  policy::Generation generation = 0;
  Clock::time_point at;
};

class SimulatedHost {
 public:
  using Send = std::function<void(const Letter&)>;
  /// `known`: gets what the datapath was told after the start.
  SimulatedHost(boost::asio::any_io_executor executor, const std::string& remotes, std::string name,
                Send send, std::vector<Event>& known);
  /// The same over the kernel's datapath, whose maps are pinned in `pins`.
  SimulatedHost(boost::asio::any_io_executor executor, const std::string& remotes, std::string name,
                std::unique_ptr<overlay::Datapath> datapath);

  void start() { database_.start(); }
  bool ready() const { return network_.programmed() && database_.settled(); }
  /// Signs of life as an agent's, the first after a moment of its own.
  boost::asio::awaitable<void> live();
  /// Moves one of its applications to another host of its network: that one is told where to read
  /// about it, and when it has, the transaction is sent that a move commits by. False if it has
  /// none, the other has not answered, or the database did not take it.
  boost::asio::awaitable<bool> move_one(std::uint64_t random, std::vector<Event>& moves);
  /// From now on it tells others of its moves, as an agent does. They know of those before.
  void tell_others();
  void receive(const Letter& letter);

  /// How many entries a look at everything still has to write; 0 when nothing was missed.
  std::size_t missed();
  agent::VirtualNetwork& network() { return network_; }
  agent::ControlDatabase& database() { return database_; }
  overlay::Datapath& datapath() { return *datapath_; }
  Clock::duration busy() const { return busy_; }  ///< Time in follow().

 private:
  std::set<std::string> taps() const;
  /// Where its applications of a network may go: as often as there are applications.
  const std::vector<std::string>& others_of(const std::string& network);
  boost::asio::awaitable<bool> prepare(std::string to, const agent::Binding& binding);
  boost::asio::awaitable<void> prepare_here(Letter letter);
  void tell();

  std::string name_;
  bool noting_ = false;
  std::size_t written_ = 0;
  Clock::duration busy_{};
  std::set<std::string> moving_;    ///< Bindings.
  std::set<std::string> prepared_;  ///< Applications, by the word of where they are to go.
  std::map<std::string, std::vector<std::string>> others_;
  Send send_;
  bool telling_ = false;
  agent::Departures departures_;
  std::set<std::pair<std::string, std::string>> told_;  ///< Peer and binding with generation.
  std::unique_ptr<overlay::Datapath> datapath_;
  boost::asio::any_io_executor executor_;
  agent::ControlDatabase database_;
  agent::VirtualNetwork network_;
};

}  // namespace homeport::bench
