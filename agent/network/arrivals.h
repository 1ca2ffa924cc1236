// Who has yet to hear from this host that an application has come here. The host that it has left
// tells the same (departures.h), and the control database does; this host shows what the former has
// signed, should that be gone. Pure.
#pragma once

#include "agent/network/hearsay.h"

#include <chrono>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace homeport::agent {

class Arrivals {
 public:
  using Time = std::chrono::steady_clock::time_point;
  /// Whoever could not be told within this time hears it from the control database.
  static constexpr std::chrono::seconds kFor{60};

  explicit Arrivals(std::string host) : host_(std::move(host)) {}

  /// `moved` here from the host `from`, which has signed `proof`.
  void came(Moved moved, std::string from, std::string proof, Time now);
  /// Forgets what is of the past, and sees who may send to the rest.
  void follow(const Contents& contents, Time now);
  void confirmed(const std::string& peer, const std::string& binding,
                 policy::Generation generation);

  /// What `peer` has not confirmed yet.
  std::vector<Moved> untold(const std::string& peer) const;
  /// What was signed of it; nullptr where it has not come here of late.
  const std::string* proof(const Moved& moved) const;
  /// Those that have something to confirm.
  std::set<std::string> peers() const;

 private:
  struct Arrival {
    Moved moved;
    std::string from, proof;
    Time since{};
    std::set<std::string> waiting = {};    ///< Peers that have not confirmed.
    std::set<std::string> confirmed = {};  ///< Peers that have.
  };

  std::string host_;
  std::map<std::string, Arrival> arrivals_;  ///< by binding
};

}  // namespace homeport::agent
