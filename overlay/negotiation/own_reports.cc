#include "overlay/negotiation/own_reports.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace homeport::overlay {

using policy::Micros;
using policy::PathId;
using policy::PathReport;
using policy::Reachability;
using policy::Time;

namespace {

// The report about `path`, or one that knows nothing.
PathReport about(const PathId& path, const std::vector<PathReport>& reports) {
  const auto found = std::find_if(reports.begin(), reports.end(),
                                  [&](const PathReport& each) { return each.path == path; });
  return found == reports.end() ? PathReport{.path = path} : *found;
}

OwnReports::News difference(const PathReport& now, const PathReport& told) {
  if (now.damped != told.damped || now.quality.out.reachable != told.quality.out.reachable ||
      now.quality.in.reachable != told.quality.in.reachable) {
    return OwnReports::News::urgent;
  }
  return differ_materially(now.quality, told.quality) ? OwnReports::News::soon
                                                      : OwnReports::News::none;
}

}  // namespace

void OwnReports::measured(std::vector<PathReport> reports, Time now) {
  if (reports.size() > policy::kMostPaths) reports.resize(policy::kMostPaths);
  for (const PathReport& before : reports_) {
    if (!before.quality.measured()) continue;
    // That it is not measured any more, its interface having gone, is a failure as well.
    const bool gone = std::none_of(reports.begin(), reports.end(), [&](const PathReport& each) {
      return each.path == before.path;
    });
    if (gone || about(before.path, reports).quality.broken()) flaps_.failed(before.path, now);
  }
  reports_ = std::move(reports);
  measured_ = now;
}

std::vector<PathReport> OwnReports::current(Time now) const {
  const auto elapsed = std::chrono::duration_cast<Micros>(now - measured_);
  std::vector<PathReport> reports;
  for (const PathReport& report : reports_) {
    reports.push_back(aged(report, elapsed, fresh_for_));
    reports.back().damped = flaps_.damped(report.path, now);
  }
  return reports;
}

OwnReports::News OwnReports::news(Time now) const {
  News most = News::none;
  const std::vector<PathReport> reports = current(now);
  for (const PathReport& report : reports) {
    most = std::max(most, difference(report, about(report.path, told_)));
  }
  for (const PathReport& told : told_) {
    most = std::max(most, difference(about(told.path, reports), told));
  }
  return most;
}

const std::vector<PathReport>& OwnReports::tell(Time now) {
  told_ = current(now);
  return told_;
}

Time OwnReports::next_change(Time now) const {
  Time next = flaps_.next_reuse(now);
  for (const PathReport& report : reports_) {
    const Time forgotten = measured_ + fresh_for_ - report.age + Micros(1);
    if (forgotten > now) next = std::min(next, forgotten);
  }
  return next;
}

}  // namespace homeport::overlay
