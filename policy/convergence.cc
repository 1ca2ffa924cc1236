#include "policy/convergence.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace homeport::policy {
namespace {

using std::chrono::nanoseconds;
using Seconds = std::chrono::duration<double>;

// The last rounds are short, and what they show of the bandwidth is mostly latency: as many rounds
// are looked at as it takes to have seen this much.
constexpr std::uint64_t kBandwidthSample = 8u << 20;

// Below the limit another round has to gain this much downtime...
constexpr Seconds kLeastGain{0.002};
constexpr double kLeastGainShare = 0.05;
// ...and this share of the time it takes. A guest that writes at rate d against bandwidth b gains
// 1 - d/b of it.
constexpr double kLeastGainPerCost = 0.25;
// And all such rounds together may not prolong copying by more than this.
constexpr double kPolishShare = 0.2;
constexpr Seconds kPolishLeast{1.0};

// A round that leaves more than this share of what the one before has left does not lead far...
constexpr double kFallsBehind = 0.5;
// ...and other traffic is why, where it has had less than this share of the best round's bandwidth.
constexpr double kCrowdedShare = 0.5;
// Of rounds that are shorter no bandwidth is known.
constexpr Seconds kShortestMeasured{0.1};

double seconds(nanoseconds duration) {
  return Seconds(duration).count();
}

nanoseconds from_seconds(double value) {
  // A century is as good as never, and fits.
  constexpr double kMost = 3e9;
  return std::chrono::duration_cast<nanoseconds>(Seconds(std::min(value, kMost)));
}

// Bytes per second of the latest rounds, net of what every round costs; 0: not known.
double measured_bandwidth(std::span<const CopyRound> rounds, const FixedCosts& costs) {
  std::uint64_t bytes = 0;
  double time = 0;
  for (auto round = rounds.rbegin(); round != rounds.rend() && bytes < kBandwidthSample; ++round) {
    bytes += round->bytes_sent;
    // The estimate of the fixed part may exceed a short round; never trust it for more than half.
    double spent = seconds(round->duration);
    time += std::max(spent - seconds(costs.round), spent / 2);
  }
  return bytes > 0 && time > 0 ? static_cast<double>(bytes) / time : 0;
}

// What the rounds so far say about going on.
struct Outlook {
  double downtime = 0;       // seconds, if switched now
  double next_cost = 0;      // seconds that one more round takes
  double next_downtime = 0;  // seconds, if switched after it
};

Outlook look_ahead(std::span<const CopyRound> rounds, const FixedCosts& costs, double bandwidth) {
  const CopyRound& last = rounds.back();
  double left = static_cast<double>(last.bytes_left);
  Outlook outlook;
  double copy = left == 0 ? 0 : bandwidth > 0 ? left / bandwidth : HUGE_VAL;
  outlook.downtime = seconds(costs.switch_over) + copy;
  outlook.next_cost = seconds(costs.round) + copy;
  // Pages written per second, as seen in the last round. Over a shorter time the rate of distinct
  // pages can only be higher, so this errs towards one round too many, never towards endless ones.
  double rate = last.duration.count() > 0 ? left / seconds(last.duration) : HUGE_VAL;
  double next_left = std::min(left, rate * outlook.next_cost);
  outlook.next_downtime =
      seconds(costs.switch_over) + (bandwidth > 0 ? next_left / bandwidth : copy);
  return outlook;
}

// Time spent in rounds after the first one that had met the limit.
double polished_so_far(const ConvergenceLimits& limits, std::span<const CopyRound> rounds,
                       const FixedCosts& costs, double bandwidth) {
  double allowed = seconds(limits.downtime_limit) - seconds(costs.switch_over);
  double spent = 0;
  bool met = false;
  for (const CopyRound& round : rounds) {
    if (met) spent += seconds(round.duration);
    if (static_cast<double>(round.bytes_left) <= allowed * bandwidth) met = true;
  }
  return spent;
}

// Whether the rounds get nowhere because of what others send.
bool is_crowded_out(std::span<const CopyRound> rounds) {
  if (rounds.size() < 2) return false;
  const CopyRound& last = rounds.back();
  const double before = static_cast<double>(rounds[rounds.size() - 2].bytes_left);
  if (static_cast<double>(last.bytes_left) <= kFallsBehind * before) return false;
  const auto rate = [](const CopyRound& round) {
    return static_cast<double>(round.bytes_sent) / seconds(round.duration);
  };
  if (seconds(last.duration) < kShortestMeasured.count()) return false;
  double best = 0;
  for (const CopyRound& round : rounds) {
    if (seconds(round.duration) >= kShortestMeasured.count()) best = std::max(best, rate(round));
  }
  return rate(last) < kCrowdedShare * best;
}

std::string in_ms(double value) {
  return std::isfinite(value) ? fmt::format("{:.0f} ms", value * 1e3) : "an unknown time";
}

}  // namespace

