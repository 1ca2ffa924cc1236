#include "agent/paths/path_snapshot.h"

#include "agent/paths/path_words.h"
#include "agent/status/path_units.h"
#include "policy/path/conversation.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <span>
#include <utility>

namespace homeport::agent {

using overlay::AgreementRole;
using overlay::AgreementState;
using policy::Micros;
using policy::PathId;
using policy::PathQuality;
using policy::RankedPath;
using policy::TrafficClass;

namespace {

/// Of one path, whatever the class.
struct Known {
  PathQuality quality;
  std::optional<Micros> age;
  bool damped = false;
};

class PeerPaths {
 public:
  PeerPaths(const PeerPathsSource& source, PathsMoment now)
      : source_(source),
        now_(now),
        conversation_(source.negotiator.conversation(now.steady)),
        viewer_{source.history.side(), source.history.peer_host(), conversation_} {
    for (const policy::PathCandidate& candidate : policy::candidates(conversation_)) {
      const bool first = viewer_.side == policy::Side::first;
      known_[candidate.path] = {
          first ? candidate.quality : policy::seen_from_other_end(candidate.quality),
          {},
          candidate.damped};
    }
    for (const policy::Party* party : {&conversation_.first, &conversation_.second}) {
      for (const policy::PathReport& report : party->reports) note_age(report);
    }
  }

  ClassPathSnapshot of_class(TrafficClass traffic, PathsDetail detail) const {
    const overlay::PathNegotiator& negotiator = source_.negotiator;
    const std::optional<PathId>& used = negotiator.agreement(traffic).choice().path;
    const PathHistory::Current& history = source_.history.current(traffic);
    ClassPathSnapshot snapshot;
    snapshot.traffic = traffic;
    snapshot.state = to_string(negotiator.agreement(traffic).state());
    if (used) {
      snapshot.path = seen_by(viewer_, *used);
      snapshot.quality = known(*used).quality;
    }
    snapshot.since = history.since;
    snapshot.cause = history.cause;
    if (const auto& theirs = negotiator.peers_choice(traffic).path) {
      snapshot.peer_path = seen_by(viewer_, *theirs);
    }
    snapshot.changes = history.changes;
    for (const RankedPath& path : negotiator.ranked(traffic)) ++snapshot.candidates[path.standing];
    if (detail == PathsDetail::summary) return snapshot;
    for (std::size_t i = 0; i < negotiator.ranked(traffic).size(); ++i) {
      snapshot.ranked.push_back(candidate(traffic, i, used));
    }
    snapshot.explanation = explanation(traffic, snapshot);
    return snapshot;
  }

  std::vector<PathEndSnapshot> peers_ends() const {
    std::vector<PathEndSnapshot> ends;
    for (const policy::PathEnd& end : conversation_.at(policy::other(viewer_.side)).ends) {
      ends.push_back({end, {}});
    }
    return ends;
  }

 private:
  void note_age(const policy::PathReport& report) {
    const auto found = known_.find(report.path);
    if (found == known_.end() || report.quality == PathQuality()) return;
    std::optional<Micros>& age = found->second.age;
    age = age ? std::min(*age, report.age) : report.age;
  }

  Known known(const PathId& path) const {
    const auto found = known_.find(path);
    return found == known_.end() ? Known() : found->second;
  }

  CandidateSnapshot candidate(TrafficClass traffic, std::size_t index,
                              const std::optional<PathId>& used) const {
    const std::span<const RankedPath> order = source_.negotiator.ranked(traffic);
    const RankedPath& path = order[index];
    const Known about = known(path.path);
    CandidateSnapshot snapshot;
    snapshot.path = seen_by(viewer_, path.path);
    snapshot.quality = about.quality;
    snapshot.age = about.age;
    snapshot.in_use = used == path.path;
    snapshot.standing = path.standing;
    snapshot.obstacle = path.obstacle;
    snapshot.figure = path.figure;
    snapshot.limit = path.limit;
    snapshot.damped = about.damped;
    const Micros rest = source_.negotiator.flaps().until_reuse(path.path, now_.steady);
    if (rest > Micros(0)) snapshot.damped_until = now_.system + rest;
    snapshot.preference = path.preference;
    snapshot.cost = path.cost;
    if (path.counted > Micros(0)) snapshot.counted = path.counted;
    snapshot.why = place_words(viewer_, order, index);
    snapshot.remedy = remedy_words(order, index, source_.negotiator.settings().chooser);
    return snapshot;
  }

  /// How it stands with the other host.
  std::string agreement_words(TrafficClass traffic) const {
    const std::string& peer = viewer_.peer;
    const auto& theirs = source_.negotiator.peers_choice(traffic).path;
    switch (source_.negotiator.agreement(traffic).state()) {
      case AgreementState::idle:
        return {};
      case AgreementState::nominated:
        return fmt::format("This host has nominated it; {} has not said yet that it follows.",
                           peer);
      case AgreementState::apart:
        if (!theirs) return peer + " has not nominated any yet.";
        return fmt::format("{} uses {}, which cannot be used here as things are known here.", peer,
                           words_of(seen_by(viewer_, *theirs)));
      case AgreementState::agreed:
        return peer + " uses the same path, and has said so.";
    }
    return {};
  }

