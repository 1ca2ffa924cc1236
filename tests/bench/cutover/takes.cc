#include "tests/bench/cutover/takes.h"

#include <algorithm>

namespace homeport::lab {

FlowWindow flow_window(const std::vector<std::uint64_t>& sent, const std::vector<Take>& takes,
                       std::uint64_t from, std::uint64_t to) {
  FlowWindow window;
  std::vector<bool> taken(sent.size());
  std::uint64_t last = from, next = 0, gap = 0, hold = 0;
  for (const Take& take : takes) {
    const bool again = taken.at(take.number);
    taken[take.number] = true;
    const bool late = take.number < next;
    next = std::max(next, take.number + 1);
    if (take.time < from || take.time > to) continue;
    gap = std::max(gap, take.time - last);
    last = take.time;
    window.duplicated += again ? 1 : 0;
    window.reordered += late && !again ? 1 : 0;
    hold = std::max(hold, take.time - sent[take.number]);
  }
  gap = std::max(gap, to - last);
  for (std::size_t number = 0; number < sent.size(); ++number) {
    if (sent[number] < from || sent[number] > to) continue;
    ++window.sent;
    window.lost += taken[number] ? 0 : 1;
  }
  window.longest_gap_ms = static_cast<double>(gap) / 1e6;
  window.longest_hold_ms = static_cast<double>(hold) / 1e6;
  return window;
}

}  // namespace homeport::lab
