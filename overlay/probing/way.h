// One way to another host: what was asked on it and has not been answered, what is known of it, and
// when it is to be asked again.
//
//                  three answers
//     deciding ---------------------> settled <-------------------------.
//        ^  |                            | an answer is overdue,        | so many asks later
//        |  | no answer                  | lost, or is another          |
//        |  |                            v                              |
//        |  |                        examined --------------------------'
//        |  v                            | no answer for `dead_after`
//        |  dead <-----------------------'
//        '---'  an answer
//
// How often it is asked in a state is a matter of its use (prober.h).
#pragma once

#include "overlay/probing/mtu_search.h"
#include "overlay/probing/pace.h"
#include "overlay/probing/prober.h"
#include "policy/path/estimate.h"

#include <cstdint>
#include <deque>
#include <optional>
#include <random>

namespace homeport::overlay {

using ProbeRandom = std::mt19937_64;

class Way {
 public:
  Way(ProbedWay what, const ProbeSettings& settings, policy::Time now, ProbeRandom& random);

  const ProbedWay& what() const { return what_; }
  void set_what(ProbedWay what);
  void begin_down() { estimator_.begin_down(); }
  /// No other way in use ends at the same address: what comes from there comes on this one.
  void set_alone_at_remote(bool alone) { alone_at_remote_ = alone; }

  /// Whether it is an answer to something that was asked.
  bool answered(const ProbeAnswer& answer);
  /// Whether that is news.
  bool heard(policy::Time last);
  void used(const WayUsed& used, policy::Time now);
  void carried(policy::Time last) { estimator_.carried(last); }
  void transferred(policy::Time now, std::uint64_t bytes, policy::Micros duration,
                   bool backlogged) {
    estimator_.transferred(now, policy::Direction::out, bytes, duration, backlogged);
  }
  /// used() was not called: the datapath tells nothing of it.
  void not_told_of() { told_of_ = false; }
  /// `lasting`: it says something about the way, and not about this host's memory.
  void refused(std::uint64_t token, bool too_big, bool lasting, policy::Time now);
  void stood_still(policy::Time now, policy::Micros time) { estimator_.stood_still(now, time); }
  /// Another way of the peer's fails: what is known of this one has to be true.
  void hasten(policy::Time now);

  /// What is due now, if anything is.
  std::optional<ProbeAsk> ask(policy::Time now, const ProbePace& pace, ProbeRandom& random);
  /// It is asked as often as is allowed, to find out whether it has become worse.
  bool asked_closely(policy::Time now) const;
  /// When something will be due, or will be known otherwise without an answer.
  policy::Time next(policy::Time now, const ProbePace& pace) const;

  bool dead(policy::Time now) const { return estimator_.dead(now); }
  /// An answer is overdue.
  bool owes(policy::Time now) const { return now >= overdue_at(); }
  /// Frames were seen lately, and flow if they have been for a while.
  bool has_frames(policy::Time now) const;
  bool flows(policy::Time now) const;
  /// Its getting worse is to be noticed soon.
  bool watched(policy::Time now) const;
  bool measured(policy::Time now) const { return estimator_.quality(now).measured(); }
  policy::PathReport report(policy::Time now) const;

  /// Something is known otherwise than when this was last true.
  bool has_news(policy::Time now);

 private:
  struct Asked {
    std::uint64_t token;
    policy::Time at;
    std::uint32_t size;   // 0: the smallest
    std::uint64_t index;  // of those of the smallest size, from 1; of others, of the last of them
  };
  // An answer that is not counted yet: those to what was asked before may still come.
  struct Came {
    Asked asked;
    std::optional<std::uint64_t> heard;  // ProbeAnswer::heard
  };

  const ProbeTimes& times() const { return what_.fast ? settings_.fast : settings_.ordinary; }
  policy::Time overdue_at() const;
  policy::Time ask_at(policy::Time now, const ProbePace& pace) const;
  policy::Micros interval(policy::Time now, const ProbePace& pace) const;
  policy::Micros within_speed(policy::Micros interval, unsigned share) const;
  policy::Time unheard_at() const;
  policy::Time mtu_at(policy::Time now, const ProbePace& pace) const;
  policy::Micros jittered(policy::Micros time) const;
  std::optional<ProbeAsk> ask_mtu(policy::Time now, ProbeRandom& random);
  ProbeAsk note(policy::Time now, std::uint32_t size, ProbeRandom& random);
  void count(const ProbeAnswer& answer, const Asked& asked);
  void count_settled(policy::Time now);
  bool before_is_missing(const Asked& asked);
  bool may_be_better(policy::Time now, policy::Micros rtt) const;
  void note_lateness(bool late, policy::Time now);
  void count_anew();
  void examine(policy::Time now);
  bool can_ask_mtu(policy::Time now) const;
  void note_mtu(policy::Time now);
  bool noticed_by_interactive(const policy::PathQuality& now) const;

  const ProbeSettings& settings_;
  ProbedWay what_;
  policy::PathEstimator estimator_;

  std::deque<Asked> outstanding_;
  std::uint64_t asked_ = 0;         // of the smallest size
  std::deque<Came> came_;           // in the order in which they were asked
  policy::Time settled_{};          // what was asked until then is counted
  std::uint64_t answered_ = 0;      // of all sizes, that were counted
  std::uint64_t mtu_answered_ = 0;  // of larger ones
  std::uint64_t missed_ = 0;        // no ask before this index makes it be examined any more
  policy::Time asked_at_;           // last, or as if
  double jitter_ = 1;
  unsigned deciding_;       // so many answers more
  unsigned examining_ = 0;  // so many asks more
  unsigned late_ = 0;       // answers in a row
  policy::Time examine_again_{};
  policy::Micros::rep stretched_ = 1;  // for the number of ways

  bool told_of_ = false;
  bool prompt_ = true;  // WayUsed::prompt
  bool alone_at_remote_ = true;
  std::optional<policy::Time> frames_sent_, frames_heard_;
  std::optional<policy::Time> frames_last_;  // the later of both
  policy::Time frames_since_{};              // without ProbeSettings::recent between them
  std::optional<policy::Time> life_;         // the last answer
  std::optional<policy::Time> peers_ask_;    // the last that was heard

  MtuSearch mtu_;
  std::optional<policy::Time> mtu_begun_;
  policy::Time mtu_asked_{};
  std::uint64_t mtu_token_ = 0;  // 0: none is out

  policy::PathQuality noted_;
  policy::Time noted_at_{};
};

}  // namespace homeport::overlay
