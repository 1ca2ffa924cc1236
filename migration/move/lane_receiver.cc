#include "migration/move/lane_receiver.h"

#include "migration/move/move.pb.h"
#include "overlay/log/log.h"

#include <fmt/format.h>

namespace homeport::migration {

namespace errc = boost::system::errc;
using policy::Result;

namespace {

/// More than a source can have paths, with some that it has given up and this host has not noticed.
constexpr std::size_t kMostLanes = 32;

/// What has come is none of what may; otherwise the lane has ended, for whatever reason.
bool is_malformed(const policy::Error& error) {
  return error.code == errc::bad_message || error.code == errc::message_size;
}

}  // namespace

/// Applies what comes on `lane` until it ends, in good order or not; the error: what came is wrong,
/// or cannot be stored.
boost::asio::awaitable<Result<void>> LaneReceiver::receive_pages(
    std::shared_ptr<Incoming> incoming, std::shared_ptr<overlay::Channel> lane) {
  std::vector<std::byte> payload;  // used again for every batch
  while (true) {
    auto message = co_await lane->receive<LaneMessage>(&payload);
    // It may have come in full before the lane was closed.
    if (incoming->sealed) co_return Result<void>{};
    if (!message) co_return is_malformed(message.error()) ? message.error() : Result<void>{};
    switch (message->what_case()) {
      case LaneMessage::kPages:
        if (auto applied = incoming->target.store->apply(message->pages(), payload); !applied) {
          co_return applied;
        }
        break;
      case LaneMessage::kFlush: {
        LaneFlushed flushed;
        flushed.set_flush(message->flush());
        if (auto sent = co_await lane->send(flushed); !sent) co_return Result<void>{};
        break;
      }
      default:
        co_return policy::make_error(
            errc::bad_message,
            fmt::format("{} sent something on a lane that is neither pages nor a flush",
                        lane->peer()));
    }
  }
}

void LaneReceiver::expect(LaneTarget target) {
  auto incoming = std::make_shared<Incoming>();
  incoming->target = std::move(target);
  incoming_[incoming->target.move_id] = std::move(incoming);
}

void LaneReceiver::forget(const std::string& move_id) {
  auto found = incoming_.find(move_id);
  if (found == incoming_.end()) return;
  close_lanes(*found->second);
  incoming_.erase(found);  // the memory goes when the last lane's coroutine has ended
}

void LaneReceiver::close_lanes(Incoming& incoming) {
  incoming.sealed = true;
  for (auto& lane : incoming.lanes) lane->close();
}

Result<void> LaneReceiver::seal(const std::string& move_id) {
  auto found = incoming_.find(move_id);
  if (found == incoming_.end()) {
    return policy::make_error(errc::operation_not_permitted,
                              fmt::format("move {} is not being received", move_id));
  }
  close_lanes(*found->second);
  const std::uint64_t missing = found->second->target.store->missing_pages();
  if (missing == 0) return {};
  return policy::make_error(
      errc::bad_message,
      fmt::format("move {}: {} pages of the guest's memory were never sent", move_id, missing));
}

boost::asio::awaitable<void> LaneReceiver::serve(overlay::Channel channel) {
  auto found = incoming_.find(channel.session());
  if (found == incoming_.end() || found->second->target.source != channel.peer() ||
      found->second->sealed) {
    overlay::log::info({{"peer", channel.peer()}},
                       "refused a lane of {}: no move \"{}\" is expected from it", channel.peer(),
                       channel.session());
    co_return;
  }
  std::shared_ptr<Incoming> incoming = found->second;
  if (incoming->lanes.size() >= kMostLanes) {
    overlay::log::info({{"peer", channel.peer()}}, "refused a lane of {}: it has {} already",
                       channel.peer(), kMostLanes);
    co_return;
  }
  auto lane = std::make_shared<overlay::Channel>(std::move(channel));
  incoming->lanes.push_back(lane);
  auto received = co_await receive_pages(incoming, lane);
  std::erase(incoming->lanes, lane);
  if (!received && !incoming->sealed) incoming->target.on_failure(received.error());
}

}  // namespace homeport::migration
