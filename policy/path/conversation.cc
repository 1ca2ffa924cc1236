#include "policy/path/conversation.h"

#include <algorithm>
#include <map>
#include <utility>

namespace homeport::policy {
namespace {

using Reports = std::map<PathId, const PathReport*>;
using Ends = std::map<IpAddress, const PathEnd*>;

Reports by_path(const std::vector<PathReport>& reports) {
  Reports result;
  for (const PathReport& report : reports) result.emplace(report.path, &report);
  return result;
}

/// Whoever measures paths says something of every direct one that there is for it. Of one that is
/// new it may not have yet, and does not know whether what it sends there arrives.
bool has_yet_to_report(const Reports& reports, const PathId& path) {
  return path.relay.empty() && !reports.empty() && !reports.contains(path);
}

PathQuality unproven(PathQuality quality) {
  for (DirectionQuality* direction : {&quality.out, &quality.in}) {
    if (direction->reachable == Reachability::yes) direction->reachable = Reachability::unknown;
  }
  return quality;
}

Ends by_address(const std::vector<PathEnd>& ends) {
  Ends result;
  for (const PathEnd& end : ends) result.emplace(end.address, &end);
  return result;
}

class Finder {
 public:
  explicit Finder(const Conversation& conversation)
      : conversation_(conversation),
        first_ends_(by_address(conversation.first.ends)),
        second_ends_(by_address(conversation.second.ends)),
        first_reports_(by_path(conversation.first.reports)),
        second_reports_(by_path(conversation.second.reports)) {}

  std::vector<PathCandidate> find() {
    for (const auto& [first, first_end] : first_ends_) {
      for (const auto& [second, second_end] : second_ends_) add({first, second, {}});
    }
    Reports reported = first_reports_;
    reported.insert(second_reports_.begin(), second_reports_.end());
    for (const auto& [path, report] : reported) {
      if (leads_elsewhere(path)) add(path);
    }
    return std::move(found_);
  }

 private:
  // Through a third host, that is.
  bool leads_elsewhere(const PathId& path) const {
    return !path.relay.empty() && path.relay != conversation_.first.host &&
           path.relay != conversation_.second.host;
  }

  void add(const PathId& path) {
    const auto first = first_ends_.find(path.first);
    const auto second = second_ends_.find(path.second);
    if (first == first_ends_.end() || second == second_ends_.end()) return;
    if (path.first.is_v6() != path.second.is_v6() || found_.size() == kMostPaths) return;
    PathCandidate candidate{path, first->second, second->second};
    PathQuality first_knows, second_knows;
    if (auto report = first_reports_.find(path); report != first_reports_.end()) {
      first_knows = report->second->quality;
      candidate.damped |= report->second->damped;
    }
    if (auto report = second_reports_.find(path); report != second_reports_.end()) {
      second_knows = report->second->quality;
      candidate.damped |= report->second->damped;
    }
    candidate.quality = merge(first_knows, second_knows);
    if (has_yet_to_report(first_reports_, path) || has_yet_to_report(second_reports_, path)) {
      candidate.quality = unproven(candidate.quality);
    }
    found_.push_back(std::move(candidate));
  }

  const Conversation& conversation_;
  Ends first_ends_, second_ends_;
  Reports first_reports_, second_reports_;
  std::vector<PathCandidate> found_;
};

}  // namespace

std::vector<PathCandidate> candidates(const Conversation& conversation) {
  return Finder(conversation).find();
}

}  // namespace homeport::policy
