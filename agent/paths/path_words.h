// The paths to a peer in words: why one was taken, why one has its place, what would change that.
// Sentences for the status server and the log; the figures in them are policy/path/explain.h's.
#pragma once

#include "agent/status/path_model.h"
#include "policy/path/chooser.h"
#include "policy/path/conversation.h"
#include "policy/path/explain.h"

#include <optional>
#include <span>
#include <string>

namespace homeport::agent {

/// Whose eyes it is seen with.
struct PathsViewer {
  policy::Side side;  ///< of this host
  const std::string& peer;
  const policy::Conversation& known;  ///< for the names of interfaces
};

PathSnapshot seen_by(const PathsViewer& viewer, const policy::PathId& path);

/// "eth0 192.0.2.1 -> eth1 198.51.100.1", with " through hostC" if it is relayed.
std::string words_of(const PathSnapshot& path);

/// "bulk goes A -> B instead of C -> D: ...". `ranked`: the order that the change was made by.
std::string change_words(const PathsViewer& viewer, policy::TrafficClass traffic,
                         const std::optional<policy::PathId>& from,
                         const std::optional<policy::PathId>& to, policy::ChoiceCause cause,
                         std::span<const policy::RankedPath> ranked);

/// Why the path has taken the place of another, as the end of a sentence.
std::string cause_words(policy::ChoiceCause cause, const std::string& peer);

/// Why the path at `index` has its place in the order, as a sentence.
std::string place_words(const PathsViewer& viewer, std::span<const policy::RankedPath> ranked,
                        std::size_t index);

/// What would put it first, as a sentence; empty: nothing has to.
std::string remedy_words(std::span<const policy::RankedPath> ranked, std::size_t index,
                         const policy::ChooserPolicy& chooser);

}  // namespace homeport::agent
