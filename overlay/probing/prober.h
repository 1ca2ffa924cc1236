// When which way to another host is asked, and what the answers say: a state machine without I/O.
//
// It is told which ways there are and what the wire (overlay/datapath/probe_wire.h) has to tell,
// and says what to ask and what is known of each way. A way is asked often while there is something
// to find out, and rarely once there is not (times of ProbeSettings::fast in parentheses):
//
//   new, or it has come back     every 45 ms (5 ms) until three asks were answered
//                                or, of one that has never answered, a second is over
//   an answer is overdue         every 22 ms (4 ms) until one comes or it is dead: five asks had
//                                none, the first of them for 180 ms (30 ms)
//   dead                         every second
//   in use, frames are sent      once nothing has come from its other end for 30 ms (8 ms), every
//                                45 ms (5 ms); while something comes it need not be asked
//   in use, of which the         every 45 ms (5 ms)
//   datapath tells nothing
//   a lane runs on it            every 45 ms (5 ms)
//   in use, and frames flow      every second
//   watched, and frames flow     every 3 ms, so that 2% of loss shows within a second; every
//                                millisecond while it is in doubt whether more is lost than before
//                                (policy::LossMeter), and 16 times when answers take longer
//   otherwise                    every 2 s; 16 times every 45 ms when an ask is lost or answers
//                                take longer
//
// A blackhole of a way that frames are sent on is found within 20 + 30 + 180 ms (5 + 8 + 30 ms) and
// a round trip, later only on ways whose round trips take longer than that or vary as much. The
// last three rows are stretched for the budgets (pace.h): 400 settled ways are asked every 18 s.
#pragma once

#include "overlay/datapath/probe_wire.h"
#include "overlay/probing/pace.h"
#include "overlay/probing/probe_settings.h"
#include "policy/error.h"
#include "policy/path/path.h"
#include "policy/path/quality.h"

#include <cstdint>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace homeport::overlay {

/// What is asked, and for what.
struct ProbedWay {
  policy::PathId path;
  ProbePair pair;
  bool in_use = false;  ///< by some class: this host sends that class's frames on it
  bool fast = false;    ///< its failure is to be found with ProbeSettings::fast
  bool lane = false;    ///< a lane of a move runs on it, of which the datapath tells nothing
  /// In use by a class that is to leave it within a second when it gets worse: interactive.
  bool watched = false;
  /// Bytes of the largest IP packet that the interfaces of both ends carry, the lesser of what is
  /// known; 0: not known, and the path MTU is not measured.
  std::uint32_t mtu = 0;
  std::uint64_t speed = 0;  ///< bit/s of the slower end; 0: not known. Watching takes 0.5% of it.

  bool operator==(const ProbedWay&) const = default;
};

struct ProbeTotals {
  std::uint64_t asked = 0;
  std::uint64_t answered = 0;
};

class Prober {
 public:
  /// `seed`: of tokens, and of when exactly a way is asked, so that hosts do not ask in step. From
  /// a source that others cannot guess.
  explicit Prober(ProbeSettings settings, std::uint64_t seed);
  ~Prober();
  Prober(const Prober&) = delete;
  Prober& operator=(const Prober&) = delete;

  /// The ways to a peer: they take the place of those before, and what is known of those that stay
  /// is kept. One that comes to another that carries is said not to carry until it has answered.
  /// kMostPaths of them. Look after it.
  void follow(const std::string& peer, std::vector<ProbedWay> ways, policy::Time now);
  void forget(const std::string& peer);

  /// What the wire has handed over: all of it, before each look.
  void answered(const ProbeAnswer& answer);
  /// What ProbeWire::heard() and used() say, before a look that Look::poll_heard or poll_used asks
  /// them for; more often does no harm. If they fail: nothing, that is, an empty list.
  void heard(std::span<const ProbesHeard> heard);
  void used(std::span<const WayUsed> used, policy::Time now);
  /// Lanes, of whichever of both hosts, got something through on that way, lastly then.
  void carried(const ProbePair& pair, policy::Time last);
  /// The wire could not send an ask of the last look. If there is no way to there, as opposed to no
  /// room in a queue, that counts as an ask without an answer.
  void refused(const ProbeAsk& ask, const policy::Error& error, policy::Time now);

  /// A stretch of a transfer to `peer` on that way; see BandwidthMeter::transferred().
  void transferred(const std::string& peer, const ProbePair& pair, std::uint64_t bytes,
                   policy::Micros duration, bool backlogged, policy::Time now);

  struct Look {
    std::vector<ProbeAsk> asks;  ///< to be sent now
    /// Peers of which something is known otherwise than at the last look that named them: a way
    /// died or came up, or is not followed any more, or what it is like has changed materially
    /// (policy::differ_materially(), and for a watched way what interactive traffic would notice).
    /// reports() has it.
    std::vector<std::string> news;
    policy::Time again = policy::Time::max();  ///< look no later than that
    /// To be told before a look at that time; not before one that is earlier, for an answer.
    bool poll_used = false;
    bool poll_heard = false;
    /// To be told before the next look what has been carried(): an answer is overdue.
    bool poll_carried = false;
  };
  Look look(policy::Time now);

  /// What is known of each way of the peer, in the order they were given; empty: it is not known.
  std::vector<policy::PathReport> reports(const std::string& peer, policy::Time now) const;
  ProbeTotals totals(const std::string& peer) const;

 private:
  struct Followed;
  struct Peer {
    std::vector<std::unique_ptr<Followed>> ways;
    ProbeTotals totals;
  };

  void drop(Followed& way);
  void touch(Followed& way);
  void schedule(Followed& way, policy::Time now, policy::Time soonest = policy::Time::min());
  void judge(Followed& way, policy::Time now, Look& look);
  void hasten_others(const Followed& failing, policy::Time now);
  void excuse_absence(policy::Time now);
  void recount(policy::Time now);
  void allow_closely(policy::Time now);
  void plan(policy::Time now, Look& look);

  const ProbeSettings settings_;
  std::mt19937_64 random_;
  std::map<std::string, Peer> peers_;
  std::multimap<ProbePair, Followed*> by_pair_;
  std::uint64_t last_id_ = 0;
  std::map<std::pair<policy::Time, std::uint64_t>, Followed*> due_;  // by id where at once
  std::vector<Followed*> touched_;  // of which something has been heard since the last look
  std::vector<Followed*> in_use_;
  std::set<std::string> left_;  // peers that have fewer ways since the last look

  bool recount_ = true;
  ProbePace pace_;
  double closely_left_;  // asks
  policy::Time closely_at_{};
  bool any_frames_ = false, any_fast_ = false, any_owes_ = false;

  policy::Time promised_ = policy::Time::max();  // the next look
  policy::Time used_at_{}, heard_at_{};          // last told
  bool heard_told_ = false;
  std::uint64_t used_round_ = 0;
};

}  // namespace homeport::overlay
