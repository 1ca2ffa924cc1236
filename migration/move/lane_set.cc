#include "migration/move/lane_set.h"

#include "migration/memory/page_store.h"
#include "migration/move/move.pb.h"
#include "overlay/log/log.h"
#include "overlay/spawn.h"

#include <fmt/format.h>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <algorithm>
#include <deque>
#include <sstream>
#include <utility>

namespace homeport::migration {

namespace asio = boost::asio;
namespace log = overlay::log;
namespace errc = boost::system::errc;
using namespace std::chrono_literals;
using asio::ip::tcp;
using policy::Error;
using policy::Result;

namespace {

/// What is sent, and for how long, before it is to be confirmed: that much is sent twice at most,
/// beside what the kernel holds, when a lane is lost.
constexpr std::uint64_t kFlushBytes = 8 << 20;
constexpr auto kFlushInterval = 100ms;
/// Of less time no rate is known.
constexpr auto kShortestLook = 50ms;
/// So many lanes are told of; of more, for addresses that change, those that went first are not.
constexpr std::size_t kMostKnown = 32;

std::string text_of(const tcp::endpoint& endpoint) {
  std::ostringstream text;
  text << endpoint;
  return text.str();
}

/// The destination, or the machine that it was on, does not know of the move any more: no other
/// path makes a difference.
bool is_refusal(const Error& error) {
  return error.code == errc::connection_refused || error.code == errc::permission_denied ||
         error.code == errc::protocol_not_supported;
}

}  // namespace

struct LaneSet::Lane {
  /// Pages, and the flush that asks whether they have arrived.
  struct Sent {
    std::uint64_t flush = 0;
    Clock::time_point since{};  ///< when its first page, and then the flush, was sent
    std::vector<PageRun> pages = {};
    std::uint64_t bytes = 0;
  };

  Lane(const asio::any_io_executor& executor, LaneRoute to)
      : route(std::move(to)), room(executor, Clock::time_point::max()) {}

  std::string name() const {
    if (route.endpoint.port() == 0) return "a lane";  // to any of them, and to none yet
    return route.path ? fmt::format("the lane from {} to {}", route.path->local.to_string(),
                                    text_of(route.endpoint))
                      : fmt::format("the lane to {}", text_of(route.endpoint));
  }
  void note(const PageBatch& batch, std::size_t payload) {
    if (unflushed.pages.empty()) unflushed.since = Clock::now();
    for (const PageBatch::Run& run : batch.runs()) {
      unflushed.pages.push_back({batch.block(), run.first_page(), run.count()});
    }
    unflushed.bytes += payload;
  }
  bool flush_is_due() const {
    return !unflushed.pages.empty() &&
           (unflushed.bytes >= kFlushBytes || Clock::now() - unflushed.since >= kFlushInterval);
  }
  LanePace pace() const {
    const auto figures = channel.transport();
    return {figures ? figures->queued : 0, bytes_per_second};
  }

  void look(Clock::time_point now, LaneReport& report) {
    report.bytes_sent = sent_before + channel.bytes_sent();
    report.time = {};
    report.acknowledged = 0;
    if (now - looked < kShortestLook) return;
    const auto current = channel.transport();
    if (!current) return;
    const auto before = std::exchange(figures, *current);
    report.time =
        std::chrono::duration_cast<std::chrono::microseconds>(now - std::exchange(looked, now));
    report.acknowledged = current->acknowledged - before.acknowledged;
    report.backlogged = !current->sender_limited &&
                        (current->busy - before.busy) * 10 >= report.time * 9 &&
                        (current->held_up_by_peer - before.held_up_by_peer) * 10 <= report.time;
    report.bytes_per_second =
        report.acknowledged * 1'000'000 / static_cast<std::uint64_t>(report.time.count());
    bytes_per_second = current->bytes_per_second;
  }

  LaneRoute route;
  overlay::Channel channel;
  bool open = false;
  bool lost = false;
  std::uint64_t flushes = 0;
  Sent unflushed;
  std::deque<Sent> unconfirmed;
  asio::steady_timer room;  ///< never expires; cancelled when there may be work again

