// Through which hosts two others may send to each other. Both choose the same ones, as does anybody
// else. Pure.
#pragma once

#include "agent/control/records.h"
#include "policy/address.h"

#include <cstddef>
#include <map>
#include <string>
#include <vector>

namespace homeport::agent {

/// Of all hosts that relay so many are asked at all: a host keeps a conversation with each that two
/// hosts choose, however many other hosts it has to do with.
inline constexpr std::size_t kMostRelays = 16;
/// Of these, for any two hosts.
inline constexpr std::size_t kMostRelaysOfPair = 3;

class RelayChoice {
 public:
  /// The hosts that relay, of those that have a VTEP of the family of `vtep`.
  static RelayChoice of(const std::map<std::string, Host>& hosts, const policy::IpAddress& vtep);

  /// Rendezvous hashing: most pairs keep their choice when a host comes or goes.
  std::vector<std::string> between(const std::string& one, const std::string& other) const;
  bool empty() const { return relays_.empty(); }
  bool operator==(const RelayChoice&) const = default;

 private:
  std::vector<std::string> relays_;
};

}  // namespace homeport::agent
