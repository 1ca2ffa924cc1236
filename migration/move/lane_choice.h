// Which lanes a move is to have, and which of them takes what is left. Pure.
#pragma once

#include "migration/move/lane_paths.h"

#include <boost/asio/ip/tcp.hpp>

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace homeport::migration {

/// Where a lane goes.
struct LaneRoute {
  std::optional<LanePath> path;  ///< none: the kernel's choice
  boost::asio::ip::tcp::endpoint endpoint =
      {};  ///< of the destination; without a path: any of them

  /// Of another pair of addresses is another route.
  bool same_as(const LaneRoute& other) const;
};

/// Lanes that have no interface in common, at either host: of the first of `paths`, then of those
/// which have one already, then of the others in their order. Paths that end at none of
/// `endpoints`, where the destination takes lanes, are left out; if nothing is left, it is one lane
/// without a path.
std::vector<LaneRoute> choose_lanes(std::span<const LanePath> paths,
                                    std::span<const boost::asio::ip::tcp::endpoint> endpoints,
                                    std::span<const LaneRoute> standing);

/// What a lane can do.
struct LanePace {
  std::uint64_t queued = 0;            ///< bytes that it has yet to deliver
  std::uint64_t bytes_per_second = 0;  ///< 0: not known yet
};

/// What is left of a round.
struct LaneWork {
  std::uint64_t left = 0;   ///< bytes
  std::uint64_t batch = 0;  ///< bytes that a lane takes at a time, at most
  bool urgent = false;      ///< the guest is stopped for it
};

/// Whether `lane` had better leave it to `others`: one of them would have delivered all of it
/// before this one its next batch. At least one of several does not.
bool leaves_to_others(const LanePace& lane, std::span<const LanePace> others, const LaneWork& work);

}  // namespace homeport::migration
