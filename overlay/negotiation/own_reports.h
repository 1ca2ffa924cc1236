// What this host has measured of the paths to a peer: what of it the peer has been told, and which
// paths have failed too often.
#pragma once

#include "policy/path/damping.h"
#include "policy/path/quality.h"

#include <vector>

namespace homeport::overlay {

class OwnReports {
 public:
  OwnReports(policy::DampingPolicy damping, policy::Micros fresh_for)
      : flaps_(damping), fresh_for_(fresh_for) {}

  /// All that is measured now. kMostPaths are kept.
  void measured(std::vector<policy::PathReport> reports, policy::Time now);
  /// A path was left because it has become worse, which counts as a failure.
  void left(const policy::PathId& path, policy::Time now) { flaps_.failed(path, now); }

  /// As they are `now`: aged, and damped where they are.
  std::vector<policy::PathReport> current(policy::Time now) const;
  const policy::FlapHistory& flaps() const { return flaps_; }

  /// How soon the peer ought to hear what has changed since it was told.
  enum class News { none, soon, urgent };
  News news(policy::Time now) const;
  /// What the peer is told now.
  const std::vector<policy::PathReport>& tell(policy::Time now);

  /// When they change without being measured; Time::max(): never.
  policy::Time next_change(policy::Time now) const;

 private:
  policy::FlapHistory flaps_;
  policy::Micros fresh_for_;
  std::vector<policy::PathReport> reports_;
  policy::Time measured_{};
  std::vector<policy::PathReport> told_;
};

}  // namespace homeport::overlay
