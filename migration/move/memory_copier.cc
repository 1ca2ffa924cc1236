#include "migration/move/memory_copier.h"

#include "migration/move/move.pb.h"
#include "overlay/log/log.h"

#include <fmt/format.h>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>

namespace homeport::migration {

namespace asio = boost::asio;
namespace log = overlay::log;
namespace errc = boost::system::errc;
using namespace std::chrono_literals;
using policy::Result;
using std::chrono::steady_clock;

namespace {

/// How often a long round looks for pages that were written again before their turn came.
constexpr auto kScanInterval = 100ms;
/// What the rate that is shown is measured over.
constexpr auto kShortestRate = 200ms, kLongestRate = 1000ms;
/// How long the destination may take to write what it has received into memory.
constexpr auto kFlushPatience = 15s;
/// Stop, device state, commit and resume, before this move has measured its own.
constexpr auto kSwitchOverEstimate = 20ms;

}  // namespace

MemoryCopier::MemoryCopier(CopierSetup setup) : setup_(std::move(setup)) {
  for (const RamBlock& block : setup_.blocks) shared_.ram_bytes += block.size;
  shared_.bytes_left = shared_.ram_bytes.load();
}

void MemoryCopier::cancel() {
  shared_.cancelled = true;
  // A lane that is blocked would notice only when its peer moves.
  asio::post(setup_.executor, [self = shared_from_this()] { self->lane_.close(); });
}

CopyProgress MemoryCopier::progress() const {
  return {shared_.ram_bytes, shared_.bytes_sent, shared_.bytes_left, shared_.bytes_per_second,
          shared_.rounds};
}

Result<void> MemoryCopier::check_cancelled() const {
  if (!shared_.cancelled) return {};
  return policy::make_error(errc::operation_canceled, "cancelled on request");
}

/// What the task's status shows.
void MemoryCopier::publish() {
  shared_.bytes_sent = lane_.bytes_sent();
  shared_.bytes_left = ledger_->pending_bytes();
  const auto now = steady_clock::now();
  const std::chrono::duration<double> elapsed = now - rate_since_;
  if (elapsed < kShortestRate) return;
  shared_.bytes_per_second = static_cast<std::uint64_t>(
      static_cast<double>(lane_.bytes_sent() - rate_from_) / elapsed.count());
  if (elapsed < kLongestRate) return;
  rate_since_ = now;
  rate_from_ = lane_.bytes_sent();
}

asio::awaitable<Result<void>> MemoryCopier::connect_lane() {
  policy::Error last =
      policy::make_error(errc::host_unreachable,
                         fmt::format("{} named no endpoint for lanes", setup_.lane.expected_host));
  for (const auto& endpoint : setup_.lane_endpoints) {
    if (auto going_on = check_cancelled(); !going_on) co_return going_on;
    overlay::ConnectOptions options = setup_.lane;
    options.endpoint = endpoint;
    auto lane = co_await overlay::connect(*setup_.tls, options, setup_.peer_check);
    if (lane) {
      lane_ = std::move(*lane);
      co_return Result<void>{};
    }
    last = lane.error();
  }
  co_return last;
}

Result<void> MemoryCopier::attach() {
  std::vector<TrackedBlock> tracked;
  std::vector<std::span<const std::byte>> spans;
  for (std::size_t i = 0; i < setup_.blocks.size(); ++i) {
    const RamBlock& block = setup_.blocks[i];
    auto memory = GuestMemory::map(setup_.files[i].get(), block.offset, block.size, Access::read);
    if (!memory) return memory.error();
    tracked.push_back({block.host_address, block.size});
    spans.push_back(memory->bytes());
    memory_.push_back(std::move(*memory));
  }
  auto tracker = DirtyTracker::attach(setup_.pid, std::move(tracked));
  if (!tracker) return tracker.error();
  tracker_.emplace(std::move(*tracker));
  ledger_ = std::make_unique<PageLedger>(std::move(spans),
                                         PageLedger::Options{.pinned_io = setup_.pinned_io});
  return {};
}

Result<void> MemoryCopier::scan() {
  PageSet written = ledger_->empty_set();
  if (auto scanned = tracker_->scan(written); !scanned) return scanned;
  ledger_->note_scan(written);
  return {};
}

asio::awaitable<Result<void>> MemoryCopier::open() {
  if (auto connected = co_await connect_lane(); !connected) co_return connected;
  if (auto attached = attach(); !attached) co_return attached;
  if (auto scanned = scan(); !scanned) co_return scanned;
  PageSet holes = ledger_->empty_set();
  for (std::uint32_t i = 0; i < memory_.size(); ++i) {
    if (auto found = memory_[i].find_holes(i, holes); !found) co_return found;
  }
  ledger_->note_holes(holes);
  if (setup_.pinned_io) {
    if (auto passed = co_await setup_.barrier(); !passed) co_return passed;
    ledger_->note_barrier();
  }
  began_ = rate_since_ = steady_clock::now();
  co_return Result<void>{};
}

/// Sends what waits; done when the destination has it in its guest's memory.
asio::awaitable<Result<void>> MemoryCopier::send_round(bool running) {
  ledger_->begin_round();
  LaneMessage message;
  auto next_scan = steady_clock::now() + kScanInterval;
  while (auto batch = ledger_->next_batch()) {
    if (auto going_on = check_cancelled(); !going_on) co_return going_on;
    *message.mutable_pages() = std::move(batch->header);
    if (auto sent = co_await lane_.send(message, batch->payload); !sent) co_return sent;
    if (!running || steady_clock::now() < next_scan) continue;
    if (auto scanned = scan(); !scanned) co_return scanned;
    publish();
    next_scan = steady_clock::now() + kScanInterval;
  }
  auto flushed = co_await flush();
  publish();
  co_return flushed;
}

asio::awaitable<Result<void>> MemoryCopier::flush() {
  LaneMessage message;
  message.set_flush(++flushes_);
  if (auto sent = co_await lane_.send(message); !sent) co_return sent;

  // A destination that hangs keeps its connection alive, so time itself must end the wait.
  auto late = std::make_shared<bool>(false);
  asio::steady_timer timer(setup_.executor, kFlushPatience);
  timer.async_wait([self = shared_from_this(), late](boost::system::error_code error) {
    if (error) return;
    *late = true;
    self->lane_.close();
  });
  auto answer = co_await lane_.receive<LaneFlushed>();
  timer.cancel();
  if (*late) {
    co_return policy::make_error(errc::timed_out,
                                 fmt::format("{} did not take in the memory it was sent within "
                                             "{} s",
                                             lane_.peer(), kFlushPatience.count()));
  }
  if (!answer) co_return answer.error();
  if (answer->flush() != flushes_) {
    co_return policy::make_error(
        errc::bad_message, fmt::format("{} answered flush {} where {} was asked", lane_.peer(),
                                       answer->flush(), flushes_));
  }
  co_return Result<void>{};
}

asio::awaitable<Result<void>> MemoryCopier::copy_until_converged() {
  auto self = shared_from_this();
  if (auto going_on = check_cancelled(); !going_on) co_return going_on;
  if (!ledger_) {
    if (auto opened = co_await open(); !opened) co_return opened;
  }
  while (true) {
    const auto round_began = steady_clock::now();
    const std::uint64_t sent_before = lane_.bytes_sent();
    if (auto sent = co_await send_round(true); !sent) {
      if (auto going_on = check_cancelled(); !going_on) co_return going_on;
      co_return sent;
    }
    if (setup_.pinned_io) {
      if (auto passed = co_await setup_.barrier(); !passed) co_return passed;
      ledger_->note_barrier();
      ledger_->recheck();
    }
    if (auto scanned = scan(); !scanned) co_return scanned;
    publish();
    rounds_.push_back({lane_.bytes_sent() - sent_before, steady_clock::now() - round_began,
                       ledger_->pending_bytes()});
    ++shared_.rounds;

    policy::FixedCosts costs;
    costs.switch_over = kSwitchOverEstimate;
    auto decision =
        policy::decide_convergence(setup_.limits, rounds_, costs, steady_clock::now() - began_);
    log::debug(setup_.about, "copying: round {}: {}", rounds_.size(), decision.reason);
    switch (decision.step) {
      case policy::ConvergenceStep::another_round:
        break;
      case policy::ConvergenceStep::switch_now:
        co_return Result<void>{};
      case policy::ConvergenceStep::switch_by_force:
        log::warn(setup_.about, "copying: switching by force: {}", decision.reason);
        co_return Result<void>{};
      case policy::ConvergenceStep::give_up:
        co_return policy::make_error(errc::timed_out, decision.reason);
    }
  }
}

asio::awaitable<Result<void>> MemoryCopier::copy_rest() {
  auto self = shared_from_this();
  if (auto scanned = scan(); !scanned) co_return scanned;
  if (setup_.pinned_io) {
    // The guest was stopped, which is a barrier: nothing lands any more.
    ledger_->note_barrier();
    ledger_->recheck();
  }
  co_return co_await send_round(false);
}

}  // namespace homeport::migration
