// A prober with the ways it asks about, in simulated time: what each way does to packets is the
// test's to say, and so is what frames applications send.
#pragma once

#include "overlay/probing/prober.h"
#include "tests/unit/policy/path/paths.h"

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace homeport::overlay {

using policy::Micros;
using policy::PathReport;
using policy::Time;

/// What is true of a way, and what applications do on it.
struct TrueWay {
  Micros out{5'000}, in{5'000};  ///< one way
  Micros jitter{};               ///< mean of an exponential delay on top, in each direction
  double late = 0;  ///< share of packets that a busy host keeps for `late_by`, in each direction
  Micros late_by{8'000};
  double out_loss = 0, in_loss = 0;
  bool out_carries = true, in_carries = true;
  std::uint32_t mtu = 9000;
  bool sends = false;     ///< this host sends a frame every millisecond
  bool receives = false;  ///< so does the peer
  bool counts = true;     ///< the peer says how many asks it has heard
  bool peer_asks = false;
  bool lane = false;     ///< and a lane is got through, of whichever host, as long as both carry
  bool swamped = false;  ///< what it carries is so much that probes are late by more than seconds

  std::uint64_t heard = 0;  // by the peer
  std::optional<Time> frame_heard = {}, frame_sent = {};
  std::optional<Time> carried = {};
};

class ProbedNetwork {
 public:
  explicit ProbedNetwork(unsigned seed, ProbeSettings settings = {});

  /// A way between 192.0.2.`local` and 198.51.100.`remote`, for tests with few of them.
  static ProbedWay way(int local, int remote);
  static ProbedWay used(ProbedWay way) {
    way.in_use = true;
    return way;
  }

  policy::Random random;
  Prober prober;
  std::map<ProbePair, TrueWay> truth;  ///< what is not in here carries nothing
  bool tells_use = true;               ///< used() says something
  bool tells_promptly = true;          ///< otherwise half a second later
  bool answers = true;                 ///< otherwise the answers are lost at this host
  std::optional<boost::system::errc::errc_t> refuses = {};

  void follow(const std::string& peer, const std::vector<ProbedWay>& ways);
  /// Looks whenever it is asked to.
  void run(Micros time);
  /// Lets time pass in which nobody looks.
  void stand_still(Micros time) { now_ += time; }
  /// Runs until the way is known to be broken; how long that took.
  std::optional<Micros> until_broken(const std::string& peer, const ProbedWay& way, Micros most);
  /// Likewise until a condition holds at a look that names the peer.
  template <class Condition>
  std::optional<Micros> until(const std::string& peer, Condition holds, Micros most) {
    const Time begin = now_;
    while (now_ - begin < most) {
      named_.clear();
      step(begin + most);
      if (named_.contains(peer) && holds()) {
        return std::chrono::duration_cast<Micros>(now_ - begin);
      }
    }
    return std::nullopt;
  }
  PathReport report(const std::string& peer, const ProbedWay& way) const;
  policy::PathQuality quality(const std::string& peer, const ProbedWay& way) const {
    return report(peer, way).quality;
  }

  Time now() const { return now_; }
  void forget_totals() { asks_of_.clear(), asks_ = looks_ = bytes_ = polls_ = 0; }
  std::uint64_t asks() const { return asks_; }
  std::uint64_t asks_of(const ProbedWay& way) { return asks_of_[way.pair]; }
  std::uint64_t looks() const { return looks_; }
  std::uint64_t polls() const { return polls_; }
  /// On the wire: asks, and answers where there are any.
  std::uint64_t bytes() const { return bytes_; }
  /// The most asks that one look has had.
  std::size_t burst() const { return burst_; }

 private:
  void step(Time end);
  void look();
  void send(const ProbeAsk& ask);
  Micros delay(Micros least, const TrueWay& way);
  void tell_heard();
  void tell_carried();
  void tell_used();

  Time now_ = policy::at(Micros(1'000'000));
  Prober::Look last_;
  std::multimap<Time, ProbeAnswer> on_their_way_;
  std::set<std::string> named_;
  std::map<ProbePair, std::uint64_t> asks_of_;
  std::uint64_t asks_ = 0, looks_ = 0, bytes_ = 0, polls_ = 0;
  std::size_t burst_ = 0;
};

}  // namespace homeport::overlay
