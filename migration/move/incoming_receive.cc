// From the request of a source to the application that is held: the destination's side of it.
#include "migration/move/incoming_move.h"
#include "migration/move/peer_message.h"
#include "overlay/link/tap.h"
#include "overlay/pause.h"
#include "overlay/spawn.h"

#include <fmt/format.h>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace homeport::migration {

namespace asio = boost::asio;
namespace errc = boost::system::errc;

namespace {

/// How long a guest's program that has just been started may take to look at its tap.
constexpr auto kReaderPatience = std::chrono::seconds(5);

}  // namespace

asio::awaitable<Result<void>> IncomingMove::prepare(const Prepare& request) {
  preparing_ = true;  // what calls it off meanwhile waits, see discard()
  auto outcome = co_await make_room(request);
  preparing_ = false;
  prepared_.cancel();
  // A failure takes the same way back as one at any later time.
  if (!outcome) co_await on(DestinationEvent::failed);
  if (outcome && machine_.state() != DestinationState::receiving) {
    outcome = policy::make_error(errc::operation_canceled,
                                 fmt::format("the move of {} was called off", entry_.application));
  }
  if (outcome && vm_) watch_guest();
  co_return outcome;
}

/// What is behind the devices is somebody else's: without them its traffic would be lost.
Result<void> IncomingMove::check_devices() const {
  for (const PortSpec& port : entry_.ports) {
    auto link = overlay::find_link(port.device);
    if (link && link->carrier) continue;
    const std::string what = !link      ? "is not there"
                             : link->up ? "has no carrier: the other end of it is down"
                                        : "is down";
    return policy::make_error(
        errc::no_such_device,
        fmt::format("{} of {} {} on {}: start what is behind it, and set it up, before the move",
                    port.device.empty() ? "the network device" : port.device, entry_.application,
                    what, context_->host));
  }
  return {};
}

Result<void> IncomingMove::hold_devices() {
  if (auto there = check_devices(); !there) return there;
  for (const PortSpec& port : entry_.ports) {
    if (auto held = context_->traffic.hold(entry_.application, port); !held) return held;
  }
  return {};
}

asio::awaitable<Result<void>> IncomingMove::make_room(const Prepare& request) {
  if (auto written = context_->journal.write(entry_); !written) co_return written.error();
  if (entry_.cargo == Cargo::ports) co_return hold_devices();
  VmSpec spec{entry_.application,   entry_.generation, request.launch_profile(),
              request.memory_mib(), request.vcpus(),   {}};
  std::vector<overlay::UniqueFd> queues;  // the guest has copies once it is started
  Result<void> outcome{};
  for (const PortSpec& port : entry_.ports) {
    auto queue = context_->traffic.provide(entry_.application, port);
    if (!queue) {
      outcome = queue.error();
      break;
    }
    queues.push_back(std::move(*queue));
    spec.nics.push_back({queues.back().get(), port.device, port.mac.to_string(), port.mtu});
  }
  if (outcome) {
    auto vm = co_await context_->driver.launch(std::move(spec), LaunchMode::incoming);
    if (vm) {
      vm_ = std::make_shared<Vm>(std::move(*vm));
      outcome = co_await vm_->prepare_for_move();
    } else {
      outcome = vm.error();
    }
  }
  if (outcome) outcome = co_await prime_taps(queues);
  if (outcome) {
    auto target = co_await map_memory(request);
    if (target) {
      auto expect = [lanes = &context_->lanes,
                     target = std::move(*target)]() mutable -> asio::awaitable<void> {
        lanes->expect(std::move(target));
        co_return;
      };
      co_await asio::co_spawn(context_->lane_executor, std::move(expect), asio::use_awaitable);
    } else {
      outcome = target.error();
    }
  }
  co_return outcome;
}

/// Lets the paused guest's program read its one frame ahead now, see overlay::put_blank_frame().
asio::awaitable<Result<void>> IncomingMove::prime_taps(
    const std::vector<overlay::UniqueFd>& queues) {
  const auto deadline = std::chrono::steady_clock::now() + kReaderPatience;
  for (std::size_t i = 0; i < queues.size(); ++i) {
    const std::string& device = entry_.ports[i].device;
    if (auto primed = overlay::put_blank_frame(device); !primed) co_return primed;
    while (true) {
      auto empty = overlay::tap_queue_empty(queues[i].get());
      if (!empty) co_return empty.error();
      if (*empty) break;
      if (std::chrono::steady_clock::now() > deadline) {
        co_return policy::make_error(
            errc::timed_out,
            fmt::format("the guest of {} does not read its tap {}: does its launch profile connect "
                        "{{tap_fd}}?",
                        entry_.application, device));
      }
      co_await overlay::pause(std::chrono::milliseconds(2));
    }
  }
  co_return Result<void>{};
}

