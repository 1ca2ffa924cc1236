// The lanes of a move from end to end: what a source sends on several paths, of which any may fail,
// and what a destination takes in of it.
#include "migration/move/lane_receiver.h"
#include "migration/move/lane_set.h"
#include "migration/move/move.pb.h"

#include "overlay/spawn.h"
#include "tests/unit/overlay/channel/test_peers.h"

#include <gmock/gmock.h>
#include <boost/asio/write.hpp>

#include <array>
#include <random>

namespace homeport::migration {
namespace {

namespace asio = boost::asio;
namespace errc = boost::system::errc;
using asio::ip::tcp;
using policy::Result;
using testing::ElementsAre;
using testing::Gt;
using testing::IsEmpty;
using testing::SizeIs;
using namespace std::chrono_literals;

constexpr std::uint64_t kPages = 4096;

/// A path through the network as its two ends see it: it may stand still, and go on, or break off.
class Wire : public std::enable_shared_from_this<Wire> {
 public:
  Wire(asio::io_context& io, const tcp::endpoint& at, const tcp::endpoint& to)
      : io_(io), acceptor_(io, at), to_(to) {}

  void begin() {
    overlay::spawn(io_.get_executor(), [](std::shared_ptr<Wire> self) -> asio::awaitable<void> {
      while (self->acceptor_.is_open()) {
        auto [error, near] =
            co_await self->acceptor_.async_accept(asio::as_tuple(asio::use_awaitable));
        if (error) co_return;
        self->join(std::move(near));
      }
    }(shared_from_this()));
  }
  tcp::endpoint endpoint() const { return acceptor_.local_endpoint(); }
  void stand_still(bool still) {
    still_ = still;
    if (!still) go_on_.cancel();
  }
  /// Connections are reset, and no other can be made.
  void end() {
    boost::system::error_code ignored;
    acceptor_.close(ignored);
    for (auto& each : joined_) each->reset();
    joined_.clear();
  }
  /// After so many bytes have passed.
  void end_after(std::uint64_t bytes) { end_after_ = bytes; }

  std::uint64_t passed = 0;  ///< bytes to the destination
  int connections = 0;

 private:
  struct Joined {
    tcp::socket near, far;
    void reset() {
      boost::system::error_code ignored;
      for (tcp::socket* each : {&near, &far}) {
        each->set_option(asio::socket_base::linger(true, 0), ignored);
        each->close(ignored);
      }
    }
  };
  using JoinedPtr = std::shared_ptr<Joined>;

  void join(tcp::socket near) {
    ++connections;
    auto joined = std::make_shared<Joined>(Joined{std::move(near), tcp::socket(io_)});
    boost::system::error_code error;
    joined->far.connect(to_, error);
    joined_.push_back(joined);
    overlay::spawn(io_.get_executor(), pass(shared_from_this(), joined, true));
    overlay::spawn(io_.get_executor(), pass(shared_from_this(), joined, false));
  }
  static asio::awaitable<void> pass(std::shared_ptr<Wire> self, JoinedPtr joined, bool there) {
    tcp::socket& from = there ? joined->near : joined->far;
    tcp::socket& to = there ? joined->far : joined->near;
    std::array<char, 16384> bytes;
    while (true) {
      auto [error, size] =
          co_await from.async_read_some(asio::buffer(bytes), asio::as_tuple(asio::use_awaitable));
      while (self->still_) co_await self->go_on_.async_wait(asio::as_tuple(asio::use_awaitable));
      if (error) break;
      auto [failed, written] = co_await asio::async_write(to, asio::buffer(bytes.data(), size),
                                                          asio::as_tuple(asio::use_awaitable));
      if (failed) break;
      if (there) self->passed += written;
      if (self->end_after_ > 0 && self->passed >= self->end_after_) self->end();
    }
    // What was sent before is still to be read by the other.
    boost::system::error_code ignored;
    to.shutdown(tcp::socket::shutdown_send, ignored);
  }

