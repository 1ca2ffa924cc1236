#include "migration/move/destination.h"
#include "overlay/log/log.h"
#include "overlay/spawn.h"
#include "policy/text.h"

#include <fmt/format.h>

#include <algorithm>

namespace homeport::migration {

namespace asio = boost::asio;
namespace log = overlay::log;
namespace errc = boost::system::errc;

Destination::Destination(DestinationContext context)
    : context_(std::make_shared<const DestinationContext>(std::move(context))) {}

Destination::~Destination() = default;

std::shared_ptr<IncomingMove> Destination::find(const std::string& move_id,
                                                const std::string& source) const {
  for (const auto& [application, move] : moves_) {
    const JournalEntry& entry = move->entry();
    if (move->known() && entry.move_id == move_id && entry.peer == source) return move;
  }
  return nullptr;
}

bool Destination::all_known() const {
  return std::all_of(moves_.begin(), moves_.end(),
                     [](const auto& item) { return item.second->known(); });
}

void Destination::drop_finished() {
  // A finished move is kept until the next of the same application, so that a source that asks
  // again what became of it is told.
  constexpr std::size_t kRemembered = 64;
  if (moves_.size() <= kRemembered) return;
  std::erase_if(moves_, [](const auto& item) { return item.second->finished(); });
}

asio::awaitable<Result<std::shared_ptr<IncomingMove>>> Destination::prepare(std::string source,
                                                                            Prepare request) {
  auto ports = co_await context_->admit(source, request);
  if (!ports) co_return ports.error();
  // Nothing is awaited between here and the entry in moves_: others may come at the same time.
  if (!ending_.empty()) co_return policy::make_error(errc::operation_not_permitted, ending_);
  drop_finished();
  auto busy = moves_.find(request.application());
  if (busy != moves_.end() && !busy->second->finished()) {
    co_return policy::make_error(
        errc::device_or_resource_busy,
        fmt::format("{} is receiving {} already, in move {} from {} ({})", context_->host,
                    request.application(), busy->second->entry().move_id,
                    busy->second->entry().peer, to_string(busy->second->state())));
  }
  const auto under_way = std::count_if(moves_.begin(), moves_.end(),
                                       [](const auto& item) { return !item.second->finished(); });
  if (static_cast<std::size_t>(under_way) >= context_->max_moves) {
    co_return policy::make_error(errc::device_or_resource_busy,
                                 fmt::format("{} is receiving {} applications already: try again "
                                             "when one of them is done",
                                             context_->host, under_way));
  }
  for (const auto& [application, move] : moves_) {  // two containers that are to be behind one
    if (move->finished()) continue;
    for (const PortSpec& port : move->entry().ports) {
      if (std::ranges::find(*ports, port.device, &PortSpec::device) == ports->end()) continue;
      co_return policy::make_error(
          errc::device_or_resource_busy,
          fmt::format("{} is receiving {} at {}, the device of {}", context_->host, application,
                      port.device, request.application()));
    }
  }
  if (context_->runs(request.application())) {
    co_return policy::make_error(
        errc::device_or_resource_busy,
        fmt::format("{} still has {}", context_->host, request.application()));
  }
  if (std::ranges::any_of(moves_, [&](const auto& item) {
        return item.second->entry().move_id == request.move_id();
      })) {
    co_return policy::make_error(errc::invalid_argument,
                                 fmt::format("{} has a move {} already", context_->host,
                                             policy::printable(request.move_id())));
  }

  JournalEntry entry;
  entry.role = JournalEntry::Role::destination;
  entry.cargo = request.ports_only() ? Cargo::ports : Cargo::vm;
  entry.move_id = request.move_id();
  entry.application = request.application();
  entry.peer = source;
  entry.generation = request.generation();
  entry.ports = std::move(*ports);
  auto move = std::make_shared<IncomingMove>(context_, std::move(entry));
  moves_[request.application()] = move;
  if (auto prepared = co_await move->prepare(request); !prepared) co_return prepared.error();
  co_return move;
}

/// Whether the guest that a source asks about came to run here by a move that this agent, started
/// since, knows nothing of.
bool Destination::runs_since(const Resume& question) const {
  const auto owner = context_->ownership.last_seen(question.application());
  return owner && owner->host == context_->host && owner->generation >= question.generation() &&
         context_->runs(question.application());
}

/// What to say to one message; `move` is the one this channel is about, once it is known.
asio::awaitable<ToSource> Destination::answer(std::shared_ptr<overlay::Channel> channel,
                                              std::shared_ptr<IncomingMove>& move,
                                              ToDestination message,
                                              std::vector<std::byte>& payload) {
  ToSource answer;
  switch (message.what_case()) {
    case ToDestination::kPrepare: {
      if (move) break;  // a channel is about one move
      auto prepared = co_await prepare(channel->peer(), message.prepare());
      if (!prepared) {
        // No task: what a peer makes up must not count as many.
        log::warn({{"application", message.prepare().application()}, {"peer", channel->peer()}},
                  "refused {} of {}: {}", message.prepare().application(), channel->peer(),
                  prepared.error().message);
        answer.mutable_refused()->set_reason(prepared.error().message);
        co_return answer;
      }
      move = *prepared;
      for (const auto& endpoint : context_->lane_endpoints) {
        LaneEndpoint& added = *answer.mutable_prepared()->add_lane_endpoints();
        added.set_address(endpoint.address().to_string());
        added.set_port(endpoint.port());
      }
      co_return answer;
    }
    case ToDestination::kDeviceState: {
      if (!move) break;
      auto loaded = co_await move->load(*channel, std::move(payload));
      payload.clear();
      if (loaded) {
        answer.mutable_ready();
      } else {
        answer.mutable_failed()->set_reason(loaded.error().message);
      }
      co_return answer;
    }
    case ToDestination::kDeviceStateEnd: {
      if (!move || move->entry().cargo != Cargo::ports) break;  // of a VM, its state comes first
      auto ready = co_await move->get_ready();
      if (ready) {
        answer.mutable_ready();
      } else {
        answer.mutable_failed()->set_reason(ready.error().message);
      }
      co_return answer;
    }
    case ToDestination::kResume:
      if (!move) move = find(message.resume().move_id(), channel->peer());
      if (!move && runs_since(message.resume())) {
        context_->vouched(channel->peer(), message.resume());
        answer.mutable_running();
        co_return answer;
      }
      if (!move || message.resume().generation() != move->entry().generation + 1) {
        answer.mutable_failed()->set_reason(
            fmt::format("{} knows no move {} that ends with generation {}", context_->host,
                        message.resume().move_id(), message.resume().generation()));
        co_return answer;
      }
      answer = co_await move->resume();
      if (answer.has_running()) context_->vouched(channel->peer(), message.resume());
      co_return answer;
    case ToDestination::kCallOff:
      if (!move) move = find(message.call_off().move_id(), channel->peer());
      if (!move && !all_known()) {
        // The source makes sure by a new generation instead.
        answer.mutable_failed()->set_reason(
            fmt::format("{} is still looking at what its last agent left", context_->host));
        co_return answer;
      }
      if (!move) {
        answer.mutable_called_off();  // nothing of it is here
        co_return answer;
      }
      co_return co_await move->call_off(message.call_off().reason());
    default:
      break;
  }
  answer.mutable_failed()->set_reason("a message that has no place here");
  co_return answer;
}

asio::awaitable<void> Destination::serve(overlay::Channel connected) {
  auto channel = std::make_shared<overlay::Channel>(std::move(connected));
  std::shared_ptr<IncomingMove> move;
  std::vector<std::byte> payload;
  bool state_failed = false;
  while (true) {
    auto message = co_await channel->receive<ToDestination>(&payload);
    if (!message) break;
    const bool state = message->has_device_state() || message->has_device_state_end();
    if (state && state_failed) continue;  // the rest of what has been answered
    const bool last = message->has_resume() || message->has_call_off();
    ToSource reply = co_await answer(channel, move, std::move(*message), payload);
    state_failed = state && reply.has_failed();
    if (auto sent = co_await channel->send(reply); !sent) break;
    if (move) move->set_source_waits(!last);
  }
  if (!move) co_return;
  move->set_source_waits(false);
  co_await move->on(DestinationEvent::channel_lost);
}

void Destination::enter(JournalEntry entry) {
  auto move = std::make_shared<IncomingMove>(context_, std::move(entry), false);
  move->hold_ports();
  moves_[move->entry().application] = std::move(move);
}

asio::awaitable<void> Destination::take_up(std::string application) {
  auto move = moves_.at(application);
  co_await move->take_up();
  // What the control database has said meanwhile was not for it.
  if (auto owner = context_->ownership.last_seen(application)) on_owner(application, *owner);
}

bool Destination::expects(const std::string& application) const {
  auto move = moves_.find(application);
  return move != moves_.end() && !move->second->finished();
}

void Destination::wind_up(const std::string& why) {
  ending_ = why;
  for (const auto& [application, move] : moves_) move->give_up(why);
}

bool Destination::busy() const {
  return std::ranges::any_of(moves_, [](const auto& item) {
    return !item.second->finished() || item.second->source_waits();
  });
}

void Destination::on_owner(const std::string& application, const Owner& owner) {
  auto found = moves_.find(application);
  if (found == moves_.end() || owner.generation <= found->second->entry().generation) return;
  const DestinationEvent event = owner.host == context_->host ? DestinationEvent::owner_is_here
                                                              : DestinationEvent::owner_elsewhere;
  if (!found->second->known() || found->second->state() > DestinationState::holding) return;
  overlay::spawn(context_->executor, [move = found->second, event]() -> asio::awaitable<void> {
    co_await move->on(event);
  });
}

std::vector<Destination::View> Destination::incoming() const {
  std::vector<View> views;
  for (const auto& [application, move] : moves_) {
    if (move->finished()) continue;
    views.push_back({application, move->entry().peer, move->entry().move_id, move->state()});
  }
  return views;
}

}  // namespace homeport::migration
