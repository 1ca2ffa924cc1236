// When to say something to the other host, and what of it: a statement's number, what the other
// host has of it already, and the times in between.
//
// What has changed urgently is said at once, other changes soon, what was not acknowledged again
// and again at growing intervals, and everything measured now and then even if nothing has changed:
// the other host forgets what is old. Pure: the caller says what time it is, and speaks.
#pragma once

#include "overlay/negotiation/statement.h"
#include "policy/path/path.h"

#include <cstdint>

namespace homeport::overlay {

struct SpeakerTimes {
  policy::Micros least_gap{5'000};       ///< between two statements, whatever happens
  policy::Micros soon{200'000};          ///< since the last one, for what is not urgent
  policy::Micros first_repeat{200'000};  ///< without an acknowledgement; doubled each time, up to
  policy::Micros last_repeat{1'000'000};
  policy::Micros sign_of_life{10'000'000};  ///< since the last one, if nothing changes
};

class Speaker {
 public:
  enum class Part : std::uint8_t { ends, reports, choices };
  enum class Haste : std::uint8_t { urgent, soon };

  Speaker(std::uint64_t epoch, SpeakerTimes times) : run_(epoch), id_{epoch, 1}, times_(times) {}

  StatementId id() const { return id_; }
  bool acknowledged() const { return acknowledged_ == id_.revision; }
  /// The next statement is more than a sign of life, or a repetition.
  bool has_news() const { return urgent_ || soon_ || !spoken_; }

  void changed(Part part, Haste haste);
  /// The other host wants to know that what it has said has arrived.
  void owes_answer() { urgent_ = true; }
  /// The last statement that the other host has, by what it has said last. If this host has never
  /// said that, an earlier run of its agent has, whose epoch was no less: then it is in an epoch
  /// beyond from now on, of which nobody has heard anything.
  void peer_has(StatementId seen);
  /// The other host is to be told everything.
  void say_everything();

  /// When the next statement is due.
  policy::Time due() const;

  struct Statement {
    StatementId id;
    bool ends = false;     ///< to be said in full
    bool reports = false;  ///< likewise
    bool wants_answer = false;
  };
  /// The statement that is sent now.
  Statement speak(policy::Time now);

 private:
  std::uint64_t run_;  // the epoch that this run began with: no other run's
  StatementId id_;
  SpeakerTimes times_;
  std::uint64_t acknowledged_ = 0;  // the last revision that the other host has
  std::uint64_t ends_changed_ = 1;  // revisions
  std::uint64_t reports_changed_ = 1;
  bool urgent_ = true;
  bool soon_ = false;
  bool spoken_ = false;
  policy::Time last_{};
  policy::Micros repeat_{};  // since last_, without an acknowledgement
};

}  // namespace homeport::overlay
