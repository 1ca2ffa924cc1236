#include "overlay/negotiation/peer_view.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace homeport::overlay {

using policy::Micros;
using policy::Reachability;
using policy::Time;

PeerView::Taken PeerView::take(PathStatement statement, std::uint64_t own_epoch, Time now) {
  if (statement.id < last_) return Taken::late;
  const bool another_run = statement.id.epoch != last_.epoch;
  if (!statement.complete() && (another_run || statement.seen.epoch != own_epoch)) {
    return Taken::incomplete;
  }
  if (statement.id == last_) return Taken::repeated;
  last_ = statement.id;
  choices_ = std::move(statement.choices);
  if (statement.ends) ends_ = std::move(*statement.ends);
  if (statement.reports) {
    reports_ = std::move(*statement.reports);
    reported_ = now;
  }
  return Taken::news;
}

void PeerView::disconnected() {
  for (policy::PathReport& report : reports_) {
    for (policy::DirectionQuality* direction : {&report.quality.out, &report.quality.in}) {
      if (direction->reachable == Reachability::no) direction->reachable = Reachability::unknown;
    }
  }
}

std::vector<policy::PathReport> PeerView::reports(Time now, Micros limit) const {
  const auto elapsed = std::chrono::duration_cast<Micros>(now - reported_);
  std::vector<policy::PathReport> result;
  for (const policy::PathReport& report : reports_) result.push_back(aged(report, elapsed, limit));
  return result;
}

Time PeerView::next_forgotten(Time now, Micros limit) const {
  Time next = Time::max();
  for (const policy::PathReport& report : reports_) {
    const Time forgotten = reported_ + limit - report.age + Micros(1);
    if (forgotten > now) next = std::min(next, forgotten);
  }
  return next;
}

}  // namespace homeport::overlay
