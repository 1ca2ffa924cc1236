// The source's side of a move against a destination that fails: what it asks of it, and when.
#include "migration/move/source_move.h"

#include "tests/unit/overlay/channel/test_peers.h"

#include <gmock/gmock.h>
#include <boost/asio/ip/address_v4.hpp>

namespace homeport::migration {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

/// The application is where the move says, and nothing can be written.
class FixedOwnership final : public Ownership {
 public:
  asio::awaitable<CommitOutcome> pass(std::string, std::string, std::string, Generation) override {
    co_return CommitOutcome::not_committed;
  }
  asio::awaitable<Result<Owner>> owner(std::string) override { co_return Owner{"hostA", 4}; }
  std::optional<Owner> last_seen(const std::string&) const override { return Owner{"hostA", 4}; }
  asio::awaitable<bool> answers(std::chrono::milliseconds) override { co_return true; }
};

class NoTraffic final : public Traffic {
 public:
  Result<overlay::UniqueFd> provide(const std::string&, const PortSpec&) override {
    return overlay::UniqueFd();
  }
  Result<void> hold(const std::string&, const PortSpec&) override { return {}; }
  Result<void> take(const std::string&) override { return {}; }
  Result<void> give_up(const std::string&) override { return {}; }
  Result<void> redirect(const std::string&, const std::string&) override { return {}; }
  Result<void> reinstate(const std::string&) override { return {}; }
  void release(const std::string&) override {}
};

/// hostA moves the port of app to hostB, which hears what it is told and says no more than that it
/// has called off.
class SourceMoveTest : public testing::Test {
 protected:
  SourceMoveTest() {
    request_.entry.move_id = "11111111-2222-4333-8444-555555555555";
    request_.entry.cargo = Cargo::ports;
    request_.entry.application = "app";
    request_.entry.peer = "hostB";
    request_.entry.generation = 4;
    request_.application_row = "row-of-app";
    request_.binding_rows = {"row-of-app/a", "row-of-app/b"};
  }

  void serve() {
    overlay::ServerOptions options;
    options.listen = {tcp::endpoint(asio::ip::address_v4::loopback(), 0)};
    server_ = overlay::ChannelServer::listen(
                  io_.get_executor(), authority_.context("hostB"), options, overlay::anyone(),
                  [this](overlay::Channel channel) { return hear(std::move(channel)); })
                  .value();
  }

  asio::awaitable<void> hear(overlay::Channel channel) {
    auto message = co_await channel.receive<ToDestination>();
    if (!message) co_return;
    heard_.push_back(*message);
    if (!message->has_call_off()) co_return;
    ToSource answer;
    answer.mutable_called_off();
    co_await channel.send(answer);
    co_await channel.receive<ToDestination>();  // until the source closes it
  }

  std::shared_ptr<const SourceContext> context() {
    return std::make_shared<const SourceContext>(SourceContext{
        .executor = io_.get_executor(),
        .host = "hostA",
        .traffic = traffic_,
        .ownership = ownership_,
        .journal = journal_,
        .tls = authority_.context("hostA"),
        .peer_check = overlay::anyone(),
        .timeouts = {},
        .endpoints_of =
            [this](const std::string&) {
              ++attempts_;
              return server_ ? server_->endpoints() : std::vector<tcp::endpoint>{};
            },
        .departed = [](const std::string&) {},
        .reconnect = [](std::string) -> asio::awaitable<std::shared_ptr<Vm>> { co_return nullptr; },
        .vouch = [](const std::string&, const std::string&,
                    Generation) { return std::vector<std::string>{}; },
        .hold = {}});
  }

  MoveReport run(std::shared_ptr<SourceMove> move) {
    std::optional<MoveReport> report;
    asio::co_spawn(io_, move->run(), [&](std::exception_ptr thrown, MoveReport result) {
      if (!thrown) report = std::move(result);
      io_.stop();
    });
    io_.run_for(std::chrono::seconds(30));
    if (!report) throw std::runtime_error("the move did not end");
    return *report;
  }

  asio::io_context io_{1};
  overlay::Authority authority_;
  overlay::ScratchDirectory directory_;
  Journal journal_ = Journal::open(directory_.path() / "moves").value();
  FixedOwnership ownership_;
  NoTraffic traffic_;
  std::unique_ptr<overlay::ChannelServer> server_;
  MoveRequest request_;
  std::vector<ToDestination> heard_;
  int attempts_ = 0;  ///< to reach hostB
};

// To wait for a dead host takes seconds: once is enough.
TEST_F(SourceMoveTest, ADestinationThatWasNotReachedIsNotAskedToCallOff) {
  const MoveReport report = run(std::make_shared<SourceMove>(context(), request_, nullptr));
  EXPECT_EQ(report.outcome, SourceOutcome::rolled_back);
  EXPECT_THAT(report.error, HasSubstr("no control endpoint of hostB"));
  EXPECT_EQ(attempts_, 1);
  EXPECT_THAT(journal_.read().entries, IsEmpty());
}

TEST_F(SourceMoveTest, OneThatHasGoneSilentSinceIs) {
  serve();
  const MoveReport report = run(std::make_shared<SourceMove>(context(), request_, nullptr));
  EXPECT_EQ(report.outcome, SourceOutcome::rolled_back);
  ASSERT_EQ(heard_.size(), 2u);
  const Prepare& prepare = heard_[0].prepare();
  EXPECT_EQ(prepare.move_id(), request_.entry.move_id);
  EXPECT_EQ(prepare.application_row(), "row-of-app");
  EXPECT_THAT(prepare.binding_rows(), ElementsAre("row-of-app/a", "row-of-app/b"));
  EXPECT_EQ(heard_[1].call_off().move_id(), request_.entry.move_id);
}

// The agent before may have told it anything.
TEST_F(SourceMoveTest, OneOfAMoveThatIsTakenUpIs) {
  serve();
  const MoveReport report = run(SourceMove::recovered(context(), request_, nullptr));
  EXPECT_EQ(report.outcome, SourceOutcome::rolled_back);
  ASSERT_EQ(heard_.size(), 1u);
  EXPECT_TRUE(heard_[0].has_call_off());
}

}  // namespace
}  // namespace homeport::migration
