#include "migration/move/lane_receiver.h"

#include "migration/move/move.pb.h"
#include "overlay/log/log.h"

#include <fmt/format.h>

namespace homeport::migration {

namespace {

/// Applies what comes on `lane` until it ends; eof is the good end.
boost::asio::awaitable<policy::Error> receive_pages(overlay::Channel& lane, PageStore& store) {
  std::vector<std::byte> payload;  // used again for every batch
  while (true) {
    auto message = co_await lane.receive<LaneMessage>(&payload);
    if (!message) co_return message.error();
    switch (message->what_case()) {
      case LaneMessage::kPages:
        if (auto applied = store.apply(message->pages(), payload); !applied) {
          co_return applied.error();
        }
        break;
      case LaneMessage::kFlush: {
        LaneFlushed flushed;
        flushed.set_flush(message->flush());
        if (auto sent = co_await lane.send(flushed); !sent) co_return sent.error();
        break;
      }
      default:
        co_return policy::make_error(
            boost::system::errc::bad_message,
            fmt::format("{} sent something on a lane that is neither pages nor a flush",
                        lane.peer()));
    }
  }
}

}  // namespace

void LaneReceiver::expect(LaneTarget target) {
  auto incoming = std::make_shared<Incoming>();
  incoming->target = std::move(target);
  incoming_[incoming->target.move_id] = std::move(incoming);
}

void LaneReceiver::forget(const std::string& move_id) {
  auto found = incoming_.find(move_id);
  if (found == incoming_.end()) return;
  for (auto& lane : found->second->lanes) lane->close();
  incoming_.erase(found);  // the memory goes when the last lane's coroutine has ended
}

policy::Result<void> LaneReceiver::check_complete(const std::string& move_id) const {
  auto found = incoming_.find(move_id);
  if (found == incoming_.end()) {
    return policy::make_error(boost::system::errc::operation_not_permitted,
                              fmt::format("move {} is not being received", move_id));
  }
  const std::uint64_t missing = found->second->target.store->missing_pages();
  if (missing == 0) return {};
  return policy::make_error(
      boost::system::errc::bad_message,
      fmt::format("move {}: {} pages of the guest's memory were never sent", move_id, missing));
}

boost::asio::awaitable<void> LaneReceiver::serve(overlay::Channel channel) {
  auto found = incoming_.find(channel.session());
  if (found == incoming_.end() || found->second->target.source != channel.peer()) {
    overlay::log::info({{"peer", channel.peer()}},
                       "refused a lane of {}: no move \"{}\" is expected from it", channel.peer(),
                       channel.session());
    co_return;
  }
  std::shared_ptr<Incoming> incoming = found->second;
  auto lane = std::make_shared<overlay::Channel>(std::move(channel));
  incoming->lanes.push_back(lane);
  policy::Error end = co_await receive_pages(*lane, *incoming->target.store);
  std::erase(incoming->lanes, lane);
  if (end.code != boost::asio::error::eof && !end.cancelled()) incoming->target.on_failure(end);
}

}  // namespace homeport::migration
