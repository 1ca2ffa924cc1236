// From the beginning of a move to the destination that is ready: the source's side of it.
#include "migration/move/about.h"
#include "migration/move/peer_message.h"
#include "migration/move/source_move.h"
#include "overlay/link/tap.h"
#include "overlay/pause.h"
#include "policy/text.h"

#include <fmt/format.h>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <algorithm>
#include <iterator>
#include <vector>

namespace homeport::migration {

namespace asio = boost::asio;
namespace errc = boost::system::errc;
using namespace std::chrono_literals;
using std::chrono::steady_clock;

namespace {

/// How long the guest gets to empty its own receive queue. What is left then is sent on after it.
constexpr auto kDrainPatience = 500ms;
/// How long an unreachable database may keep a copied guest waiting before the move goes back.
constexpr auto kSessionPatience = 30s;

/// What the destination is asked to make room for.
ToDestination prepare_message(const MoveRequest& request, const std::vector<RamBlock>& blocks) {
  ToDestination message;
  Prepare& prepare = *message.mutable_prepare();
  prepare.set_move_id(request.entry.move_id);
  prepare.set_application(request.entry.application);
  prepare.set_launch_profile(request.launch_profile);
  prepare.set_memory_mib(request.memory_mib);
  prepare.set_vcpus(request.vcpus);
  prepare.set_ports_only(request.entry.cargo == Cargo::ports);
  prepare.set_generation(request.entry.generation);
  prepare.set_application_row(request.application_row);
  for (const std::string& row : request.binding_rows) prepare.add_binding_rows(row);
  for (const PortSpec& port : request.entry.ports) {
    MovePort& added = *prepare.add_ports();
    added.set_binding(port.binding);
    added.set_vni(port.vni);
    added.set_mac(port.mac.bytes.data(), port.mac.bytes.size());
    added.set_mtu(port.mtu);
  }
  for (const RamBlock& block : blocks) {
    MoveRamBlock& added = *prepare.add_ram_blocks();
    added.set_id(block.id);
    added.set_size_bytes(block.size);
  }
  return message;
}

}  // namespace

template <class T>
asio::awaitable<T> SourceMove::on_bulk(asio::awaitable<T> work) {
  return asio::co_spawn(bulk_->get_executor(), std::move(work), asio::use_awaitable);
}

// --- While the guest runs here.

asio::awaitable<SourceEvent> SourceMove::prepare_destination() {
  if (auto written = context_->journal.write(entry()); !written) co_return fail(written.error());
  sign_handovers();
  co_await hold("requested");
  if (entry().cargo == Cargo::vm) {
    if (auto prepared = co_await prepare_vm(); !prepared) co_return fail(prepared.error());
  } else {
    ToDestination message = prepare_message(request_, {});
    if (auto room = co_await ask_for_room(std::move(message)); !room) co_return fail(room.error());
  }
  co_await hold("prepared");
  co_return Event::done;
}

asio::awaitable<Result<void>> SourceMove::prepare_vm() {
  if (auto movable = co_await vm_->check_movable(); !movable) co_return movable.error();
  if (auto ready = co_await vm_->prepare_for_move(); !ready) co_return ready.error();
  auto blocks = co_await vm_->ram_blocks();
  if (!blocks) co_return blocks.error();
  auto pinned = co_await vm_->has_pinned_io();
  if (!pinned) co_return pinned.error();

  CopierSetup setup;
  for (const RamBlock& block : *blocks) {
    auto file = vm_->open_ram(block);
    if (!file) co_return file.error();
    setup.files.push_back(std::move(*file));
  }
  ToDestination message = prepare_message(request_, *blocks);
  auto room = co_await ask_for_room(std::move(message));
  if (!room) co_return room.error();

  setup.about = about(entry());
  setup.pid = vm_->pid();
  setup.blocks = std::move(*blocks);
  setup.pinned_io = *pinned;
  setup.limits = request_.limits;
  bulk_.emplace(1);
  setup.executor = bulk_->get_executor();
  auto lanes = lane_endpoints_of(*room);
  if (!lanes) co_return policy::with_context(entry().peer, lanes.error());
  setup.lane_endpoints = std::move(*lanes);
  setup.lane.expected_host = entry().peer;
  setup.lane.purpose = overlay::Purpose::lane;
  setup.lane.session = entry().move_id;
  setup.lane.timeouts = context_->timeouts;
  setup.lane.traffic = context_->lane_traffic;
  setup.tls = context_->tls;
  setup.peer_check = context_->peer_check;
  setup.report = [executor = context_->executor, weak = weak_from_this()](auto all) {
    asio::post(executor, [weak, all = std::move(all)] {
      if (auto self = weak.lock()) self->lanes_are(all);
    });
  };
  // Stop and go: no I/O that was under way before is still to land in guest memory.
  setup.barrier = [vm = vm_, context = context_]() -> asio::awaitable<Result<void>> {
    auto stop_and_go = [vm, context]() -> asio::awaitable<Result<void>> {
      auto stopped = co_await vm->stop();
      if (context->hold) co_await context->hold("barrier");
      auto resumed = co_await vm->cont();
      if (!stopped) co_return stopped.error();
      co_return resumed;
    };
    co_return co_await asio::co_spawn(context->executor, stop_and_go, asio::use_awaitable);
  };
  copier_ = std::make_shared<MemoryCopier>(std::move(setup));
  follow_paths();
  co_return Result<void>{};
}

/// The paths to the destination -> the lanes, and back what these show of them.
void SourceMove::follow_paths() {
  if (context_->lane_paths == nullptr) return;
  paths_ = context_->lane_paths->follow(
      entry().peer, [weak = std::weak_ptr(copier_)](std::vector<LanePath> paths) {
        if (auto copier = weak.lock()) copier->use_paths(std::move(paths));
      });
}

void SourceMove::lanes_are(const std::vector<LaneReport>& all) {
  lanes_ = all;
  if (!paths_) return;
  std::vector<LaneReport> open;
  std::ranges::copy_if(all, std::back_inserter(open),
                       [](const LaneReport& lane) { return lane.state == LaneState::open; });
  paths_->lanes(open);
}

asio::awaitable<Result<Prepared>> SourceMove::ask_for_room(ToDestination message) {
  auto answer = co_await ask(std::move(message));
  if (!answer) co_return answer.error();
  if (answer->has_prepared()) co_return answer->prepared();
  co_return policy::make_error(errc::operation_not_permitted,
                               answer->has_refused()
                                   ? fmt::format("{} refused: {}", entry().peer,
                                                 policy::printable(answer->refused().reason()))
                                   : fmt::format("{} did not say what it was asked", entry().peer));
}

asio::awaitable<SourceEvent> SourceMove::copy_rounds() {
  if (cancelled_) copier_->cancel();
  co_await hold("copying");
  auto copied = co_await on_bulk(copier_->copy_until_converged());
  co_return copied ? Event::done : fail(copied.error());
}

asio::awaitable<SourceEvent> SourceMove::check_session() {
  const auto deadline = steady_clock::now() + kSessionPatience;
  bool waited = false;
  while (!co_await context_->ownership.answers(1s)) {
    if (cancelled_) co_return fail("cancelled on request");
    if (steady_clock::now() > deadline) {
      co_return fail(
          "the control database does not answer, and without it the move cannot be "
          "committed: move again when `homeport status` shows it synchronized");
    }
    waited = true;
    co_await overlay::pause(100ms);
  }
  if (!waited || !copier_) co_return Event::done;
  const Event copied = co_await copy_rounds();  // the guest has written since
  if (copied != Event::done) co_return copied;
  co_return co_await check_session();
}

asio::awaitable<SourceEvent> SourceMove::redirect() {
  auto redirected = context_->traffic.redirect(entry().application, entry().peer);
  if (!redirected) co_return fail(redirected.error());
  co_await hold("redirected");
  co_return Event::done;
}

asio::awaitable<SourceEvent> SourceMove::drain_receive_queue() {
  if (auto arrived = overlay::wait_for_frames_in_flight(); !arrived)
    co_return fail(arrived.error());
  if (entry().cargo == Cargo::ports) co_return Event::done;
  const auto deadline = steady_clock::now() + kDrainPatience;
  for (const PortSpec& port : entry().ports) {
    auto queue = vm_->borrow_tap(port.device);
    if (!queue) co_return fail(queue.error());
    // When this is read, everything before it is in the guest's memory.
    if (auto put = overlay::put_blank_frame(port.device); !put) co_return fail(put.error());
    while (steady_clock::now() < deadline) {
      auto empty = overlay::tap_queue_empty(queue->get());
      if (!empty) co_return fail(empty.error());
      if (*empty) break;
      co_await overlay::pause(1ms);
    }
  }
  co_return Event::done;
}

asio::awaitable<SourceEvent> SourceMove::stop_guest() {
  stopped_at_ = steady_clock::now();
  auto stopped = co_await vm_->stop();
  co_await hold("stopped");
  co_return stopped ? Event::done : fail(stopped.error());
}

// --- While the guest is stopped.

asio::awaitable<SourceEvent> SourceMove::copy_rest() {
  auto copied = co_await on_bulk(copier_->copy_rest());
  co_return copied ? Event::done : fail(copied.error());
}

asio::awaitable<SourceEvent> SourceMove::send_device_state() {
  if (!channel_) co_return fail(fmt::format("the channel to {} is lost", entry().peer));
  if (entry().cargo == Cargo::vm) {
    if (auto sent = co_await stream_device_state(); !sent) co_return fail(sent.error());
  }
  co_await hold("device-state");
  ToDestination end;
  end.mutable_device_state_end()->set_size_bytes(device_state_bytes_);
  auto answer = co_await ask(std::move(end));
  if (!answer) co_return fail(answer.error());
  if (answer->has_ready()) co_return Event::done;
  co_return fail(fmt::format(
      "{} {}: {}", entry().peer,
      entry().cargo == Cargo::vm ? "could not load the guest" : "is not ready for it",
      answer->has_failed() ? policy::printable(answer->failed().reason()) : "no reason given"));
}

asio::awaitable<Result<void>> SourceMove::stream_device_state() {
  auto channel = channel_;
  StateSink sink = [channel](std::span<const std::byte> piece) -> asio::awaitable<Result<void>> {
    ToDestination message;
    message.mutable_device_state();
    while (!piece.empty()) {
      auto part = piece.first(std::min(piece.size(), std::size_t{overlay::kMaxFramePayload}));
      if (auto sent = co_await channel->send(message, part); !sent) co_return sent.error();
      piece = piece.subspan(part.size());
    }
    co_return Result<void>{};
  };
  auto saved = co_await vm_->save_device_state(sink);
  if (!saved) co_return saved.error();
  device_state_bytes_ = *saved;
  co_return Result<void>{};
}

}  // namespace homeport::migration
