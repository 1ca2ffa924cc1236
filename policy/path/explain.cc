#include "policy/path/explain.h"

namespace homeport::policy {
namespace {

using std::uint64_t;

uint64_t figure_of(const RankedPath& path, Criterion criterion) {
  switch (criterion) {
    case Criterion::preference:
      return path.preference;
    case Criterion::time:
      return static_cast<uint64_t>(path.counted.count());
    case Criterion::cost:
      return path.cost;
    case Criterion::default_route:
      return path.default_routes;
    case Criterion::speed:
      return path.speed;
    case Criterion::standing:
    case Criterion::directness:
    case Criterion::address:
      break;
  }
  return 0;
}

struct Way {
  Remedy remedy;
  uint64_t target = 0;
};

// What takes the obstacle away that keeps `behind` in its standing.
Way over_obstacle(const RankedPath& behind) {
  switch (behind.obstacle) {
    case Obstacle::none:
      break;
    case Obstacle::forbidden:
    case Obstacle::relay_not_allowed:
    case Obstacle::too_costly:
      return {Remedy::allow, behind.limit};
    case Obstacle::broken:
      return {Remedy::mend};
    case Obstacle::unmeasured:
      return {Remedy::measure};
    case Obstacle::damped:
      return {Remedy::settle};
    case Obstacle::slow:
    case Obstacle::lossy:
    case Obstacle::narrow:
    case Obstacle::small_mtu:
      return {Remedy::meet_minimum, behind.limit};
  }
  return {Remedy::any_difference};
}

Way past(const RankedPath& ahead, const RankedPath& behind, Criterion criterion) {
  switch (criterion) {
    case Criterion::standing:
      return ahead.standing == Standing::pinned ? Way{Remedy::pin_or_unpin} : over_obstacle(behind);
    case Criterion::preference:
      return {Remedy::prefer, ahead.preference};
    case Criterion::time:
      return {Remedy::be_faster, static_cast<uint64_t>(ahead.counted.count())};
    case Criterion::cost:
      return {Remedy::cost_less, ahead.cost};
    case Criterion::directness:
    case Criterion::default_route:
    case Criterion::speed:
    case Criterion::address:
      break;
  }
  return {Remedy::any_difference};
}

}  // namespace

Explanation explain(std::span<const RankedPath> ranked, std::size_t index) {
  const RankedPath& path = ranked[index];
  Explanation explanation{.standing = path.standing, .obstacle = path.obstacle};
  if (ranked.size() < 2) {
    // Alone it is used, unless it cannot be.
    if (!path.usable()) explanation.remedy = over_obstacle(path).remedy;
    return explanation;
  }
  const RankedPath& other = ranked[index == 0 ? 1 : 0];
  explanation.other = other.path;
  explanation.decided_by = compare(path, other).criterion;
  explanation.own = figure_of(path, explanation.decided_by);
  explanation.theirs = figure_of(other, explanation.decided_by);
  const RankedPath& ahead = index == 0 ? path : other;
  const RankedPath& behind = index == 0 ? other : path;
  // What is excluded has to become usable before anything else matters.
  const Way way = path.usable() ? past(ahead, behind, explanation.decided_by) : over_obstacle(path);
  explanation.remedy = way.remedy;
  explanation.target = way.target;
  return explanation;
}

std::string_view to_string(Remedy remedy) {
  switch (remedy) {
    case Remedy::none:
      return "none";
    case Remedy::allow:
      return "allow";
    case Remedy::mend:
      return "mend";
    case Remedy::measure:
      return "measure";
    case Remedy::settle:
      return "settle";
    case Remedy::meet_minimum:
      return "meet-minimum";
    case Remedy::pin_or_unpin:
      return "pin-or-unpin";
    case Remedy::prefer:
      return "prefer";
    case Remedy::be_faster:
      return "be-faster";
    case Remedy::cost_less:
      return "cost-less";
    case Remedy::any_difference:
      return "any-difference";
  }
  return "unknown";
}

}  // namespace homeport::policy
