#include "agent/paths/leg.h"

#include <algorithm>
#include <chrono>
#include <set>

namespace homeport::agent {

using policy::PathId;
using policy::PathReport;
using policy::Side;
using policy::Time;

namespace {

const PathReport* find(const std::vector<PathReport>& reports, const PathId& path) {
  auto report = std::ranges::find(reports, path, &PathReport::path);
  return report == reports.end() ? nullptr : &*report;
}

/// Since either of them has measured it.
policy::Micros age_of(const policy::Conversation& known, const PathId& path) {
  const PathReport* first = find(known.first.reports, path);
  const PathReport* second = find(known.second.reports, path);
  if (first && second) return std::min(first->age, second->age);
  return first ? first->age : second ? second->age : policy::Micros(0);
}

}  // namespace

PathReport Leg::at(Time now) const {
  PathReport later = report;
  later.age += std::chrono::duration_cast<policy::Micros>(now - noted);
  return later;
}

std::optional<Leg> leg_of(const overlay::PathNegotiator& negotiator, Side side, const Way& usual,
                          Time now) {
  const policy::Conversation known = negotiator.conversation(now);
  const auto& chosen = negotiator.agreement(policy::TrafficClass::best_effort).choice().path;
  PathId path =
      side == Side::first ? PathId{usual.local, usual.remote} : PathId{usual.remote, usual.local};
  if (chosen && chosen->relay.empty()) path = *chosen;
  for (const policy::PathCandidate& candidate : policy::candidates(known)) {
    if (candidate.path != path) continue;
    const bool first = side == Side::first;
    return Leg{{.path = path,
                .quality = first ? candidate.quality : seen_from_other_end(candidate.quality),
                .age = age_of(known, path)},
               now};
  }
  return std::nullopt;
}

std::vector<PathId> relayed_paths(const overlay::PathNegotiator& negotiator, Side side, Time now) {
  std::set<PathId> paths;
  const policy::Conversation known = negotiator.conversation(now);
  for (const PathReport& report : known.at(policy::other(side)).reports) {
    if (!report.path.relay.empty() && !report.quality.broken()) paths.insert(report.path);
  }
  for (const policy::TrafficClass traffic : policy::kTrafficClasses) {
    const auto& path = negotiator.agreement(traffic).choice().path;
    if (path && !path->relay.empty()) paths.insert(*path);
  }
  return {paths.begin(), paths.end()};
}

}  // namespace homeport::agent