ConvergenceDecision decide_convergence(const ConvergenceLimits& limits,
                                       std::span<const CopyRound> rounds, const FixedCosts& costs,
                                       nanoseconds elapsed) {
  ConvergenceDecision decision;
  auto decide = [&](ConvergenceStep step, std::string reason) {
    decision.step = step;
    decision.reason = std::move(reason);
    return decision;
  };
  if (rounds.empty()) return decide(ConvergenceStep::another_round, "nothing has been copied yet");

  double bandwidth = measured_bandwidth(rounds, costs);
  Outlook outlook = look_ahead(rounds, costs, bandwidth);
  double limit = seconds(limits.downtime_limit);
  decision.bandwidth = static_cast<std::uint64_t>(bandwidth);
  decision.predicted_downtime = from_seconds(outlook.downtime);

  if (outlook.downtime > limit) {
    decision.gives_way = !is_crowded_out(rounds);
    std::string now =
        fmt::format("{} KiB are left, which means a downtime of {}; the limit is {}",
                    rounds.back().bytes_left / 1024, in_ms(outlook.downtime), in_ms(limit));
    bool late = elapsed >= limits.copy_timeout;
    bool often = rounds.size() >= limits.max_rounds;
    // With nothing left to copy more rounds cannot help: the fixed costs alone break the limit.
    bool useless = rounds.back().bytes_left == 0;
    if (!late && !often && !useless) return decide(ConvergenceStep::another_round, now);
    std::string why = useless ? "the switch itself takes longer than the limit"
                      : late
                          ? fmt::format("copying has taken {:.0f} s and may take {:.0f} s",
                                        seconds(elapsed), seconds(limits.copy_timeout))
                          : fmt::format("{} rounds were made, as many as allowed", rounds.size());
    return decide(limits.on_no_convergence == OnNoConvergence::force
                      ? ConvergenceStep::switch_by_force
                      : ConvergenceStep::give_up,
                  fmt::format("{}; {}", why, now));
  }

  double gain = outlook.downtime - outlook.next_downtime;
  double least = std::max(kLeastGain.count(), kLeastGainShare * outlook.downtime);
  double polished = polished_so_far(limits, rounds, costs, bandwidth);
  double allowance = std::max(kPolishLeast.count(), kPolishShare * (seconds(elapsed) - polished));
  std::string outcome = fmt::format("a downtime of {} is expected, within the limit of {}",
                                    in_ms(outlook.downtime), in_ms(limit));
  std::string offer =
      fmt::format("another round would take {} and gain {}", in_ms(outlook.next_cost), in_ms(gain));
  if (gain < least || gain < kLeastGainPerCost * outlook.next_cost) {
    return decide(ConvergenceStep::switch_now, outcome + "; " + offer);
  }
  if (polished + outlook.next_cost > allowance || elapsed >= limits.copy_timeout ||
      rounds.size() >= limits.max_rounds) {
    return decide(ConvergenceStep::switch_now, outcome + "; no more time is spent on lowering it");
  }
  return decide(ConvergenceStep::another_round, outcome + "; " + offer);
}

std::string_view to_string(ConvergenceStep step) {
  switch (step) {
    case ConvergenceStep::another_round:
      return "another round";
    case ConvergenceStep::switch_now:
      return "switch now";
    case ConvergenceStep::switch_by_force:
      return "switch by force";
    case ConvergenceStep::give_up:
      return "give up";
  }
  return "unknown";
}

}  // namespace homeport::policy
