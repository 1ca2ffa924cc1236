// What this host's routing controllers keep of one other host.
#pragma once

#include "agent/paths/path_history.h"
#include "agent/status/path_model.h"
#include "overlay/negotiation/negotiator.h"
#include "overlay/probing/prober.h"
#include "policy/address.h"
#include "policy/path/class_policy.h"

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

inline policy::Time steady_now() {
  return std::chrono::steady_clock::now();
}

inline SystemTime system_now() {
  return std::chrono::system_clock::now();
}

struct PathPeer {
  PathPeer(const boost::asio::any_io_executor& executor, const std::string& here, std::string host,
           policy::IpAddress at)
      : name(std::move(host)),
        vtep(std::move(at)),
        negotiator(here, name, epoch_now()),
        history(here, name),
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
  /// Greater each time a conversation is begun: PathNegotiator.
  static std::uint64_t epoch_now() {
    const auto since = system_now().time_since_epoch();
    return static_cast<std::uint64_t>(
        std::chrono::duration_cast<std::chrono::microseconds>(since).count());
  }
};

}  // namespace homeport::agent
