// This host's interfaces as the kernel has them, those of them that are offered to other hosts, and
// the routes by which what has the address of one leaves by it.
#pragma once

#include "agent/control/database.h"
#include "agent/control/records.h"
#include "agent/paths/offer.h"
#include "overlay/datapath/probe_wire.h"
#include "overlay/link/monitor.h"

#include <map>
#include <set>
#include <string>
#include <vector>

namespace homeport::agent {

/// Used on the control executor only. What changes the offer is true where that makes a difference
/// to other hosts.
class OwnEnds {
 public:
  OwnEnds(std::string host, UnderlayChoice choice, const ControlDatabase& database)
      : host_(std::move(host)), choice_(std::move(choice)), database_(database) {}

  /// Asks the kernel, and mends the routes.
  bool look();
  /// look() has had an answer.
  bool looked() const { return looked_; }
  /// Takes in what the control database says of them, and mends the routes.
  bool follow_database();
  /// The interfaces that are offered and have no carrier, by ethtool: events come late.
  std::set<std::string> without_carrier() const;
  /// The interface is told to have lost its carrier. The routes are as they were: route() is due,
  /// once everybody has been told.
  bool lost_carrier(const std::string& name);
  void route();

  const Offer& offer() const { return offer_; }
  /// This host has had more than one interface to offer.
  bool has_choice() const { return has_choice_; }
  /// The addresses of all interfaces.
  const std::set<policy::IpAddress>& addresses() const { return addresses_; }
  bool may_change(const overlay::LinkEvent& event) const;

  /// Whether what is sent from the one address to the other leaves by the interface that has the
  /// former: by another it may not come back, or be dropped for its source (BCP 38).
  bool leaves_by_its_interface(const overlay::ProbePair& pair);

 private:
  bool look_at_default_routes();
  bool make_offer();

  std::string host_;
  UnderlayChoice choice_;
  const ControlDatabase& database_;
  std::vector<Interface> interfaces_;
  std::set<policy::IpAddress> addresses_;
  std::set<std::string> default_routes_;
  bool looked_ = false;
  std::map<overlay::ProbePair, bool> routed_;  // see leaves_by_its_interface()
  Offer offer_;
  bool has_choice_ = false;
  std::string routing_problem_;
};

}  // namespace homeport::agent