  asio::io_context& io_;
  tcp::acceptor acceptor_;
  tcp::endpoint to_;
  std::vector<JoinedPtr> joined_;
  bool still_ = false;
  std::uint64_t end_after_ = 0;
  asio::steady_timer go_on_{io_, asio::steady_timer::time_point::max()};
};

/// hostA sends to hostB the memory of a guest, on wires from 127.0.0.1, 2 to 127.0.1.1, 2.
class LanesTest : public testing::Test {
 protected:
  LanesTest() {
    std::mt19937_64 random(1);
    for (std::size_t at = 0; at < source_.size(); at += sizeof(std::uint64_t)) {
      const std::uint64_t value = random();
      std::memcpy(source_.data() + at, &value, sizeof value);
    }
    overlay::ServerOptions options;
    options.listen = {{asio::ip::address_v4::loopback(), 0}};
    options.purpose = overlay::Purpose::lane;
    server_ = overlay::ChannelServer::listen(
                  io_.get_executor(), authority_.context("hostB"), options, overlay::anyone(),
                  [this](overlay::Channel lane) {
                    return silent_ ? swallow(std::move(lane)) : receiver_.serve(std::move(lane));
                  })
                  .value();
    for (int i : {1, 2}) {
      wires_.push_back(std::make_shared<Wire>(
          io_, tcp::endpoint(asio::ip::make_address("127.0.1." + std::to_string(i)), 0),
          server_->endpoints().front()));
      wires_.back()->begin();
    }
    expect_move();
  }
  ~LanesTest() override {
    if (lanes_) lanes_->close();
  }

  /// Reads what comes, and never answers.
  static asio::awaitable<void> swallow(overlay::Channel lane) {
    std::vector<std::byte> payload;
    while (lane.is_open()) co_await lane.receive<LaneMessage>(&payload);
  }

  void expect_move() {
    LaneTarget target;
    target.move_id = "move";
    target.source = "hostA";
    std::vector<PageStore::Target> blocks;
    blocks.push_back({.bytes = destination_});
    target.store = std::make_unique<PageStore>(std::move(blocks));
    target.on_failure = [this](policy::Error error) { refused_.push_back(error.message); };
    receiver_.expect(std::move(target));
  }

  static LanePath path(int i) {
    return {asio::ip::make_address("127.0.0." + std::to_string(i)),
            asio::ip::make_address("127.0.1." + std::to_string(i)), "eth" + std::to_string(i),
            "eth" + std::to_string(i)};
  }

  LaneSetup setup() {
    LaneSetup setup;
    setup.executor = io_.get_executor();
    for (const auto& wire : wires_) setup.endpoints.push_back(wire->endpoint());
    setup.connect.expected_host = "hostB";
    setup.connect.purpose = overlay::Purpose::lane;
    setup.connect.session = "move";
    setup.tls = authority_.context("hostA");
    setup.peer_check = overlay::anyone();
    setup.report = [this](std::vector<LaneReport> all) { reports_.push_back(std::move(all)); };
    return setup;
  }
  void begin(std::vector<LanePath> paths, LaneTimes times = {}) {
    LaneSetup with = setup();
    with.times = times;
    lanes_ = std::make_shared<LaneSet>(std::move(with));
    lanes_->use_paths(std::move(paths));
    ledger_ = std::make_shared<PageLedger>(std::vector<std::span<const std::byte>>{source_},
                                           PageLedger::Options{});
    PageSet all = ledger_->empty_set();
    all.insert_all();
    ledger_->note_scan(all);
  }

  Result<void> run(asio::awaitable<Result<void>> work) {
    std::optional<Result<void>> done;
    asio::co_spawn(io_, std::move(work), [&](std::exception_ptr thrown, Result<void> result) {
      if (!thrown) done = result;
    });
    wait([&] { return done.has_value(); }, "the lanes");
    return done.value_or(policy::make_error(errc::timed_out, "it did not end"));
  }
  Result<void> open() { return run(lanes_->open()); }
  Result<void> send(LaneSet::Guest guest = LaneSet::Guest::runs) { return run(send_all(guest)); }
  asio::awaitable<Result<void>> send_all(LaneSet::Guest guest) {
    LaneSet::Look look = [this]() -> Result<void> {
      if (on_look_) on_look_();
      return {};
    };
    Result<void> sent{};
    while (sent && ledger_->pending_pages() > 0) {
      ledger_->begin_round();
      sent = co_await lanes_->send_round(ledger_, guest, look, 5ms);
    }
    co_return sent;
  }
  void wait(const std::function<bool()>& holds, const char* what) {
    const auto deadline = std::chrono::steady_clock::now() + 20s;
    while (!holds() && std::chrono::steady_clock::now() < deadline) {
      io_.restart();
      io_.run_one_for(1ms);
    }
    ASSERT_TRUE(holds()) << "waited for " << what;
  }
  void write(std::uint64_t page, std::byte value) {
    std::fill_n(source_.begin() + static_cast<std::ptrdiff_t>(page * kPageSize), kPageSize, value);
  }

