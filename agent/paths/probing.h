// Keeps a Prober and the wire together: asks when it is time, and says when something is news.
#pragma once

#include "overlay/channel/lane_traffic.h"
#include "overlay/datapath/probe_wire.h"
#include "overlay/probing/prober.h"

#include <boost/asio/any_io_executor.hpp>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace homeport::agent {

/// Used on one executor, the datapath's.
class Probing {
 public:
  /// `lanes`: what they carry counts, too; or nullptr. `news`: something is known otherwise than
  /// before of the ways to that peer.
  Probing(boost::asio::any_io_executor executor, std::unique_ptr<overlay::ProbeWire> wire,
          std::shared_ptr<overlay::LaneTraffic> lanes,
          std::function<void(const std::string& peer)> news);
  /// The wire goes with it, and there is no news any more.
  ~Probing();

  /// See Prober::follow().
  void follow(const std::string& peer, std::vector<overlay::ProbedWay> ways);
  void forget(const std::string& peer);
  /// See Prober::transferred().
  void transferred(const std::string& peer, const overlay::ProbePair& pair, std::uint64_t bytes,
                   policy::Micros duration, bool backlogged);
  std::vector<policy::PathReport> reports(const std::string& peer) const;
  overlay::ProbeTotals totals(const std::string& peer) const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace homeport::agent