asio::awaitable<Result<LaneTarget>> IncomingMove::map_memory(const Prepare& request) {
  auto blocks = co_await vm_->ram_blocks();
  if (!blocks) co_return blocks.error();
  auto matching = matching_blocks(request, *blocks);
  if (!matching) co_return policy::with_context(context_->host, matching.error());
  LaneTarget target;
  target.move_id = entry_.move_id;
  target.source = entry_.peer;
  std::vector<PageStore::Target> targets;
  for (const RamBlock& mine : *matching) {
    auto file = vm_->open_ram(mine);
    if (!file) co_return file.error();
    auto memory = GuestMemory::map(file->get(), mine.offset, mine.size, Access::write);
    if (!memory) co_return memory.error();
    targets.push_back(memory->store_target());
    target.memory.push_back(std::move(*memory));
  }
  target.store = std::make_unique<PageStore>(std::move(targets));
  target.on_failure = [self = weak_from_this(),
                       executor = context_->executor](policy::Error error) {
    auto report = [self, error]() -> asio::awaitable<void> {
      if (auto move = self.lock()) {
        move->fail(fmt::format("a lane of {} carried what cannot be taken in: {}",
                               move->entry_.peer, error.message));
        co_await move->on(DestinationEvent::failed);
      }
    };
    overlay::spawn(executor, report);
  };
  co_return target;
}

asio::awaitable<Result<void>> IncomingMove::load(overlay::Channel& channel,
                                                 std::vector<std::byte> first) {
  if (!vm_ || machine_.state() != DestinationState::receiving) {
    co_return policy::make_error(
        errc::operation_not_permitted,
        fmt::format("{} is not receiving {}", context_->host, entry_.application));
  }
  auto seal = [self = shared_from_this()]() -> asio::awaitable<Result<void>> {
    co_return self->context_->lanes.seal(self->entry_.move_id);
  };
  auto complete = co_await asio::co_spawn(context_->lane_executor, seal, asio::use_awaitable);
  if (!complete) {
    co_await on(DestinationEvent::failed);
    co_return complete.error();
  }
  std::uint64_t received = 0;
  StateSource source = [&]() -> asio::awaitable<Result<std::vector<std::byte>>> {
    if (!first.empty()) {
      received += first.size();
      co_return std::exchange(first, {});
    }
    std::vector<std::byte> piece;
    auto message = co_await channel.receive<ToDestination>(&piece);
    if (!message) co_return message.error();
    received += piece.size();
    if (received > kDeviceStateLimit) {
      co_return policy::make_error(errc::file_too_large,
                                   fmt::format("the device state from {} is more than {} bytes",
                                               entry_.peer, kDeviceStateLimit));
    }
    if (message->has_device_state() && !piece.empty()) co_return piece;
    if (message->has_device_state_end() && message->device_state_end().size_bytes() == received) {
      co_return std::vector<std::byte>{};
    }
    co_return policy::make_error(
        errc::bad_message,
        fmt::format("{} broke off the device state after {} bytes", entry_.peer, received));
  };
  const policy::Error not_any_more = policy::make_error(
      errc::operation_not_permitted,
      fmt::format("{} does not receive {} any more", context_->host, entry_.application));
  auto vm = vm_;  // it may have ended meanwhile, or the move may have been called off
  if (!vm || machine_.state() != DestinationState::receiving) co_return not_any_more;
  auto loaded = co_await vm->load_device_state(source);
  if (!loaded) {
    co_await on(DestinationEvent::failed);
    co_return loaded.error();
  }
  if (machine_.state() != DestinationState::receiving) co_return not_any_more;
  co_return co_await begin_holding();
}

asio::awaitable<Result<void>> IncomingMove::get_ready() {
  if (machine_.state() != DestinationState::receiving) {
    co_return policy::make_error(
        errc::operation_not_permitted,
        fmt::format("{} is not receiving {}", context_->host, entry_.application));
  }
  if (auto there = check_devices(); !there) {
    co_await on(DestinationEvent::failed);
    co_return there.error();
  }
  co_return co_await begin_holding();
}

/// The machine writes Ready down before anybody hears of it.
asio::awaitable<Result<void>> IncomingMove::begin_holding() {
  co_await on(DestinationEvent::loaded);
  if (machine_.state() != DestinationState::holding) {
    co_return policy::make_error(errc::io_error, fmt::format("{} could not write down that it "
                                                             "holds {}",
                                                             context_->host, entry_.application));
  }
  co_return Result<void>{};
}

}  // namespace homeport::migration
