// Traffic between two good hosts, and the end of it.
#include "overlay/channel/connect_any.h"
#include "tests/unit/overlay/channel/test_peers.h"

#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/post.hpp>

#include <gmock/gmock.h>

namespace homeport::overlay {
namespace {

using namespace boost::asio::experimental::awaitable_operators;
using ::testing::HasSubstr;

class ChannelTest : public ChannelFixture {};

TEST_F(ChannelTest, CarriesMessagesAndPayloadBothWays) {
  ServerOptions lanes = server_options();
  lanes.purpose = Purpose::lane;
  serve(tls_b_, lanes, anyone());
  run([this]() -> asio::awaitable<void> {
    ConnectOptions options = to_b();
    options.purpose = Purpose::lane;
    options.session = "move 1";
    Result<Channel> connected = co_await connect(tls_a_, options, anyone());
    Channel a = std::move(connected.value());
    Channel b = co_await accepted_.take();
    EXPECT_EQ(a.peer(), "hostB");
    EXPECT_EQ(b.peer(), "hostA");
    EXPECT_EQ(a.session(), "move 1");
    EXPECT_EQ(b.session(), "move 1");

    std::vector<std::byte> sent = pattern(1000, 1);
    Result<void> done = co_await a.send(text("there"), sent);
    EXPECT_TRUE(done);
    std::vector<std::byte> payload;
    Result<StringValue> got = co_await b.receive<StringValue>(&payload);
    EXPECT_EQ(got.value().value(), "there");
    EXPECT_EQ(payload, sent);

    done = co_await b.send(text("back"));
    EXPECT_TRUE(done);
    got = co_await a.receive<StringValue>();
    EXPECT_EQ(got.value().value(), "back");
    EXPECT_GT(a.bytes_sent(), 1000u);
    EXPECT_GT(b.bytes_sent(), 0u);
  }());
}

TEST_F(ChannelTest, IsToTheFirstAddressThatAnswers) {
  serve(tls_b_, server_options(), anyone());
  run([this]() -> asio::awaitable<void> {
    // Bound and not listened on: refused.
    asio::ip::tcp::acceptor deaf(io_);
    deaf.open(asio::ip::tcp::v4());
    deaf.bind({asio::ip::address_v4::loopback(), 0});
    const ConnectOptions options = to_b();
    std::vector<asio::ip::tcp::endpoint> endpoints{deaf.local_endpoint(), options.endpoint};
    Result<Channel> connected = co_await connect_any(tls_a_, endpoints, options, anyone());
    EXPECT_EQ(connected.value().peer(), "hostB");
    endpoints.pop_back();
    connected = co_await connect_any(tls_a_, endpoints, options, anyone());
    EXPECT_EQ(connected.error().code, boost::system::errc::connection_refused);
    endpoints.clear();
    connected = co_await connect_any(tls_a_, endpoints, options, anyone());
    EXPECT_THAT(connected.error().message, HasSubstr("no control endpoint of hostB"));
  }());
}

TEST_F(ChannelTest, CarriesTheLargestFrameAndReusesThePayloadsMemory) {
  run([this]() -> asio::awaitable<void> {
    Pair ends = co_await pair();
    std::vector<std::byte> sent = pattern(kMaxFramePayload, 2);
    std::string header(kMaxFrameHeader - 8, 'x');
    asio::co_spawn(
        io_,
        [&]() -> asio::awaitable<void> {
          for (int i = 0; i < 2; ++i) {
            Result<void> done = co_await ends.a.send(text(header), sent);
            EXPECT_TRUE(done);
          }
        },
        asio::detached);
    std::vector<std::byte> payload;
    Result<StringValue> got = co_await ends.b.receive<StringValue>(&payload);
    EXPECT_EQ(got.value().value(), header);
    EXPECT_EQ(payload, sent);
    const std::byte* memory = payload.data();
    got = co_await ends.b.receive<StringValue>(&payload);
    EXPECT_EQ(payload, sent);
    EXPECT_EQ(payload.data(), memory);
  }());
}

TEST_F(ChannelTest, IsFullDuplex) {
  run([this]() -> asio::awaitable<void> {
    Pair ends = co_await pair();
    constexpr unsigned kFrames = 50;
    auto send_all = [](Channel& channel, unsigned seed) -> asio::awaitable<void> {
      for (unsigned i = 0; i < kFrames; ++i) {
        std::vector<std::byte> payload = pattern(200'000, seed + i);
        Result<void> done = co_await channel.send(text(std::to_string(i)), payload);
        EXPECT_TRUE(done);
      }
    };
    auto receive_all = [](Channel& channel, unsigned seed) -> asio::awaitable<void> {
      std::vector<std::byte> payload;
      for (unsigned i = 0; i < kFrames; ++i) {
        Result<StringValue> got = co_await channel.receive<StringValue>(&payload);
        EXPECT_EQ(got.value().value(), std::to_string(i));
        EXPECT_EQ(payload, pattern(200'000, seed + i));
      }
    };
    co_await (send_all(ends.a, 0) && send_all(ends.b, 1000) && receive_all(ends.a, 1000) &&
              receive_all(ends.b, 0));
  }());
}

TEST_F(ChannelTest, RefusesToSendMoreThanAFrameHoldsAndGoesOn) {
  run([this]() -> asio::awaitable<void> {
    Pair ends = co_await pair();
    std::vector<std::byte> payload(kMaxFramePayload + 1);
    Result<void> done = co_await ends.a.send(text(""), payload);
    EXPECT_EQ(done.error().code, errc::message_size);
    done = co_await ends.a.send(text(std::string(kMaxFrameHeader, 'x')));
    EXPECT_EQ(done.error().code, errc::message_size);
    EXPECT_TRUE(ends.a.is_open());
    done = co_await ends.a.send(text("small"));
    EXPECT_TRUE(done);
    Result<StringValue> got = co_await ends.b.receive<StringValue>();
    EXPECT_EQ(got.value().value(), "small");
  }());
}

TEST_F(ChannelTest, RefusesPayloadWhereNoneIsExpected) {
  run([this]() -> asio::awaitable<void> {
    Pair ends = co_await pair();
    std::vector<std::byte> payload(10);
    (void)co_await ends.a.send(text(""), payload);
    Result<StringValue> got = co_await ends.b.receive<StringValue>();
    EXPECT_EQ(got.error().code, errc::bad_message);
    EXPECT_THAT(got.error().message, HasSubstr("hostA"));
    EXPECT_FALSE(ends.b.is_open());
  }());
}

TEST_F(ChannelTest, TellsAGoodEndFromABrokenOne) {
  run([this]() -> asio::awaitable<void> {
    Pair ends = co_await pair();
    (void)co_await ends.a.send(text("last"));
    ends.a.close();
    Result<StringValue> got = co_await ends.b.receive<StringValue>();
    EXPECT_EQ(got.value().value(), "last");
    got = co_await ends.b.receive<StringValue>();
    EXPECT_EQ(got.error().code, asio::error::eof);
    EXPECT_THAT(got.error().message, HasSubstr("hostA"));
    Result<void> later = co_await ends.b.send(text("too late"));
    EXPECT_EQ(later.error().message, got.error().message);
  }());
}

TEST_F(ChannelTest, CloseCancelsWhatIsUnderWay) {
  run([this]() -> asio::awaitable<void> {
    Pair ends = co_await pair();
    auto close = [](Channel& channel) -> asio::awaitable<void> {
      co_await asio::post(asio::use_awaitable);
      channel.close();
    };
    // The peer reads nothing, so that the sender gets stuck too.
    auto send_until_error = [](Channel& channel) -> asio::awaitable<Error> {
      std::vector<std::byte> payload(kMaxFramePayload);
      Result<void> sent;
      while (sent) sent = co_await channel.send(text(""), payload);
      co_return sent.error();
    };
    auto [got, sent] =
        co_await (close(ends.a) && ends.a.receive<StringValue>() && send_until_error(ends.a));
    EXPECT_TRUE(got.error().cancelled()) << got.error().message;
    EXPECT_TRUE(sent.cancelled()) << sent.message;
    EXPECT_FALSE(ends.a.is_open());
  }());
}

TEST_F(ChannelTest, DestructionCancelsAPendingReceive) {
  run([this]() -> asio::awaitable<void> {
    Pair ends = co_await pair();
    auto pending = ends.a.receive<StringValue>();
    auto destroy = [](Channel) -> asio::awaitable<void> { co_return; };
    auto got = co_await (std::move(pending) && destroy(std::move(ends.a)));
    EXPECT_TRUE(got.error().cancelled()) << got.error().message;
  }());
}

TEST_F(ChannelTest, ACancelledReceiveEndsTheChannel) {
  run([this]() -> asio::awaitable<void> {
    Pair ends = co_await pair();
    asio::steady_timer soon(io_, 1ms);
    auto first = co_await (ends.a.receive<StringValue>() || soon.async_wait(asio::use_awaitable));
    EXPECT_EQ(first.index(), 1u);
    EXPECT_FALSE(ends.a.is_open());
    Result<void> sent = co_await ends.a.send(text(""));
    EXPECT_TRUE(sent.error().cancelled());
  }());
}

TEST_F(ChannelTest, AFloodLeavesOthersTheirTurn) {
  run([this]() -> asio::awaitable<void> {
    Pair ends = co_await pair();
    constexpr int kFrames = 5000;
    for (int i = 0; i < kFrames; ++i) (void)co_await ends.a.send(text("x"));
    // All of it lies in the receiver's socket now, which never has to wait.
    int turns = 0;
    bool stop = false;
    auto others = [&]() -> asio::awaitable<void> {
      for (; !stop; ++turns) co_await asio::post(asio::use_awaitable);
    };
    auto receive_all = [&]() -> asio::awaitable<void> {
      for (int i = 0; i < kFrames; ++i) {
        Result<StringValue> got = co_await ends.b.receive<StringValue>();
        EXPECT_TRUE(got);
      }
      stop = true;
    };
    co_await (others() && receive_all());
    EXPECT_GE(turns, 10);
  }());
}

TEST_F(ChannelTest, APeerThatReadsNothingIsDeadInTime) {
  Timeouts short_ones;
  short_ones.dead_peer = 1s;
  serve();
  run([&]() -> asio::awaitable<void> {
    ConnectOptions options = to_b();
    options.timeouts = short_ones;
    Result<Channel> connected = co_await connect(tls_a_, options, anyone());
    Channel a = std::move(connected.value());
    Channel b = co_await accepted_.take();
    std::vector<std::byte> payload(kMaxFramePayload);
    Result<void> sent;
    while (sent) sent = co_await a.send(text(""), payload);
    EXPECT_EQ(sent.error().code, errc::timed_out) << sent.error().message;
    EXPECT_THAT(sent.error().message, HasSubstr("hostB"));
  }());
}

}  // namespace
}  // namespace homeport::overlay
