// The accepting side as a whole.
#include "tests/unit/overlay/channel/test_peers.h"

#include <gmock/gmock.h>

#include <stdexcept>
#include <thread>

namespace homeport::overlay {
namespace {

using ::testing::HasSubstr;

class ServerTest : public ChannelFixture {};

TEST_F(ServerTest, ListensOnSeveralAddresses) {
  ServerOptions options = server_options();
  options.listen.push_back(tcp::endpoint(asio::ip::address_v4::loopback(), 0));
  serve(tls_b_, options, anyone());
  ASSERT_EQ(server_->endpoints().size(), 2u);
  EXPECT_EQ(server_->port(), server_->endpoints().front().port());
  run([this]() -> asio::awaitable<void> {
    for (const tcp::endpoint& each : server_->endpoints()) {
      ConnectOptions to_each = to_b();
      to_each.endpoint = each;
      Result<Channel> channel = co_await connect(tls_a_, to_each, anyone());
      EXPECT_TRUE(channel);
    }
  }());
}

TEST_F(ServerTest, NamesTheAddressItCannotHave) {
  serve();
  ServerOptions options = server_options();
  options.listen = {endpoint()};
  auto second = ChannelServer::listen(io_.get_executor(), tls_b_, options, anyone(), {});
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, errc::address_in_use);
  EXPECT_THAT(second.error().message, HasSubstr("127.0.0.1:"));

  options.listen.clear();
  EXPECT_FALSE(ChannelServer::listen(io_.get_executor(), tls_b_, options, anyone(), {}));
}

TEST_F(ServerTest, BoundsTheHandshakesUnderWay) {
  ServerOptions options = server_options();
  options.max_handshakes = 1;
  serve(tls_b_, options, anyone());
  run([this]() -> asio::awaitable<void> {
    tcp::socket silent(io_);
    co_await silent.async_connect(endpoint(), asio::use_awaitable);
    ConnectOptions hasty = to_b();
    hasty.timeouts.handshake = 50ms;
    Error error = co_await failure_to_connect(tls_a_, hasty);
    EXPECT_EQ(error.code, errc::timed_out);  // it waits in the kernel's queue

    silent.close();
    Result<Channel> channel = co_await connect_to_b();
    EXPECT_TRUE(channel) << channel.error().message;
  }());
}

TEST_F(ServerTest, AHandlerThatThrowsLosesItsChannelOnly) {
  server_ = std::move(ChannelServer::listen(io_.get_executor(), tls_b_, server_options(), anyone(),
                                            [](Channel) -> asio::awaitable<void> {
                                              throw std::runtime_error("out of luck");
                                              co_return;
                                            })
                          .value());
  run([this]() -> asio::awaitable<void> {
    for (int i = 0; i < 2; ++i) {
      Result<Channel> channel = co_await connect_to_b();
      Result<StringValue> got = co_await channel.value().receive<StringValue>();
      EXPECT_EQ(got.error().code, asio::error::eof);
      Error error = co_await refused_.take();
      EXPECT_THAT(error.message, HasSubstr("hostA: the channel's handler failed: out of luck"));
    }
  }());
}

TEST_F(ServerTest, StoppingDropsHandshakesAndKeepsChannels) {
  run([this]() -> asio::awaitable<void> {
    Pair ends = co_await pair();
    tcp::socket silent(io_);
    co_await silent.async_connect(endpoint(), asio::use_awaitable);
    // A whole handshake after it: by then the server has taken the silent one too.
    Pair more = co_await pair();
    ConnectOptions options = to_b();
    server_->stop();
    std::array<char, 1> byte;
    auto [error, size] =
        co_await silent.async_read_some(asio::buffer(byte), asio::as_tuple(asio::use_awaitable));
    EXPECT_TRUE(error);
    Error unreachable = co_await failure_to_connect(tls_a_, options);
    EXPECT_EQ(unreachable.code, errc::connection_refused);

    server_.reset();
    Result<void> sent = co_await ends.a.send(text("still there"));
    EXPECT_TRUE(sent);
    Result<StringValue> got = co_await ends.b.receive<StringValue>();
    EXPECT_EQ(got.value().value(), "still there");
    EXPECT_TRUE(refused_.empty());
  }());
}

TEST_F(ServerTest, RunsOnAThreadOfItsOwn) {
  asio::io_context lanes{1};
  auto echo = [](Channel channel) -> asio::awaitable<void> {
    std::vector<std::byte> payload;
    for (;;) {
      Result<StringValue> got = co_await channel.receive<StringValue>(&payload);
      if (!got) co_return;
      Result<void> sent = co_await channel.send(*got, payload);
      if (!sent) co_return;
    }
  };
  ServerOptions options;
  options.listen = server_options().listen;
  auto server = std::move(
      ChannelServer::listen(lanes.get_executor(), tls_b_, std::move(options), anyone(), echo)
          .value());
  ConnectOptions to_server = to_b_at(server->endpoints().front());
  std::thread thread([&] { lanes.run(); });
  run([&]() -> asio::awaitable<void> {
    // The same TLS context on both threads.
    Result<Channel> channel = co_await connect(tls_b_, to_server, anyone());
    std::vector<std::byte> sent = pattern(300'000, 3);
    std::vector<std::byte> payload;
    for (int i = 0; i < 20; ++i) {
      Result<void> done = co_await channel.value().send(text("again"), sent);
      EXPECT_TRUE(done);
      Result<StringValue> got = co_await channel.value().receive<StringValue>(&payload);
      EXPECT_EQ(got.value().value(), "again");
      EXPECT_EQ(payload, sent);
    }
  }());
  lanes.stop();
  thread.join();
}

TEST_F(ServerTest, MayBeDestroyedBeforeItRan) {
  serve();
  server_.reset();
  EXPECT_NO_THROW(io_.run());
}

}  // namespace
}  // namespace homeport::overlay
