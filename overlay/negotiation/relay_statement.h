// What a host and one that relays say to each other: how things stand, as statement.h has it. Any
// host may be both to the other, so one statement has both parts.
//
// A host asks of the other to carry, for it, the networks that it has in common with some third
// hosts. The other gives each of these networks towards each of these hosts a label, by which it
// knows later what is to go there (overlay/datapath/datapath.h), and tells how its own path there
// is. Every statement says all of it.
#pragma once

#include "overlay/negotiation/statement.h"
#include "policy/address.h"
#include "policy/path/quality.h"

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace homeport::overlay {

/// Bounds of what one host asks of another.
inline constexpr std::size_t kMostRelayedHosts = 256;  ///< to which it is to carry
inline constexpr std::size_t kMostRelayLabels = 256;   ///< networks of all these hosts together

/// To a third host, its networks.
struct RelayAsk {
  std::string host;
  std::vector<policy::Vni> networks;

  bool operator==(const RelayAsk&) const = default;
};

/// About a third host that was asked for.
struct RelayAnswer {
  std::string host;
  /// Why it is not carried, as a sentence; empty: it is.
  std::string refusal = {};
  /// The path of the host that relays to the third one, as it sees it; none: it does not know yet.
  std::optional<policy::PathReport> way = {};
  std::map<policy::Vni, policy::Vni> labels = {};  ///< by network; those that are ready for use

  bool operator==(const RelayAnswer&) const = default;
};

struct RelayStatement {
  StatementId id;
  StatementId seen = {};      ///< the last one of the other host that the sender has taken in
  bool wants_answer = false;  ///< the receiver has not said yet that it has this one
  std::vector<RelayAsk> asks = {};
  std::vector<RelayAnswer> answers = {};

  bool operator==(const RelayStatement&) const = default;
};

}  // namespace homeport::overlay