  /// Why there is none to choose from.
  std::string nothing_words() const {
    const policy::Party& own = conversation_.at(viewer_.side);
    const policy::Party& peers = conversation_.at(policy::other(viewer_.side));
    if (own.ends.empty()) return "This host offers no interface: /v1/paths says why.";
    if (peers.ends.empty()) {
      return source_.connected ? viewer_.peer + " offers no interface, or has not said so yet."
                               : viewer_.peer + " has not said yet what it offers.";
    }
    return "No interface of this host has an address of the same family as one of " + viewer_.peer +
           ".";
  }

  std::vector<std::string> explanation(TrafficClass traffic,
                                       const ClassPathSnapshot& snapshot) const {
    const std::string name(to_string(traffic));
    std::vector<std::string> sentences;
    if (!snapshot.path) {
      sentences.push_back(name + " has no path: none can be used.");
      if (snapshot.ranked.empty()) sentences.push_back(nothing_words());
      return sentences;
    }
    sentences.push_back(fmt::format("{} goes {}: {}.", name, words_of(*snapshot.path),
                                    cause_words(snapshot.cause, viewer_.peer)));
    if (std::string words = agreement_words(traffic); !words.empty()) {
      sentences.push_back(std::move(words));
    }
    const auto& ranked = snapshot.ranked;
    const auto used = std::find_if(ranked.begin(), ranked.end(),
                                   [](const CandidateSnapshot& path) { return path.in_use; });
    if (used == ranked.end()) {
      sentences.push_back(ranked.empty() ? nothing_words()
                                         : "It is no longer offered by both hosts.");
      return sentences;
    }
    sentences.push_back(used->why);
    if (used != ranked.begin()) sentences.push_back(kept_words(ranked.front()));
    return sentences;
  }

  /// Why the first is not used.
  std::string kept_words(const CandidateSnapshot& first) const {
    const std::string better = words_of(first.path);
    if (source_.negotiator.role() == AgreementRole::following) {
      return fmt::format(
          "{} would come first; {} controls, and nominates it when it has seen the "
          "same for long enough.",
          better, viewer_.peer);
    }
    const policy::ChooserPolicy& chooser = source_.negotiator.settings().chooser;
    return fmt::format(
        "{} would come first, and is taken when it has been better for {}: by standing, "
        "preference, or {} % and {} of time. A path that carries is kept for {} at least.",
        better, format_micros(chooser.proof), chooser.margin, format_micros(chooser.least_gain),
        format_micros(chooser.dwell));
  }

  const PeerPathsSource& source_;
  PathsMoment now_;
  policy::Conversation conversation_;
  PathsViewer viewer_;
  std::map<PathId, Known> known_;
};

}  // namespace

PeerPathsSnapshot path_snapshot(const PeerPathsSource& source, PathsMoment now,
                                PathsDetail detail) {
  const PeerPaths view(source, now);
  PeerPathsSnapshot snapshot;
  snapshot.peer = source.history.peer_host();
  snapshot.role = to_string(source.negotiator.role());
  snapshot.connected = source.connected;
  snapshot.since = source.since;
  snapshot.epoch = source.negotiator.epoch();
  snapshot.heard = source.negotiator.heard_by_peer();
  snapshot.probes_sent = source.probes_sent;
  snapshot.probes_answered = source.probes_answered;
  for (TrafficClass traffic : policy::kTrafficClasses) {
    snapshot.classes.push_back(view.of_class(traffic, detail));
  }
  if (detail == PathsDetail::summary) return snapshot;
  snapshot.ends = view.peers_ends();
  snapshot.recent.assign(source.history.recent().begin(), source.history.recent().end());
  return snapshot;
}

std::vector<PathEvent> path_events(const overlay::PathNegotiator& negotiator,
                                   const PathHistory& history) {
  std::vector<PathEvent> events;
  for (TrafficClass traffic : policy::kTrafficClasses) {
    const PathHistory::Current& current = history.current(traffic);
    if (!current.path && !current.since) continue;
    events.push_back({.peer = history.peer_host(),
                      .traffic = traffic,
                      .state = std::string(to_string(negotiator.agreement(traffic).state())),
                      .from = current.before,
                      .to = current.path,
                      .cause = current.cause,
                      .text = current.text,
                      .time = current.since});
  }
  return events;
}

PathsSnapshot paths_snapshot(std::vector<PathEndSnapshot> ends,
                             std::span<const PeerPathsSource> sources, PathsMoment now,
                             std::string_view peer) {
  PathsSnapshot snapshot{.ends = std::move(ends), .peers = {}};
  for (const PeerPathsSource& source : sources) {
    const bool wanted = source.history.peer_host() == peer;
    snapshot.peers.push_back(
        path_snapshot(source, now, wanted ? PathsDetail::everything : PathsDetail::summary));
  }
  return snapshot;
}

}  // namespace homeport::agent
