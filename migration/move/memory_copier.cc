#include "migration/move/memory_copier.h"

#include "overlay/log/log.h"

#include <fmt/format.h>
#include <boost/asio/post.hpp>

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
/// Stop, device state, commit and resume, before this move has measured its own.
constexpr auto kSwitchOverEstimate = 20ms;

}  // namespace

MemoryCopier::MemoryCopier(CopierSetup setup) : setup_(std::move(setup)) {
  for (const RamBlock& block : setup_.blocks) shared_.ram_bytes += block.size;
  shared_.bytes_left = shared_.ram_bytes.load();
  LaneSetup lanes{.executor = setup_.executor,
                  .about = setup_.about,
                  .endpoints = setup_.lane_endpoints,
                  .connect = setup_.lane,
                  .tls = setup_.tls,
                  .peer_check = setup_.peer_check,
                  .report = setup_.report};
  lanes_ = std::make_shared<LaneSet>(std::move(lanes));
}

MemoryCopier::~MemoryCopier() {
  asio::post(setup_.executor, [lanes = lanes_] { lanes->close(); });
}

void MemoryCopier::use_paths(std::vector<LanePath> paths) {
  asio::post(setup_.executor, [lanes = lanes_, paths = std::move(paths)]() mutable {
    lanes->use_paths(std::move(paths));
  });
}

void MemoryCopier::cancel() {
  shared_.cancelled = true;
  // A lane that is blocked would notice only when its peer moves.
  asio::post(setup_.executor, [lanes = lanes_] { lanes->close(); });
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
  shared_.bytes_sent = lanes_->bytes_sent();
  shared_.bytes_left = ledger_->pending_bytes();
  const auto now = steady_clock::now();
  const std::chrono::duration<double> elapsed = now - rate_since_;
  if (elapsed < kShortestRate) return;
  shared_.bytes_per_second = static_cast<std::uint64_t>(
      static_cast<double>(lanes_->bytes_sent() - rate_from_) / elapsed.count());
  if (elapsed < kLongestRate) return;
  rate_since_ = now;
  rate_from_ = lanes_->bytes_sent();
}

Result<void> MemoryCopier::attach() {
  std::vector<TrackedBlock> tracked;
  std::vector<GuestMemory> mapped;
  std::vector<std::span<const std::byte>> spans;
  for (std::size_t i = 0; i < setup_.blocks.size(); ++i) {
    const RamBlock& block = setup_.blocks[i];
    auto memory = GuestMemory::map(setup_.files[i].get(), block.offset, block.size, Access::read);
    if (!memory) return memory.error();
    tracked.push_back({block.host_address, block.size});
    spans.push_back(memory->bytes());
    mapped.push_back(std::move(*memory));
  }
  auto tracker = DirtyTracker::attach(setup_.pid, std::move(tracked));
  if (!tracker) return tracker.error();
  tracker_.emplace(std::move(*tracker));
  PageLedger ledger(std::move(spans), {.pinned_io = setup_.pinned_io});
  captured_ = std::make_shared<Captured>(Captured{std::move(mapped), std::move(ledger)});
  ledger_ = std::shared_ptr<PageLedger>(captured_, &captured_->ledger);
  return {};
}

Result<void> MemoryCopier::scan() {
  PageSet written = ledger_->empty_set();
  if (auto scanned = tracker_->scan(written); !scanned) return scanned;
  ledger_->note_scan(written);
  return {};
}

asio::awaitable<Result<void>> MemoryCopier::open() {
  if (auto opened = co_await lanes_->open(); !opened) co_return opened;
  if (auto attached = attach(); !attached) co_return attached;
  if (auto scanned = scan(); !scanned) co_return scanned;
  PageSet holes = ledger_->empty_set();
  for (std::uint32_t i = 0; i < captured_->memory.size(); ++i) {
    if (auto found = captured_->memory[i].find_holes(i, holes); !found) co_return found;
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
asio::awaitable<Result<void>> MemoryCopier::send_round(LaneSet::Guest guest) {
  ledger_->begin_round();
  LaneSet::Look look = [this, guest]() -> Result<void> {
    if (auto going_on = check_cancelled(); !going_on) return going_on;
    if (guest == LaneSet::Guest::is_stopped) return {};
    if (auto scanned = scan(); !scanned) return scanned;
    publish();
    return {};
  };
  auto sent = co_await lanes_->send_round(ledger_, guest, std::move(look), kScanInterval);
  publish();
  co_return sent;
}

asio::awaitable<Result<void>> MemoryCopier::copy_until_converged() {
  auto self = shared_from_this();
  if (auto going_on = check_cancelled(); !going_on) co_return going_on;
  if (!ledger_) {
    if (auto opened = co_await open(); !opened) co_return opened;
  }
  while (true) {
    const auto round_began = steady_clock::now();
    const std::uint64_t sent_before = lanes_->bytes_sent();
    if (auto sent = co_await send_round(LaneSet::Guest::runs); !sent) {
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
    rounds_.push_back({lanes_->bytes_sent() - sent_before, steady_clock::now() - round_began,
                       ledger_->pending_bytes()});
    ++shared_.rounds;

    policy::FixedCosts costs;
    costs.switch_over = kSwitchOverEstimate;
    auto decision =
        policy::decide_convergence(setup_.limits, rounds_, costs, steady_clock::now() - began_);
    log::debug(setup_.about, "copying: round {}: {}", rounds_.size(), decision.reason);
    switch (decision.step) {
      case policy::ConvergenceStep::another_round:
        if (!decision.gives_way) lanes_->press();
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
  // Once, unless a lane is lost meanwhile.
  do {
    auto sent = co_await send_round(LaneSet::Guest::is_stopped);
    if (auto going_on = check_cancelled(); !going_on) co_return going_on;
    if (!sent) co_return sent;
  } while (ledger_->pending_pages() > 0);
  lanes_->close();
  co_return Result<void>{};
}

}  // namespace homeport::migration
