#include "migration/move/lane_choice.h"

#include <algorithm>

namespace homeport::migration {

using boost::asio::ip::tcp;

namespace {

bool share_an_end(const LanePath& one, const LanePath& other) {
  const auto same = [](const std::string& interface, const std::string& other_interface) {
    return !interface.empty() && interface == other_interface;
  };
  return one.local == other.local || one.remote == other.remote ||
         same(one.local_interface, other.local_interface) ||
         same(one.remote_interface, other.remote_interface);
}

std::optional<LaneRoute> route_of(const LanePath& path, std::span<const tcp::endpoint> endpoints) {
  for (const tcp::endpoint& endpoint : endpoints) {
    if (endpoint.address() == path.remote) return LaneRoute{path, endpoint};
  }
  return std::nullopt;
}

}  // namespace

bool LaneRoute::same_as(const LaneRoute& other) const {
  if (!path || !other.path) return !path && !other.path;
  return path->local == other.path->local && endpoint == other.endpoint;
}

std::vector<LaneRoute> choose_lanes(std::span<const LanePath> paths,
                                    std::span<const tcp::endpoint> endpoints,
                                    std::span<const LaneRoute> standing) {
  std::vector<LaneRoute> possible;
  for (const LanePath& path : paths) {
    if (auto route = route_of(path, endpoints)) possible.push_back(*std::move(route));
  }
  if (possible.empty()) return {LaneRoute{}};
  const auto stands = [&](const LaneRoute& route) {
    return std::any_of(standing.begin(), standing.end(),
                       [&](const LaneRoute& other) { return other.same_as(route); });
  };
  std::stable_partition(possible.begin() + 1, possible.end(), stands);
  std::vector<LaneRoute> chosen;
  for (LaneRoute& route : possible) {
    const bool taken = std::any_of(chosen.begin(), chosen.end(), [&](const LaneRoute& other) {
      return share_an_end(*other.path, *route.path);
    });
    if (!taken) chosen.push_back(std::move(route));
  }
  return chosen;
}

bool leaves_to_others(const LanePace& lane, std::span<const LanePace> others,
                      const LaneWork& work) {
  const auto seconds = [](const LanePace& pace, std::uint64_t bytes) {
    return static_cast<double>(pace.queued + bytes) / static_cast<double>(pace.bytes_per_second);
  };
  return std::any_of(others.begin(), others.end(), [&](const LanePace& other) {
    if (other.bytes_per_second == 0) return false;
    // One that is new shows what it can do with what is not urgent.
    if (lane.bytes_per_second == 0) return work.urgent || work.left < work.batch;
    return seconds(other, work.left) < seconds(lane, std::min(work.left, work.batch));
  });
}

}  // namespace homeport::migration
