// A host as far as the control database and its datapath are concerned: the agent's own session,
// interest, desired state and virtual network, over a fake kernel edge.
#pragma once

#include "agent/control/database.h"
#include "agent/network/virtual_network.h"

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>

#include <chrono>
#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace homeport::bench {

using Clock = std::chrono::steady_clock;

/// A generation of a binding (by VNI and MAC address) and when a host came to know it, or committed
/// it.
struct Event {
  std::string host;
  policy::Vni vni = 0;
  policy::MacAddress mac;
  policy::Generation generation = 0;
  Clock::time_point at;
};

class SimulatedHost {
 public:
  /// `known`: gets what the datapath was told after the start.
  SimulatedHost(boost::asio::any_io_executor executor, const std::string& remotes, std::string name,
                std::vector<Event>& known);
  /// The same over the kernel's datapath, whose maps are pinned in `pins`.
  SimulatedHost(boost::asio::any_io_executor executor, const std::string& remotes, std::string name,
                std::unique_ptr<overlay::Datapath> datapath);

  void start() { database_.start(); }
  bool ready() const { return network_.programmed() && database_.settled(); }
  /// Signs of life as an agent's, the first after a moment of its own.
  boost::asio::awaitable<void> live();
  /// Moves one of its applications to another host of its network, by the transaction that a move
  /// commits by; false if it has none, or the database did not take it.
  boost::asio::awaitable<bool> move_one(std::uint64_t random, std::vector<Event>& moves);

  /// How many entries a look at everything still has to write; 0 when nothing was missed.
  std::size_t missed();
  agent::VirtualNetwork& network() { return network_; }
  agent::ControlDatabase& database() { return database_; }
  overlay::Datapath& datapath() { return *datapath_; }
  Clock::duration busy() const { return busy_; }  ///< Time in follow().

 private:
  std::set<std::string> taps() const;

  std::string name_;
  bool noting_ = false;
  std::size_t written_ = 0;
  Clock::duration busy_{};
  std::set<std::string> moving_;  ///< Bindings.
  std::unique_ptr<overlay::Datapath> datapath_;
  agent::ControlDatabase database_;
  agent::VirtualNetwork network_;
};

}  // namespace homeport::bench
