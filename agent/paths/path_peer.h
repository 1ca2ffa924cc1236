// What PathControllers keeps for each host that it has to do with.
#pragma once

#include "agent/paths/path_history.h"
#include "overlay/negotiation/negotiator.h"
#include "overlay/probing/prober.h"
#include "policy/address.h"
#include "policy/path/path.h"

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/steady_timer.hpp>

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace homeport::agent {

struct PathPeer {
  PathPeer(const boost::asio::any_io_executor& executor, const std::string& own_host,
           std::string host, policy::IpAddress at)
      : name(std::move(host)),
        vtep(std::move(at)),
        negotiator(own_host, name, epoch_now()),
        history(own_host, name),
        look(executor) {}

  std::string name;
  policy::IpAddress vtep;
  overlay::PathNegotiator negotiator;
  PathHistory history;
  boost::asio::steady_timer look;
  std::optional<SystemTime> disconnected;  ///< none: never connected, or it is
  std::optional<policy::Time> unneeded;    ///< since when it is not needed; none: it is
  policy::PathPolicy policy;
  std::vector<overlay::ProbedWay> ways;
  std::set<overlay::ProbePair> lanes;        ///< those of them that lanes of moves run on
  std::vector<policy::PathReport> unrouted;  ///< of those which nothing can be sent on
  overlay::FoundInUse found;                 ///< of an earlier run of this agent
  /// Likewise: only the host that relays.
  std::map<policy::TrafficClass, std::string> found_through;

 private:
  /// Greater each time a conversation is begun.
  static std::uint64_t epoch_now() {
    const auto since = std::chrono::system_clock::now().time_since_epoch();
    return static_cast<std::uint64_t>(
        std::chrono::duration_cast<std::chrono::microseconds>(since).count());
  }
};

}  // namespace homeport::agent