  overlay::Authority authority_;
  std::vector<std::byte> source_ = std::vector<std::byte>(kPages * kPageSize);
  std::vector<std::byte> destination_ = std::vector<std::byte>(kPages * kPageSize);
  asio::io_context io_{1};
  LaneReceiver receiver_;
  bool silent_ = false;
  std::vector<std::string> refused_;
  std::unique_ptr<overlay::ChannelServer> server_;
  std::vector<std::shared_ptr<Wire>> wires_;
  std::vector<std::vector<LaneReport>> reports_;
  std::function<void()> on_look_;
  std::shared_ptr<PageLedger> ledger_;
  std::shared_ptr<LaneSet> lanes_;
};

TEST_F(LanesTest, WithoutPathsOneLaneTakesTheFirstEndpointThatAnswers) {
  begin({});
  wires_[0]->end();
  ASSERT_TRUE(open()) << open().error().message;
  ASSERT_TRUE(send());
  EXPECT_EQ(wires_[1]->connections, 1);
  EXPECT_EQ(destination_, source_);
}

TEST_F(LanesTest, TwoLanesShareTheWork) {
  begin({path(1), path(2)});
  ASSERT_TRUE(open());
  wait([&] { return lanes_->open_lanes() == 2; }, "both lanes");
  ASSERT_TRUE(send());
  EXPECT_EQ(destination_, source_);
  for (const auto& wire : wires_) EXPECT_GT(wire->passed, source_.size() / 8);
  EXPECT_GE(lanes_->bytes_sent(), source_.size());
  EXPECT_TRUE(receiver_.seal("move"));
  EXPECT_THAT(refused_, IsEmpty());
}

TEST_F(LanesTest, ALaneThatIsResetIsMadeGoodByTheOther) {
  begin({path(1), path(2)});
  ASSERT_TRUE(open());
  wait([&] { return lanes_->open_lanes() == 2; }, "both lanes");
  wires_[0]->end_after(source_.size() / 8);
  ASSERT_TRUE(send());
  EXPECT_EQ(lanes_->open_lanes(), 1u);
  EXPECT_EQ(destination_, source_);
  EXPECT_TRUE(receiver_.seal("move"));
  EXPECT_THAT(refused_, IsEmpty()) << "that a lane breaks off is nothing wrong";
}

TEST_F(LanesTest, WhatALaneThatWasGivenUpStillBringsChangesNothing) {
  begin({path(1), path(2)});
  ASSERT_TRUE(open());
  wait([&] { return lanes_->open_lanes() == 2; }, "both lanes");
  // All of the memory is on its way on the first wire, in part, when that stands still.
  wires_[0]->stand_still(true);
  on_look_ = [&] {
    if (wires_[0]->connections == 0 || lanes_->open_lanes() < 2) return;
    for (std::uint64_t page = 0; page < kPages; ++page) write(page, std::byte{7});
    lanes_->use_paths({path(2)});
  };
  ASSERT_TRUE(send());
  // Nobody has told the ledger of those pages that the second lane had sent before.
  PageSet written = ledger_->empty_set();
  written.insert_all();
  ledger_->note_scan(written);
  ASSERT_TRUE(send());
  ASSERT_EQ(destination_, source_);
  const std::uint64_t before = wires_[0]->passed;
  wires_[0]->stand_still(false);
  wait([&] { return wires_[0]->passed > before; }, "what was on its way");
  io_.run_for(50ms);
  EXPECT_EQ(destination_, source_);
  EXPECT_THAT(refused_, IsEmpty());
}

TEST_F(LanesTest, APathThatComesGetsALane) {
  begin({path(2)});
  ASSERT_TRUE(open());
  EXPECT_EQ(wires_[0]->connections, 0);
  lanes_->use_paths({path(1), path(2)});
  wait([&] { return lanes_->open_lanes() == 2; }, "both lanes");
  lanes_->use_paths({path(1)});
  EXPECT_EQ(lanes_->open_lanes(), 1u);
  lanes_->use_paths({path(1), path(2)});
  wait([&] { return lanes_->open_lanes() == 2; }, "both lanes");
  ASSERT_TRUE(send());
  EXPECT_EQ(destination_, source_);
}

TEST_F(LanesTest, TheOnlyPathMayGoAndAnotherCome) {
  begin({path(1)});
  ASSERT_TRUE(open());
  on_look_ = [&, looks = 0]() mutable {
    if (++looks == 2) lanes_->use_paths({path(2)});
  };
  ASSERT_TRUE(send(LaneSet::Guest::is_stopped));
  EXPECT_EQ(destination_, source_);
}

TEST_F(LanesTest, OfLanesThatAreOpenItIsReportedWhatTheyHaveSent) {
  begin({path(1), path(2)}, {.report = 60ms});
  ASSERT_TRUE(open());
  wait([&] { return lanes_->open_lanes() == 2; }, "both lanes");
  ASSERT_TRUE(send());
  std::uint64_t acknowledged = 0;
  const auto all = [&] {
    acknowledged = 0;
    for (const auto& report : reports_) {
      for (const LaneReport& lane : report) acknowledged += lane.acknowledged;
    }
    return acknowledged >= source_.size();
  };
  wait(all, "all that was sent");
  ASSERT_THAT(reports_.back(), SizeIs(2));
  EXPECT_EQ(reports_.back()[0].path->local_interface, "eth1");
}

TEST_F(LanesTest, WhatLanesHaveSentIsToldAlsoOfThoseThatAreGone) {
  begin({path(1), path(2)}, {.report = 20ms});
  ASSERT_TRUE(open());
  wait([&] { return lanes_->open_lanes() == 2; }, "both lanes");
  ASSERT_TRUE(send());
  lanes_->use_paths({path(2)});
  const auto first = [&] { return reports_.back().at(0); };
  ASSERT_THAT(reports_.back(), SizeIs(2));
  EXPECT_EQ(first().path->local_interface, "eth1");
  EXPECT_EQ(first().state, LaneState::given_up);
  EXPECT_EQ(first().acknowledged, 0u);
  const std::uint64_t before = first().bytes_sent;
  EXPECT_GT(before, source_.size() / 8);

  // What has the same path later is the same lane.
  lanes_->use_paths({path(1)});
  wait([&] { return lanes_->open_lanes() == 1; }, "the first lane again");
  EXPECT_EQ(first().state, LaneState::open);
  PageSet written = ledger_->empty_set();
  written.insert_all();
  ledger_->note_scan(written);
  ASSERT_TRUE(send());
  lanes_->close();
  ASSERT_THAT(reports_.back(), SizeIs(2));
  EXPECT_EQ(first().state, LaneState::closed);
  EXPECT_GE(first().bytes_sent, before + source_.size());
  EXPECT_EQ(reports_.back()[1].state, LaneState::given_up);
  EXPECT_EQ(first().bytes_sent + reports_.back()[1].bytes_sent, lanes_->bytes_sent());
}

TEST_F(LanesTest, WithoutAnyLaneForTooLongItEnds) {
  begin({path(1)}, {.patience = 200ms, .patience_stopped = 50ms});
  ASSERT_TRUE(open());
  on_look_ = [&] { wires_[0]->stand_still(true), lanes_->use_paths({path(2)}); };
  wires_[1]->stand_still(true);  // is connected to, and says nothing
  const auto began = std::chrono::steady_clock::now();
  const Result<void> sent = send(LaneSet::Guest::is_stopped);
  ASSERT_FALSE(sent);
  EXPECT_LT(std::chrono::steady_clock::now() - began, 5s);
  EXPECT_FALSE(sent.error().cancelled()) << sent.error().message;
}

TEST_F(LanesTest, ADestinationThatListensNoMoreEndsItAtOnce) {
  begin({path(1), path(2)});
  for (const auto& wire : wires_) wire->end();
  const auto began = std::chrono::steady_clock::now();
  const Result<void> opened = open();
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, errc::connection_refused) << opened.error().message;
  EXPECT_LT(std::chrono::steady_clock::now() - began, 5s) << "without any patience";
}

TEST_F(LanesTest, ADestinationThatLetsGoEndsItAtOnce) {
  begin({path(1), path(2)});
  ASSERT_TRUE(open());
  on_look_ = [&] { receiver_.forget("move"); };
  const Result<void> sent = send();
  ASSERT_FALSE(sent);
  EXPECT_EQ(sent.error().code, asio::error::eof) << sent.error().message;
}

TEST_F(LanesTest, ADestinationThatDoesNotConfirmIsNotWaitedForForever) {
  silent_ = true;
  begin({path(1), path(2)}, {.flush = 300ms, .report = 20ms});
  ASSERT_TRUE(open());
  const Result<void> sent = send();
  ASSERT_FALSE(sent);
  EXPECT_EQ(sent.error().code, errc::timed_out) << sent.error().message;
  EXPECT_THAT(sent.error().message, testing::HasSubstr("did not take in the memory"));
}

TEST_F(LanesTest, ClosedMeansCancelled) {
  begin({path(1), path(2)});
  ASSERT_TRUE(open());
  on_look_ = [&] { lanes_->close(); };
  const Result<void> sent = send();
  ASSERT_FALSE(sent);
  EXPECT_TRUE(sent.error().cancelled());
  EXPECT_EQ(lanes_->open_lanes(), 0u);
}

// --- What the destination takes in.

/// The source is the test's, and does nothing but when it is told to.
class ReceiverTest : public LanesTest {
 protected:
  overlay::Channel lane() {
    std::optional<overlay::Channel> lane;
    overlay::ConnectOptions options = setup().connect;
    options.endpoint = server_->endpoints().front();
    asio::co_spawn(sender_,
                   overlay::connect(authority_.context("hostA"), options, overlay::anyone()),
                   [&](std::exception_ptr, Result<overlay::Channel> channel) {
                     lane.emplace(std::move(channel.value()));
                   });
    wait(
        [&] {
          sender_.restart();
          sender_.poll();
          return lane.has_value();
        },
        "a lane");
    return std::move(*lane);
  }
  /// When it returns, the destination has all of it, and has not looked at it.
  void send_message(overlay::Channel& lane, const LaneMessage& message,
                    std::span<const std::byte> payload = {}) {
    bool sent = false;
    asio::co_spawn(sender_, lane.send(message, payload),
                   [&](std::exception_ptr, Result<void> result) { sent = result.has_value(); });
    sender_.restart();
    sender_.run_for(10s);
    ASSERT_TRUE(sent);
  }
  void send_pages(overlay::Channel& lane, std::uint64_t first, std::uint32_t count,
                  std::uint32_t epoch, std::byte value) {
    LaneMessage message;
    message.mutable_pages()->set_epoch(epoch);
    auto& run = *message.mutable_pages()->add_runs();
    run.set_first_page(first);
    run.set_count(count);
    const std::vector<std::byte> content(count * kPageSize, value);
    send_message(lane, message, content);
  }
  void settle() {
    io_.restart();
    while (io_.run_one_for(20ms) > 0) {
    }
  }
  std::byte at(std::uint64_t page) const { return destination_[page * kPageSize]; }

