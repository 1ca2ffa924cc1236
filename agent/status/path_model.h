// What one agent knows of the paths to other hosts, as plain values: part of StatusModel. The words
// are those of docs/paths.md. Filled by path_snapshot() (agent/paths/path_snapshot.h).
//
// Everything is as this host sees it: a path leads from an end here to an end there, `out` is what
// this host sends, `in` what comes to it.
#pragma once

#include "policy/path/chooser.h"
#include "policy/path/path.h"
#include "policy/path/quality.h"
#include "policy/path/rank.h"

#include <array>
#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace homeport::agent {

using SystemTime = std::chrono::system_clock::time_point;

inline constexpr std::array kStandings = {policy::Standing::pinned,     policy::Standing::good,
                                          policy::Standing::poor,       policy::Standing::damped,
                                          policy::Standing::unmeasured, policy::Standing::excluded};

/// An interface with one of its addresses.
struct PathEndSnapshot {
  policy::PathEnd end;      ///< Of one that is not offered the address may be unspecified: none.
  std::string not_offered;  ///< Why not, as a sentence; empty: it is offered.
};

struct PathPoint {
  std::string interface;  ///< Empty: no longer known.
  policy::IpAddress address;
  bool operator==(const PathPoint&) const = default;
};

struct PathSnapshot {
  PathPoint local, remote;
  std::string relay;  ///< The host it leads through; empty: none.
  bool operator==(const PathSnapshot&) const = default;
};

/// A path that both hosts offer, in its place in the order for a class.
struct CandidateSnapshot {
  PathSnapshot path;
  policy::PathQuality quality;        ///< What both hosts know together.
  std::optional<policy::Micros> age;  ///< Since either has measured it; none: nothing is known.
  bool in_use = false;                ///< By this host, for this class.
  policy::Standing standing = policy::Standing::good;
  policy::Obstacle obstacle = policy::Obstacle::none;
  std::uint64_t figure = 0;  ///< What it has, of what the obstacle is about, in that one's unit,
  std::uint64_t limit = 0;   ///< and what it should have.
  bool damped = false;
  std::optional<SystemTime> damped_until;  ///< None: it is not, or only the peer has it damped.
  std::uint64_t preference = 0;
  std::uint64_t cost = 0;
  std::optional<policy::Micros> counted;  ///< What it is compared by; none: not measured.
  std::string why;                        ///< Why it has this place, as a sentence,
  std::string remedy;                     ///< and what would give it another; empty: nothing.
};

/// That a class has got another path, or none.
struct PathChange {
  SystemTime time;
  policy::TrafficClass traffic = policy::TrafficClass::best_effort;
  std::optional<PathSnapshot> from, to;
  policy::ChoiceCause cause = policy::ChoiceCause::unchanged;
  std::string text;  ///< As a sentence.
};

/// What a class's path to a peer is, and the change that made it so: an event for whoever follows
/// the paths.
struct PathEvent {
  std::string peer;
  policy::TrafficClass traffic = policy::TrafficClass::best_effort;
  std::string state;                     ///< A word of overlay::AgreementState.
  std::optional<PathSnapshot> from, to;  ///< What was used before; what is. Without a change: `to`.
  policy::ChoiceCause cause = policy::ChoiceCause::unchanged;
  std::string text;                ///< The change as a sentence; empty: there was none.
  std::optional<SystemTime> time;  ///< Of the change; none: it was in use when this began.
  bool operator==(const PathEvent&) const = default;
};

struct ClassPathSnapshot {
  policy::TrafficClass traffic = policy::TrafficClass::best_effort;
  std::string state;                 ///< A word of overlay::AgreementState.
  std::optional<PathSnapshot> path;  ///< What this host uses,
  policy::PathQuality quality;       ///< how that is,
  std::optional<SystemTime> since;   ///< since when; none: nothing has been used yet,
  policy::ChoiceCause cause = policy::ChoiceCause::unchanged;  ///< and why.
  std::optional<PathSnapshot> peer_path;                       ///< What the peer says it uses.
  std::map<policy::ChoiceCause, std::uint64_t> changes;        ///< How many, by cause.
  std::map<policy::Standing, std::uint64_t> candidates;        ///< How many, by standing.
  // Of the one peer that is asked about only:
  std::vector<CandidateSnapshot> ranked;  ///< Best first; policy::kMostPaths at most.
  std::vector<std::string> explanation;   ///< Why this path, and what would change that: sentences.
};

struct PeerPathsSnapshot {
  std::string peer;
  std::string role;                 ///< This host's: a word of overlay::AgreementRole.
  bool connected = false;           ///< To the peer's agent,
  std::optional<SystemTime> since;  ///< or not, since when; none: never yet.
  std::uint64_t epoch = 0;          ///< Of what this host says (overlay/negotiation/statement.h).
  bool heard = false;               ///< The peer has what was said last.
  std::uint64_t probes_sent = 0;
  std::uint64_t probes_answered = 0;
  std::vector<ClassPathSnapshot> classes;  ///< One for each, in the order of kTrafficClasses.
  // Of the one peer that is asked about only:
  std::vector<PathEndSnapshot> ends;  ///< What the peer offers.
  std::vector<PathChange> recent;     ///< Oldest first; PathHistory::kKept at most.
};

/// What this host relays.
struct RelayingSnapshot {
  std::size_t hosts = 0;   ///< Hosts that it relays for.
  std::size_t labels = 0;  ///< What they send through it: a network towards a host, each.
};

struct PathsSnapshot {
  std::vector<PathEndSnapshot> ends;     ///< This host's, those that it does not offer included.
  std::vector<PeerPathsSnapshot> peers;  ///< Hosts that this one has to do with, or had lately.
  RelayingSnapshot relaying = {};
};

}  // namespace homeport::agent
