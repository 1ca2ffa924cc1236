#include "overlay/channel/lane_traffic.h"

#include <boost/asio/ip/tcp.hpp>

#include <sys/socket.h>

#include <algorithm>
#include <optional>
#include <utility>

namespace homeport::overlay {

namespace {

/// getsockname(2) or getpeername(2).
template <class Name>
std::optional<policy::IpAddress> address_of(int socket, Name name) {
  boost::asio::ip::tcp::endpoint endpoint;
  auto size = static_cast<socklen_t>(endpoint.capacity());
  if (name(socket, endpoint.data(), &size) != 0) return std::nullopt;
  endpoint.resize(size);
  return endpoint.address();
}

}  // namespace

struct LaneTraffic::Watched::Lane {
  int socket;
  policy::IpAddress local, remote;
  TransportFigures seen;
};

LaneTraffic::LaneTraffic() = default;
LaneTraffic::~LaneTraffic() = default;

LaneTraffic::Watched::Watched(std::shared_ptr<LaneTraffic> traffic, std::list<Lane>::iterator lane)
    : traffic_(std::move(traffic)), lane_(lane) {}

LaneTraffic::Watched::~Watched() {
  const std::lock_guard lock(traffic_->mutex_);
  traffic_->lanes_.erase(lane_);
}

std::unique_ptr<LaneTraffic::Watched> LaneTraffic::watch(int socket) {
  const auto local = address_of(socket, getsockname), remote = address_of(socket, getpeername);
  auto figures = transport_figures(socket);
  if (!local || !remote || !figures) return nullptr;
  const std::lock_guard lock(mutex_);
  lanes_.push_front({socket, *local, *remote, *figures});
  return std::unique_ptr<Watched>(new Watched(shared_from_this(), lanes_.begin()));
}

std::vector<LaneTraffic::Carried> LaneTraffic::take() {
  std::vector<Carried> all;
  const std::lock_guard lock(mutex_);
  for (Watched::Lane& lane : lanes_) {
    const auto figures = transport_figures(lane.socket);
    if (!figures) continue;  // it has just ended
    // After that: the kernel counts back from when it was asked.
    const auto now = Clock::now();
    const TransportFigures before = std::exchange(lane.seen, *figures);
    const bool acknowledged = figures->acknowledged > before.acknowledged;
    const bool received = figures->received > before.received;
    if (!acknowledged && !received) continue;
    auto ago = acknowledged ? figures->since_acknowledged : figures->since_received;
    if (received) ago = std::min(ago, figures->since_received);
    all.push_back({lane.local, lane.remote, now - ago});
  }
  return all;
}

}  // namespace homeport::overlay
