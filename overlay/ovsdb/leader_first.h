// Which server of a cluster a session keeps to: the one that leads.
//
// What is written through another one is sent back whenever the cluster commits anything else
// meanwhile ("does not match prerequisite", ovsdb/raft.c), so that with many writers hardly
// anything gets through; at the leader it waits its turn. And another one may lag. But a relay
// never leads, and the leader may be the one server that cannot be reached: whichever answers
// serves then, until the session breaks or it is time to look for the leader again.
#pragma once

#include <chrono>
#include <cstdint>
#include <random>

namespace homeport::overlay::ovsdb {

/// Pure: told the time and how things stand.
///
///                 in sync                     kPatience
///   led  <---------------------- searching --------------> anyone
///    |                           ^  ^   ^                    |
///    '------ not in sync --------'  |   '-- not in sync --.  | in sync
///                                   |                     |  v
///                                   '----- its wait ----- served
class LeaderFirst {
 public:
  using Clock = std::chrono::steady_clock;
  using Time = Clock::time_point;

  /// Without one, whichever answers serves.
  static constexpr std::chrono::milliseconds kPatience{3'000};
  /// After which the leader is looked for again, and up to as much later: a fleet does not come
  /// back at once. Twice as long after each time that it was not found: where there are only
  /// relays, each costs the session kPatience.
  static constexpr std::chrono::milliseconds kFirstWait{20'000};
  static constexpr std::chrono::milliseconds kLongestWait{86'400'000};

  /// `choice`: there is more than one server to choose from.
  LeaderFirst(bool choice, Time now, std::uint32_t seed);

  /// `in_sync`: with a server that was accepted by what the last call said.
  void look(bool in_sync, Time now);
  /// Whether no other server than the leader is to be accepted.
  bool leader_only() const { return state_ == State::searching || state_ == State::led; }
  /// When look() may come to another result although `in_sync` is the same; Time::max(): never.
  Time again() const { return due_; }

 private:
  enum class State : std::uint8_t { searching, led, anyone, served };

  State next(bool in_sync, Time now) const;
  void enter(State state, Time now);

  bool choice_;
  State state_ = State::anyone;
  Time due_ = Time::max();
  std::chrono::milliseconds wait_ = kFirstWait;
  std::minstd_rand random_;
};

}  // namespace homeport::overlay::ovsdb