  // Of the last look at the connection.
  overlay::TransportFigures figures;
  Clock::time_point looked{};
  std::uint64_t bytes_per_second = 0;  ///< that the connection was good for
  std::uint64_t sent_before = 0;       ///< by lanes of the same path
};

LaneSet::LaneSet(LaneSetup setup)
    : setup_(std::move(setup)),
      without_since_(Clock::now()),
      keeper_(setup_.executor),
      progress_(setup_.executor) {}

LaneSet::~LaneSet() = default;

void LaneSet::use_paths(std::vector<LanePath> paths) {
  paths_ = std::move(paths);
  later_.clear();  // something is known otherwise: it may be worth another try
  if (begun_ && !failure_) review();
}

std::size_t LaneSet::open_lanes() const {
  return static_cast<std::size_t>(
      std::count_if(lanes_.begin(), lanes_.end(), [](const LanePtr& lane) { return lane->open; }));
}

std::uint64_t LaneSet::bytes_sent() const {
  std::uint64_t bytes = bytes_before_;
  for (const LanePtr& lane : lanes_) {
    if (lane->open) bytes += lane->channel.bytes_sent();
  }
  return bytes;
}

void LaneSet::close() {
  fail(policy::make_error(errc::operation_canceled, "the lanes were closed"));
}

void LaneSet::fail(Error why) {
  if (failure_) return;
  failure_ = std::move(why);
  while (!lanes_.empty()) lose(lanes_.front(), *failure_);
  report();
  ledger_.reset();
  wake();
}

void LaneSet::wake() {
  keeper_.cancel();
  progress_.cancel();
  for (const LanePtr& lane : lanes_) lane->room.cancel();
}

// --- Which lanes there are.

void LaneSet::review() {
  std::vector<LaneRoute> standing;
  for (const LanePtr& lane : lanes_) {
    if (lane->open) standing.push_back(lane->route);
  }
  const std::vector<LaneRoute> wanted = choose_lanes(paths_, setup_.endpoints, standing);
  for (const LanePtr& lane : std::list(lanes_)) {
    const bool stays = std::any_of(wanted.begin(), wanted.end(), [&](const LaneRoute& route) {
      return route.same_as(lane->route);
    });
    if (!stays) {
      lose(lane, policy::make_error(errc::network_unreachable, "its path is not used any more"));
    }
  }
  begin_wanted(wanted);
}

void LaneSet::begin_wanted(const std::vector<LaneRoute>& wanted) {
  const auto now = Clock::now();
  for (const LaneRoute& route : wanted) {
    const bool has = std::any_of(lanes_.begin(), lanes_.end(),
                                 [&](const LanePtr& lane) { return lane->route.same_as(route); });
    const bool waits = std::any_of(later_.begin(), later_.end(), [&](const Later& later) {
      return later.route.same_as(route) && later.at > now;
    });
    if (has || waits) continue;
    lanes_.push_back(std::make_shared<Lane>(setup_.executor, route));
    overlay::spawn(setup_.executor, serve(shared_from_this(), lanes_.back()));
  }
}

bool LaneSet::tried_before(const LaneRoute& route) const {
  return std::any_of(later_.begin(), later_.end(),
                     [&](const Later& later) { return later.route.same_as(route); });
}

void LaneSet::try_later(const LaneRoute& route) {
  auto known = std::find_if(later_.begin(), later_.end(),
                            [&](const Later& later) { return later.route.same_as(route); });
  if (known == later_.end()) known = later_.insert(later_.end(), {route, {}, {}});
  known->wait = known->wait == Clock::duration{}
                    ? Clock::duration(setup_.times.retry)
                    : std::min<Clock::duration>(2 * known->wait, setup_.times.retry_most);
  known->at = Clock::now() + known->wait;
}

void LaneSet::lose(LanePtr lane, Error why) {
  if (std::exchange(lane->lost, true)) return;
  lanes_.remove(lane);
  if (lane->route.endpoint.port() != 0) {
    const LaneState now = failure_ ? LaneState::closed : LaneState::given_up;
    LaneReport& last = known(*lane);
    last = {.path = last.path, .remote = last.remote, .state = now, .bytes_sent = last.bytes_sent};
    if (lane->open) last.bytes_sent = lane->sent_before + lane->channel.bytes_sent();
  }
  if (std::exchange(lane->open, false)) {
    bytes_before_ += lane->channel.bytes_sent();
    if (open_lanes() == 0) without_since_ = Clock::now();
    std::vector<PageRun> again = std::move(lane->unflushed.pages);
    for (const Lane::Sent& sent : lane->unconfirmed) {
      again.insert(again.end(), sent.pages.begin(), sent.pages.end());
    }
    lane->unconfirmed.clear();
    if (ledger_) ledger_->put_back(again);
    if (!failure_) {
      log::info(setup_.about, "copying: {} is given up, {} left: {}", lane->name(), open_lanes(),
                why.message);
    }
  } else if (!failure_ && !tried_before(lane->route)) {
    log::info(setup_.about, "copying: {} cannot be opened, and is tried again: {}", lane->name(),
              why.message);
  }
  lane->channel.close();
  lane->room.cancel();
  if (!failure_) {
    try_later(lane->route);
    last_ = std::move(why);
    report();
  }
  wake();
}

asio::awaitable<void> LaneSet::keep(std::shared_ptr<LaneSet> self) {
  while (!self->failure_) {
    self->review();
    const auto now = Clock::now();
    if (now - self->reported_ >= self->setup_.times.report) self->report();
    self->check_silence(now);
    Clock::time_point next = now + self->setup_.times.report;
    for (const Later& later : self->later_) {
      if (later.at > now) next = std::min(next, later.at);
    }
    self->keeper_.expires_at(next);
    co_await self->keeper_.async_wait(asio::as_tuple(asio::use_awaitable));
  }
}

/// A destination that hangs keeps its connections alive, so time itself must end the wait.
void LaneSet::check_silence(Clock::time_point now) {
  for (const LanePtr& lane : std::list(lanes_)) {
    if (lane->unconfirmed.empty()) continue;
    const auto since = lane->unconfirmed.front().since;
    if (now - since < setup_.times.flush) continue;
    Error late = policy::make_error(
        errc::timed_out, fmt::format("{} did not take in the memory it was sent within {} s",
                                     lane->channel.peer(), setup_.times.flush.count() / 1000.));
    if (confirmed_at_ < since) return fail(std::move(late));
    lose(lane, std::move(late));
  }
}

void LaneSet::report() {
  const auto now = reported_ = Clock::now();
  for (const LanePtr& lane : lanes_) {
    if (lane->open) lane->look(now, known(*lane));
  }
  if (setup_.report) setup_.report(known_);
}

/// The lane of that path, as it is told of.
LaneReport& LaneSet::known(const Lane& lane) {
  const std::string remote = text_of(lane.route.endpoint);
  const auto is_it = [&](const LaneReport& each) {
    return each.path == lane.route.path && each.remote == remote;
  };
  const auto is_open = [](const LaneReport& each) { return each.state == LaneState::open; };
  if (auto it = std::ranges::find_if(known_, is_it); it != known_.end()) return *it;
  const auto first_gone = std::ranges::find_if_not(known_, is_open);
  if (known_.size() >= kMostKnown && first_gone != known_.end()) known_.erase(first_gone);
  known_.push_back({.path = lane.route.path, .remote = remote});
  return known_.back();
}

// --- One lane.

asio::awaitable<Result<void>> LaneSet::connect(Lane& lane) {
  std::vector<tcp::endpoint> endpoints = setup_.endpoints;
  overlay::ConnectOptions options = setup_.connect;
  if (lane.route.path) {
    endpoints = {lane.route.endpoint};
    options.local = lane.route.path->local;
  }
  Error last = policy::make_error(
      errc::host_unreachable, fmt::format("{} named no endpoint for lanes", options.expected_host));
  for (const tcp::endpoint& endpoint : endpoints) {
    if (lane.lost) break;
    options.endpoint = endpoint;
    auto channel = co_await overlay::connect(*setup_.tls, options, setup_.peer_check);
    if (channel) {
      lane.route.endpoint = endpoint;
      lane.channel = std::move(*channel);
      co_return Result<void>{};
    }
    last = channel.error();
  }
  co_return last;
}

asio::awaitable<void> LaneSet::serve(std::shared_ptr<LaneSet> self, LanePtr lane) {
  auto connected = co_await self->connect(*lane);
  if (!connected) {
    const bool last_hope = self->lanes_.size() == 1 && !lane->lost;
    if (last_hope && is_refusal(connected.error())) self->fail(connected.error());
    self->lose(lane, connected.error());
    co_return;
  }
  if (lane->lost) {  // meanwhile
    lane->channel.close();
    co_return;
  }
  lane->open = true;
  lane->looked = Clock::now();
  LaneReport& known = self->known(*lane);
  known.state = LaneState::open;
  lane->sent_before = known.bytes_sent;
  log::info(self->setup_.about, "copying: {} is open, {} now", lane->name(), self->open_lanes());
  self->set_manners(*lane);
  self->report();
  self->wake();
  overlay::spawn(self->setup_.executor, feed(self, lane));
  while (!lane->lost) {
    auto answer = co_await lane->channel.receive<LaneFlushed>();
    if (!answer) {
      // In good order a lane is ended here, or by a destination that has let go of the move.
      if (!lane->lost && answer.error().code == asio::error::eof) self->fail(answer.error());
      self->lose(lane, answer.error());
      co_return;
    }
    if (lane->unconfirmed.empty() || answer->flush() != lane->unconfirmed.front().flush) {
      self->fail(policy::make_error(errc::bad_message,
                                    fmt::format("{} confirms flush {}, which is not the next one",
                                                lane->channel.peer(), answer->flush())));
      co_return;
    }
    lane->unconfirmed.pop_front();
    std::erase_if(self->later_,
                  [&](const Later& later) { return later.route.same_as(lane->route); });
    self->confirmed_at_ = Clock::now();
    if (self->confirmed()) self->progress_.cancel();
  }
}

asio::awaitable<void> LaneSet::feed(std::shared_ptr<LaneSet> self, LanePtr lane) {
  LaneMessage message;
  while (!lane->lost) {
    const auto ledger = self->ledger_;  // what it is over stays while a batch is sent
    std::optional<OutgoingBatch> batch;
    if (ledger && self->feeding_ && !lane->flush_is_due() && !self->leave_to_others(*lane)) {
      batch = ledger->next_batch();
    }
    Result<void> sent{};
    if (batch) {
      lane->note(batch->header, batch->payload.size());
      *message.mutable_pages() = std::move(batch->header);
      sent = co_await lane->channel.send(message, batch->payload);
    } else if (!lane->unflushed.pages.empty()) {
      message.set_flush(lane->unflushed.flush = ++lane->flushes);
      lane->unflushed.since = Clock::now();
      lane->unconfirmed.push_back(std::exchange(lane->unflushed, {}));
      sent = co_await lane->channel.send(message);
    } else {
      co_await lane->room.async_wait(asio::as_tuple(asio::use_awaitable));
    }
    if (!sent) self->lose(lane, sent.error());
  }
}

void LaneSet::press() {
  if (std::exchange(presses_, true)) return;
  log::info(setup_.about, "copying: gives way to other traffic no more, to come to an end");
  for (const LanePtr& lane : lanes_) {
    if (lane->open) set_manners(*lane);
  }
}

/// Applications go first, unless one stands still for it.
void LaneSet::set_manners(Lane& lane) {
  auto set = lane.channel.keep_queues_short(guest_ == Guest::runs && !presses_);
  if (set || lane.lost || std::exchange(told_manners_, true)) return;
  log::info(setup_.about, "copying: what applications send may wait behind it: {}",
            set.error().message);
}

bool LaneSet::leave_to_others(const Lane& lane) const {
  if (open_lanes() < 2) return false;
  const std::uint64_t left = ledger_->round_pages() * kPageSize;
  const LaneWork work{left, kMaxBatchPayload, guest_ == Guest::is_stopped};
  std::vector<LanePace> others;
  for (const LanePtr& other : lanes_) {
    if (other->open && other.get() != &lane) others.push_back(other->pace());
  }
  return leaves_to_others(lane.pace(), others, work);
}

// --- Rounds.

/// Of what was sent.
bool LaneSet::confirmed() const {
  return std::all_of(lanes_.begin(), lanes_.end(), [](const LanePtr& lane) {
    return lane->unflushed.pages.empty() && lane->unconfirmed.empty();
  });
}

Result<void> LaneSet::check_lanes() const {
  if (failure_) return *failure_;
  if (open_lanes() > 0) return {};
  const auto patience =
      guest_ == Guest::runs ? setup_.times.patience : setup_.times.patience_stopped;
  if (Clock::now() - without_since_ < patience) return {};
  if (last_) return *last_;
  return policy::make_error(
      errc::timed_out, fmt::format("there was no lane to {} for {} s", setup_.connect.expected_host,
                                   patience.count() / 1000.));
}

asio::awaitable<Result<void>> LaneSet::open() {
  auto self = shared_from_this();
  if (!std::exchange(begun_, true)) {
    without_since_ = Clock::now();
    overlay::spawn(setup_.executor, keep(self));
  }
  while (true) {
    auto good = check_lanes();
    if (!good || open_lanes() > 0) co_return good;
    progress_.expires_after(setup_.times.report);
    co_await progress_.async_wait(asio::as_tuple(asio::use_awaitable));
  }
}

asio::awaitable<Result<void>> LaneSet::send_round(std::shared_ptr<PageLedger> ledger, Guest guest,
                                                  Look look, std::chrono::milliseconds interval) {
  auto self = shared_from_this();
  if (failure_) co_return *failure_;
  ledger_ = ledger;
  if (std::exchange(guest_, guest) != guest) {
    for (const LanePtr& lane : lanes_) {
      if (lane->open) set_manners(*lane);
    }
  }
  feeding_ = true;
  if (open_lanes() == 0) without_since_ = Clock::now();
  wake();
  auto next_look = Clock::now() + interval;
  Result<void> outcome{};
  while (true) {
    outcome = check_lanes();
    if (!outcome || (ledger->round_pages() == 0 && confirmed())) break;
    const auto now = Clock::now();
    if (now >= next_look) {
      outcome = look();
      if (!outcome) break;
      next_look = Clock::now() + interval;
      for (const LanePtr& lane : lanes_) lane->room.cancel();  // those that leave it to others
    }
    progress_.expires_at(next_look);
    co_await progress_.async_wait(asio::as_tuple(asio::use_awaitable));
  }
  feeding_ = false;
  co_return outcome;
}

}  // namespace homeport::migration