  asio::io_context sender_{1};
};

TEST_F(ReceiverTest, ALaneThatBreaksOffLeavesTheOthers) {
  overlay::Channel stays = lane();
  {
    overlay::Channel goes = lane();
    send_pages(goes, 1, 1, 1, std::byte{1});
  }
  settle();
  EXPECT_EQ(at(1), std::byte{1});
  send_pages(stays, 2, 1, 1, std::byte{2});
  settle();
  EXPECT_EQ(at(2), std::byte{2});
  EXPECT_THAT(refused_, IsEmpty());
}

TEST_F(ReceiverTest, WhatNoSourceMaySendEndsTheMove) {
  overlay::Channel bad = lane();
  send_pages(bad, kPages, 1, 1, std::byte{1});
  settle();
  EXPECT_THAT(refused_, SizeIs(1)) << "a page beyond the end";
  overlay::Channel empty = lane();
  send_message(empty, {});
  settle();
  EXPECT_THAT(refused_, SizeIs(2)) << "no message";
}

TEST_F(ReceiverTest, OnceItIsSealedItTakesNoLanes) {
  EXPECT_FALSE(receiver_.seal("move")) << "pages are missing";
  overlay::Channel late = lane();
  settle();
  std::optional<policy::Error> end;
  asio::co_spawn(sender_, late.receive<LaneFlushed>(),
                 [&](std::exception_ptr, Result<LaneFlushed> answer) { end = answer.error(); });
  sender_.restart();
  sender_.run_for(10s);
  ASSERT_TRUE(end);
  EXPECT_EQ(end->code, asio::error::eof) << end->message;
  EXPECT_THAT(refused_, IsEmpty());
}

// Whatever the lane was doing at that moment: between any two of its steps.
TEST_F(ReceiverTest, NothingIsWrittenOnceItIsSealed) {
  constexpr std::uint32_t kBatch = kMaxBatchPayload / kPageSize;  // long enough to be read in parts
  bool written = false;
  int steps = 0;
  for (; !written; ++steps) {
    std::fill(destination_.begin(), destination_.end(), std::byte{0});
    expect_move();
    overlay::Channel late = lane();
    settle();
    send_pages(late, 0, kBatch, 1, std::byte{1});
    io_.restart();
    for (int step = 0; step < steps; ++step) io_.poll_one();
    EXPECT_FALSE(receiver_.seal("move")) << "pages are missing";
    written = at(0) != std::byte{0};
    const std::vector<std::byte> sealed = destination_;
    settle();
    ASSERT_EQ(destination_, sealed) << "after " << steps << " steps";
    receiver_.forget("move");
    settle();
  }
  EXPECT_THAT(steps, Gt(2)) << "or there was nothing in between";
  EXPECT_THAT(refused_, IsEmpty());
}

}  // namespace
}  // namespace homeport::migration
