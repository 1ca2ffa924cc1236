// Which of the ranked paths is used, over time.
//
// A path that carries no more is left at once, and so is any other for one that the controller
// pins. For one that is only better it is left when that has been so for a while, by a margin, and
// not soon after the last change: of two paths that are almost equal one is used, whichever it is.
// Of one that is relayed and one that is not it is the latter, unless that is slower.
// It is pure: the caller says what time it is and looks again when next_look() says.
//
//   none <---- nothing usable ---- using <--.
//    |                              |   ^   | lost, pinned, first measured: at once
//    '---- first usable path -------'   |   '-------------------------.
//          (the other end's, if it      |                             |
//           has one as good)            | better by less              |
//                                       |                             |
//               better by the margin    |    proof and dwell over     |
//          using --------------------> challenged --------------------'
#pragma once

#include "policy/path/rank.h"

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace homeport::policy {

struct ChooserPolicy {
  Micros dwell{2'000'000};   ///< that a path is kept, unless it fails, once it is chosen
  Micros proof{300'000};     ///< that another has to have been better
  std::uint32_t margin = 5;  ///< percent, by which the one in use has to be slower
  Micros least_gain{200};    ///< less is noise however large a part it is
};

/// Why the path in use is another than before, or that it is not.
enum class ChoiceCause : std::uint8_t {
  unchanged,
  nothing_usable,
  first,      ///< there was none
  lost,       ///< the one before cannot be used any more
  pinned,     ///< by the controller
  measured,   ///< the one before was, or had become, unmeasured
  better,     ///< of better standing, preferred, or faster
  worse,      ///< likewise, because the one before has become worse than when it was chosen
  agreement,  ///< the other end says so
};

class Chooser {
 public:
  Chooser() = default;
  explicit Chooser(ChooserPolicy policy) : policy_(policy) {}

  /// Looks at the order as it is now. `elsewhere`: what the other end uses, taken where the path in
  /// use is lost and no other is better by the margin. `may_improve`: whether the path in use may
  /// be left for one that is only better.
  ChoiceCause choose(Time now, std::span<const RankedPath> ranked,
                     const std::optional<PathId>& elsewhere, bool may_improve);
  /// Uses this one, whatever it is.
  ChoiceCause use(Time now, const std::optional<PathId>& path, ChoiceCause cause);

  const std::optional<PathId>& current() const { return current_; }
  /// When choose() may come to another result although the order has not changed; Time::max(): it
  /// will not.
  Time next_look() const;

 private:
  bool beats(const RankedPath& challenger, const RankedPath& current) const;
  bool slower(Micros one, Micros other) const;
  ChoiceCause take(Time now, const RankedPath& path, ChoiceCause cause);
  void note_best(const RankedPath& current);

  ChooserPolicy policy_;
  std::optional<PathId> current_;
  Time chosen_{};
  std::optional<Time> challenged_;  // since when another has been better by the margin
  std::optional<RankedPath> best_;  // what the path in use was at its best, since it was chosen
};

std::string_view to_string(ChoiceCause cause);

}  // namespace homeport::policy
