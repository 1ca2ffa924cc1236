// Who has yet to hear that an application has left this host. Pure.
//
//   here --database says elsewhere--> untold --every peer has confirmed--> confirmed
//                                        |                                    | kLinger
//                                        +-----comes back-----> gone <--------+ (settled)
//
// Until the end, what comes here for it is sent on.
#pragma once

#include "agent/network/hearsay.h"

#include <chrono>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace homeport::agent {

class Departures {
 public:
  using Time = std::chrono::steady_clock::time_point;
  /// What a peer had sent when it confirmed may be on its way for that long.
  static constexpr std::chrono::seconds kLinger{5};

  explicit Departures(std::string host) : host_(std::move(host)) {}

  /// `been_here`: bindings that are here or have been; those of them that the database has
  /// elsewhere have left.
  void follow(const Contents& contents, const std::set<std::string>& been_here, Time now);
  /// `peer` sends to the binding where it is by `generation`, or knows better.
  void confirmed(const std::string& peer, const std::string& binding, policy::Generation generation,
                 Time now);

  /// What `peer` has not confirmed yet.
  std::vector<Moved> untold(const std::string& peer) const;
  /// Those that have something to confirm.
  std::set<std::string> peers() const;
  /// The bindings for which nothing has to be sent on any more.
  std::vector<std::string> settled(Time now) const;
  std::size_t size() const { return departures_.size(); }

 private:
  struct Departure {
    Moved moved;
    std::set<std::string> waiting = {};    ///< Peers that have not confirmed.
    std::set<std::string> confirmed = {};  ///< Peers that have.
    std::optional<Time> complete = {};     ///< Since when nobody is waited for.
  };

  std::string host_;
  std::map<std::string, Departure> departures_;  ///< by binding
};

/// The hosts, other than `host`, that may send to an application in `network`: those that have one
/// there themselves, and all of them where hosts have access.
std::set<std::string> senders(const Contents& contents, const std::string& network,
                              const std::string& host);

}  // namespace homeport::agent
