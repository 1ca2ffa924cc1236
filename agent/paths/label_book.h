// The labels that this host has given out as one that relays: who may use each, and what it stands
// for. Pure.
//
// A label is made from what it stands for, so that an agent that starts again, or one whose
// neighbour does, gives the same out again. It keeps its meaning for a while after nobody wants it
// any more: frames that are on their way may still carry it.
#pragma once

#include "overlay/datapath/datapath.h"
#include "policy/address.h"
#include "policy/path/path.h"

#include <chrono>
#include <compare>
#include <cstddef>
#include <map>
#include <optional>
#include <set>
#include <vector>

namespace homeport::agent {

struct LabelBookLimits {
  std::size_t all = 4096;
  std::size_t of_host = 256;  ///< that asks
  /// From when nobody wants a label any more until it may stand for something else.
  std::chrono::seconds rest{60};
};

/// What a label stands for: hosts by VTEP.
struct LabelMeaning {
  policy::IpAddress from, to;
  policy::Vni vni = 0;

  std::weak_ordering operator<=>(const LabelMeaning&) const = default;
  bool operator==(const LabelMeaning&) const = default;
};

class LabelBook {
 public:
  explicit LabelBook(LabelBookLimits limits = {}) : limits_(limits) {}

  /// What an earlier agent of this host has given out: wanted until want() says otherwise.
  void adopt(const std::vector<overlay::RelayEntry>& entries);
  /// All that the host with the VTEP `from` wants. Those it does not want any more rest. What is
  /// beyond the limits gets no label.
  void want(const policy::IpAddress& from, const std::set<LabelMeaning>& meanings,
            policy::Time now);
  /// Ends the rest of those that have rested for long enough. True if there were any.
  bool look(policy::Time now);

  std::optional<policy::Vni> label_of(const LabelMeaning& meaning) const;
  bool empty() const { return given_.empty(); }
  /// All, those that rest included: what the datapath relays.
  std::vector<overlay::RelayEntry> entries() const;
  /// Hosts for which there are labels, which do not rest.
  std::set<policy::IpAddress> askers() const;
  /// Labels that do not rest.
  std::size_t wanted() const;

 private:
  struct Given {
    policy::Vni label = 0;
    std::optional<policy::Time> unwanted = {};  // since when it rests
  };

  bool give(const LabelMeaning& meaning);

  LabelBookLimits limits_;
  std::map<LabelMeaning, Given> given_;  // by host that asks, first
  std::set<policy::Vni> taken_;
};

}  // namespace homeport::agent
