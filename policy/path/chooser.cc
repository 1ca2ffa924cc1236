#include "policy/path/chooser.h"

#include <algorithm>

namespace homeport::policy {

bool Chooser::beats(const RankedPath& challenger, const RankedPath& current) const {
  if (challenger.standing != current.standing) return challenger.standing < current.standing;
  if (challenger.preference != current.preference) {
    return challenger.preference > current.preference;
  }
  // A third host is not burdened for nothing.
  const bool leaves_relay = !current.path.relay.empty() && challenger.path.relay.empty();
  if (leaves_relay) return challenger.counted <= current.counted;
  return slower(current.counted, challenger.counted);
}

// By the margin.
bool Chooser::slower(Micros one, Micros other) const {
  return one - other >= policy_.least_gain && one * 100 > other * (100 + policy_.margin);
}

void Chooser::note_best(const RankedPath& current) {
  const bool first_measured = best_ && best_->standing == Standing::unmeasured;
  if (!best_ || first_measured || compare(current, *best_).order < 0) best_ = current;
}

ChoiceCause Chooser::choose(Time now, std::span<const RankedPath> ranked,
                            const std::optional<PathId>& elsewhere, bool may_improve) {
  if (ranked.empty() || !ranked.front().usable()) {
    return use(now, std::nullopt, ChoiceCause::nothing_usable);
  }
  const RankedPath& best = ranked.front();
  const RankedPath* current = find(ranked, current_);
  if (!current || !current->usable()) {
    const RankedPath* theirs = find(ranked, elsewhere);
    const bool as_good = theirs && theirs->usable() && !beats(best, *theirs);
    return take(now, as_good ? *theirs : best, current_ ? ChoiceCause::lost : ChoiceCause::first);
  }
  note_best(*current);
  if (!beats(best, *current)) {
    challenged_.reset();
    return ChoiceCause::unchanged;
  }
  if (best.standing == Standing::pinned) return take(now, best, ChoiceCause::pinned);
  if (current->standing == Standing::unmeasured && best.standing != Standing::unmeasured) {
    return take(now, best, ChoiceCause::measured);
  }
  if (!challenged_) challenged_ = now;
  if (!may_improve || now < next_look()) return ChoiceCause::unchanged;
  const bool worse =
      current->standing > best_->standing || slower(current->counted, best_->counted);
  return take(now, best, worse ? ChoiceCause::worse : ChoiceCause::better);
}

ChoiceCause Chooser::take(Time now, const RankedPath& path, ChoiceCause cause) {
  cause = use(now, path.path, cause);
  best_ = path;
  return cause;
}

ChoiceCause Chooser::use(Time now, const std::optional<PathId>& path, ChoiceCause cause) {
  challenged_.reset();
  if (current_ == path) return ChoiceCause::unchanged;
  current_ = path;
  chosen_ = now;
  best_.reset();
  return cause;
}

Time Chooser::next_look() const {
  if (!challenged_) return Time::max();
  return std::max(*challenged_ + policy_.proof, chosen_ + policy_.dwell);
}

std::string_view to_string(ChoiceCause cause) {
  switch (cause) {
    case ChoiceCause::unchanged:
      return "unchanged";
    case ChoiceCause::nothing_usable:
      return "nothing-usable";
    case ChoiceCause::first:
      return "first";
    case ChoiceCause::lost:
      return "lost";
    case ChoiceCause::pinned:
      return "pinned";
    case ChoiceCause::measured:
      return "measured";
    case ChoiceCause::better:
      return "better";
    case ChoiceCause::worse:
      return "worse";
    case ChoiceCause::agreement:
      return "agreement";
  }
  return "unknown";
}

}  // namespace homeport::policy
