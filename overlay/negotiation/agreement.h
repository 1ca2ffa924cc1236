// Which path two hosts use for one class of traffic.
//
// The host whose name sorts first controls: it nominates a path and uses it at once. The other one
// follows, and says so. Both can receive on every path at any time, so neither waits for the other
// before it sends on another path, and nothing is lost in between. Whoever sees that the path
// carries no more leaves it at once: the controlling host by a new nomination, the other one for
// the best path it knows, of which it tells; as both rank alike, that is most often what is
// nominated next.
//
//   controlling      first usable path                 it follows
//           idle ---------------------> nominated --------------------> agreed
//             ^                          |   ^  ^                        |  |
//             '------ nothing usable ----'   |  '--- lost, or better ----'  |
//             '------------------------------+------ nothing usable --------'
//                                            '-- lost, pinned: at once; never for one that is
//                                                only better before the last is agreed
//
//   following        no nomination yet, and a usable path
//           idle ---------------------> apart <------------------ agreed
//             ^                          |      nominated path broken or not offered
//             '------ nothing usable ----'                          ^
//             '------ nothing nominated -------------------------.  |
//                                        |  nominated path carries  |
//                                        '--------------------------'
#pragma once

#include "overlay/negotiation/statement.h"
#include "policy/path/chooser.h"
#include "policy/path/rank.h"

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace homeport::overlay {

enum class AgreementRole : std::uint8_t { controlling, following };

enum class AgreementState : std::uint8_t {
  idle,       ///< no path is used
  nominated,  ///< controlling: used here, the other host has not said yet that it follows
  apart,      ///< following: another path than the nominated one is used, or none is nominated yet
  agreed,     ///< both use the nominated path, and have said so
};

class Agreement {
 public:
  Agreement(AgreementRole role, policy::ChooserPolicy policy) : role_(role), chooser_(policy) {}

  /// Goes on with the path that an earlier run of the agent has left in use.
  void adopt(policy::Time now, const std::optional<policy::PathId>& path);

  /// Looks at how things stand: the order of the paths as it is now, and what the other host uses.
  /// `next_nomination` is the number of the nomination if there is to be one. Says why the path is
  /// another than before, if it is.
  policy::ChoiceCause review(policy::Time now, std::span<const policy::RankedPath> ranked,
                             const PathChoice& theirs, std::uint64_t next_nomination);

  AgreementState state() const { return state_; }
  /// What this host uses, to be told to the other.
  const PathChoice& choice() const { return choice_; }
  /// When review() may come to another result although nothing has changed; Time::max(): never.
  policy::Time next_look() const;

 private:
  policy::ChoiceCause nominate(policy::Time now, std::span<const policy::RankedPath> ranked,
                               const PathChoice& theirs, std::uint64_t next_nomination);
  policy::ChoiceCause follow(policy::Time now, std::span<const policy::RankedPath> ranked,
                             const PathChoice& nominated);

  AgreementRole role_;
  policy::Chooser chooser_;
  PathChoice choice_;
  AgreementState state_ = AgreementState::idle;
};

std::string_view to_string(AgreementRole role);
std::string_view to_string(AgreementState state);

}  // namespace homeport::overlay
