#include "overlay/probing/pace.h"

#include <algorithm>

namespace homeport::overlay {

using policy::Micros;

namespace {

// In which time so many bytes may be sent.
Micros time_for(std::uint64_t bytes, std::uint64_t bytes_per_second) {
  return Micros(bytes * 1'000'000 / std::max<std::uint64_t>(bytes_per_second, 1));
}

}  // namespace

std::uint64_t ask_bytes(const ProbePair& pair) {
  return pair.local.is_v6() ? 120 : 100;
}

std::uint64_t closely_budget(const ProbeSettings& settings) {
  return settings.watch_budget / 8;
}

ProbePace pace(const ProbeLoad& load, const ProbeSettings& settings) {
  // An ask and its answer.
  const std::uint64_t bytes = 2 * settings.ask_bytes;
  const std::uint64_t for_mtu = settings.budget / 8;
  // What the others do not need is for those that are watched.
  const std::uint64_t for_flowing = std::min(load.flowing, settings.watch_budget / 4);
  const std::uint64_t for_watched = settings.watch_budget - closely_budget(settings) - for_flowing;
  ProbePace pace;
  pace.slow = std::clamp(time_for(load.settled * bytes, settings.budget - for_mtu), settings.slow,
                         settings.slowest);
  pace.mtu = std::clamp(time_for(2 * load.mtus, for_mtu), settings.mtu, settings.mtu_slowest);
  // Of what is not answered.
  pace.dead = std::clamp(time_for(load.dead * settings.ask_bytes, settings.budget), settings.dead,
                         settings.slowest);
  pace.watched = std::max(time_for(load.watched, for_watched), settings.watched);
  pace.closely = settings.closely;
  pace.flowing = std::max(time_for(load.flowing, for_flowing), settings.flowing);
  return pace;
}

}  // namespace homeport::overlay
