// This host's side of what it and one peer say to each other about relaying: a state machine
// without I/O. Statements say how things stand (relay_statement.h), so that what is lost, comes
// twice or late, or was said to an earlier run of either agent does no harm.
//
//   nothing to say ---- asks, answers ----> unheard --.
//          ^                                 |   ^    | repeated, at growing intervals
//          | nothing is asked or answered    |   '----'
//          |                       it has    |
//          '------------------- heard <------'
//                                |   ^
//                                '---' answers: every SpeakerTimes::sign_of_life, as they grow old
#pragma once

#include "overlay/negotiation/relay_statement.h"
#include "overlay/negotiation/speaker.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace homeport::overlay {

class RelayTalk {
 public:
  /// `epoch`: as PathNegotiator has it.
  explicit RelayTalk(std::uint64_t epoch, SpeakerTimes times = {}) : speaker_(epoch, times) {}

  /// All that this host asks of the peer, and all that it answers to what the peer has asked. What
  /// is beyond the bounds is left out.
  void ask(std::vector<RelayAsk> asks);
  void answer(std::vector<RelayAnswer> answers, policy::Time now);
  /// There is a channel to the peer, again or for the first time.
  void connected();
  /// False if that was known, or is out of date.
  bool heard(RelayStatement statement, policy::Time now);

  /// What is to be said now, if anything is. If it cannot be sent it may be dropped.
  std::optional<RelayStatement> speak(policy::Time now);
  /// When speak() has something to say if nothing else happens; Time::max(): never.
  policy::Time due() const;

  /// What the peer has asked for; nullopt: it has not said anything yet.
  const std::optional<std::vector<RelayAsk>>& asked() const { return asked_; }
  /// What the peer has answered about a host, its report `limit` old at most, or else empty;
  /// nullopt: nothing.
  std::optional<RelayAnswer> told_of(const std::string& host, policy::Time now,
                                     policy::Micros limit) const;

 private:
  struct Told : RelayAnswer {
    policy::Time at{};  // when its report came
  };

  bool has_something_to_say() const;

  Speaker speaker_;
  std::vector<RelayAsk> asks_;
  std::vector<RelayAnswer> answers_;
  policy::Time answered_{};
  bool spoken_ = false;  // the peer may have something to forget

  StatementId last_;  // of the peer's
  std::optional<std::vector<RelayAsk>> asked_;
  std::vector<Told> told_;
};

}  // namespace homeport::overlay
