#include "policy/near_matches.h"

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <utility>

namespace homeport::policy {

namespace {

/// Optimal string alignment distance: insertions, deletions, substitutions and swaps of two
/// neighbors that lead from one to the other.
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::vector<std::size_t>> steps(a.size() + 1, std::vector<std::size_t>(b.size() + 1));
  for (std::size_t i = 0; i <= a.size(); ++i) steps[i][0] = i;
  std::iota(steps[0].begin(), steps[0].end(), 0);
  for (std::size_t i = 1; i <= a.size(); ++i) {
    for (std::size_t j = 1; j <= b.size(); ++j) {
      std::size_t substituted = steps[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      steps[i][j] = std::min({steps[i - 1][j] + 1, steps[i][j - 1] + 1, substituted});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        steps[i][j] = std::min(steps[i][j], steps[i - 2][j - 2] + 1);
      }
    }
  }
  return steps[a.size()][b.size()];
}

}  // namespace

std::vector<std::string> near_matches(std::string_view name,
                                      const std::vector<std::string>& known) {
  const std::size_t tolerance = std::max<std::size_t>(1, name.size() / 3);
  std::vector<std::pair<std::size_t, std::string>> ranked;
  for (const std::string& candidate : known) {
    const bool abbreviates = name.size() >= 2 && candidate.starts_with(name);
    // Of lengths that differ by more, the distance is not worth its memory: a name may be any.
    const auto [shorter, longer] = std::minmax({name.size(), candidate.size()});
    if (!abbreviates && longer - shorter > tolerance) continue;
    const std::size_t distance = edit_distance(name, candidate);
    if (distance <= tolerance || abbreviates) ranked.emplace_back(distance, candidate);
  }
  std::sort(ranked.begin(), ranked.end());
  if (ranked.size() > 3) ranked.resize(3);
  std::vector<std::string> names;
  for (auto& [distance, candidate] : ranked) names.push_back(std::move(candidate));
  return names;
}

}  // namespace homeport::policy
