#include "agent/paths/path_history.h"

#include "agent/paths/path_words.h"

#include <utility>

namespace homeport::agent {

void PathHistory::found(policy::TrafficClass traffic, const policy::PathId& path) {
  const policy::Conversation nothing;
  ids_[traffic] = path;
  current_[traffic].path = seen_by({side_, peer_host_, nothing}, path);
}

void PathHistory::changed(PathsMoment now, const overlay::PathUse& use,
                          const overlay::PathNegotiator& negotiator) {
  const policy::Conversation known = negotiator.conversation(now.steady);
  const PathsViewer viewer{side_, peer_host_, known};
  Current& current = current_[use.traffic];
  PathChange change;
  change.time = now.system;
  change.traffic = use.traffic;
  change.from = current.path;
  if (use.path) change.to = seen_by(viewer, *use.path);
  change.cause = use.cause;
  change.text = change_words(viewer, use.traffic, ids_[use.traffic], use.path, use.cause,
                             negotiator.ranked(use.traffic));
  ids_[use.traffic] = use.path;
  current.path = change.to;
  current.before = change.from;
  current.since = now.system;
  current.cause = use.cause;
  current.text = change.text;
  ++current.changes[use.cause];
  recent_.push_back(std::move(change));
  if (recent_.size() > kKept) recent_.pop_front();
}

}  // namespace homeport::agent
