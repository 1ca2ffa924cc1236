// This host's side of negotiating paths with one peer: a state machine without I/O.
//
// It is told what this host offers and has measured, what the controller asks for, and what the
// peer says; it answers with what to say to the peer, which path to send each class of traffic on,
// and when to look again. Whatever it is told, it looks at everything anew, as the other side does:
// statements (statement.h) say how things stand, so neither has to know what the other was doing.
//
//   what is said     speaker.h    when, and how much of it
//   what is heard    peer_view.h  the peer's last statement
//   what is known    own_reports.h, policy/path/rank.h
//   what is used     agreement.h  for each class, one machine: its states are drawn there
#pragma once

#include "overlay/negotiation/agreement.h"
#include "overlay/negotiation/own_reports.h"
#include "overlay/negotiation/peer_view.h"
#include "overlay/negotiation/speaker.h"
#include "overlay/negotiation/statement.h"
#include "policy/path/class_policy.h"
#include "policy/path/conversation.h"
#include "policy/path/rank.h"

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace homeport::overlay {

struct NegotiationSettings {
  SpeakerTimes speaker = {};
  policy::ChooserPolicy chooser = {};
  policy::DampingPolicy damping = {};
  /// Without measuring, after which nothing is known: as the prober sees it, whose reports say how
  /// old they are (policy::EstimateLimits::fresh_for).
  policy::Micros own_fresh_for{30'000'000};
  /// Likewise, by what the peer has measured: it says so again every SpeakerTimes::sign_of_life.
  policy::Micros peer_fresh_for{45'000'000};
};

/// What an earlier run of this agent has left in use: told first, if at all. It stays in use until
/// both hosts have said what they offer.
struct FoundInUse {
  policy::PerClass<std::optional<policy::PathId>> paths;
};
/// The interfaces that this host offers. Those that another host cannot use are left out, and
/// those beyond kMostEnds.
struct OffersEnds {
  std::vector<policy::PathEnd> ends;
};
/// Everything this host has measured; what is left out is not known. Relayed paths are offered by
/// being in here. Told when something has changed, and now and then: reports grow old.
struct HasMeasured {
  std::vector<policy::PathReport> reports;
};
struct PolicyIs {
  policy::PathPolicy policy;
};
struct PeerSays {
  PathStatement statement;
};
/// There is a channel to the peer, again or for the first time.
struct Connected {};
/// There is none any more.
struct Disconnected {};
/// The moment that NegotiationActions::look_again named.
struct TimeHasCome {};

using NegotiationEvent = std::variant<FoundInUse, OffersEnds, HasMeasured, PolicyIs, PeerSays,
                                      Connected, Disconnected, TimeHasCome>;

struct PathUse {
  policy::TrafficClass traffic;
  std::optional<policy::PathId> path;  ///< none: no path is usable
  policy::ChoiceCause cause;
};

struct NegotiationActions {
  std::optional<PathStatement> say;  ///< to the peer; if it cannot be sent it may be dropped
  std::vector<PathUse> use;          ///< at once: the peer receives on every path
  policy::Time look_again = policy::Time::max();
};

class PathNegotiator {
 public:
  /// The two hosts have different names. `epoch`: another each time the agent starts, and greater,
  /// such as the microseconds since 1970; that a clock was set back is made good.
  PathNegotiator(std::string own_host, std::string peer_host, std::uint64_t epoch,
                 NegotiationSettings settings = {});

  NegotiationActions on(NegotiationEvent event, policy::Time now);

  AgreementRole role() const { return role_; }
  const Agreement& agreement(policy::TrafficClass traffic) const { return agreements_[traffic]; }
  const PathChoice& peers_choice(policy::TrafficClass traffic) const {
    return peer_.choices()[traffic];
  }
  /// The paths as they were last ranked, best first.
  const std::vector<policy::RankedPath>& ranked(policy::TrafficClass traffic) const {
    return ranked_[traffic];
  }
  /// What both hosts offer and have measured, as far as it is known here.
  policy::Conversation conversation(policy::Time now) const;
  const policy::FlapHistory& flaps() const { return own_.flaps(); }
  const NegotiationSettings& settings() const { return settings_; }
  /// Of what this host says.
  std::uint64_t epoch() const { return speaker_.id().epoch; }
  /// The peer has what was said last.
  bool heard_by_peer() const { return speaker_.acknowledged(); }

 private:
  void take(FoundInUse&& event, policy::Time now);
  void take(OffersEnds&& event, policy::Time now);
  void take(HasMeasured&& event, policy::Time now);
  void take(PolicyIs&& event, policy::Time now);
  void take(PeerSays&& event, policy::Time now);
  void take(Connected&& event, policy::Time now);
  void take(Disconnected&& event, policy::Time now);
  void take(TimeHasCome&& event, policy::Time now);

  void review(policy::Time now, std::vector<PathUse>& use);
  PathStatement compose(policy::Time now);
  policy::Time look_again(policy::Time now) const;

  std::string own_host_, peer_host_;
  policy::Side side_;
  AgreementRole role_;
  NegotiationSettings settings_;

  policy::PathPolicy policy_;
  /// Before that nothing is said: an agent that has started again does not take back what it
  /// offered.
  bool has_offered_ = false;
  std::vector<policy::PathEnd> ends_;
  OwnReports own_;
  PeerView peer_;
  Speaker speaker_;
  policy::PerClass<Agreement> agreements_;
  policy::PerClass<std::vector<policy::RankedPath>> ranked_;
};

}  // namespace homeport::overlay
