#include "overlay/negotiation/speaker.h"

#include <algorithm>

namespace homeport::overlay {

// By up to how much an epoch is put beyond an earlier run's. Two runs that both have to get beyond
// the same one, the first of which was not heard in time, must not end up in the same epoch: each
// adds what is its own.
constexpr std::uint64_t kOwnPart = 1u << 20;

void Speaker::changed(Part part, Haste haste) {
  ++id_.revision;
  if (part == Part::ends) ends_changed_ = id_.revision;
  if (part == Part::reports) reports_changed_ = id_.revision;
  (haste == Haste::urgent ? urgent_ : soon_) = true;
}

void Speaker::peer_has(StatementId seen) {
  if (seen > id_) {
    if (seen.epoch < kMostCounted - kOwnPart) id_.epoch = seen.epoch + 1 + run_ % kOwnPart;
    return say_everything();
  }
  acknowledged_ = seen.epoch == id_.epoch ? seen.revision : 0;
}

void Speaker::say_everything() {
  acknowledged_ = 0;
  urgent_ = true;
}

policy::Time Speaker::due() const {
  if (!spoken_) return policy::Time::min();
  if (urgent_) return last_ + times_.least_gap;
  policy::Micros wait = times_.sign_of_life;
  if (!acknowledged()) wait = std::min(wait, repeat_);
  if (soon_) wait = std::min(wait, times_.soon);
  return last_ + wait;
}

Speaker::Statement Speaker::speak(policy::Time now) {
  const bool news = has_news();
  if (!news && acknowledged()) {  // a sign of life
    ++id_.revision;
    reports_changed_ = id_.revision;
  }
  repeat_ = news ? times_.first_repeat : std::min(2 * repeat_, times_.last_repeat);
  repeat_ = std::max(repeat_, times_.first_repeat);
  urgent_ = soon_ = false;
  spoken_ = true;
  last_ = now;
  return {id_, acknowledged_ < ends_changed_, acknowledged_ < reports_changed_, !acknowledged()};
}

}  // namespace homeport::overlay
