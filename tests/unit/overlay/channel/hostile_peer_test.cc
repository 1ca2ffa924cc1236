// Peers with a good certificate and bad manners.
#include "tests/unit/overlay/channel/test_peers.h"

#include "overlay/channel/connection.h"

#include <boost/asio/buffer.hpp>
#include <boost/asio/write.hpp>

#include <gmock/gmock.h>

namespace homeport::overlay {
namespace {

using ::testing::HasSubstr;

std::string prefix(std::uint32_t header, std::uint32_t payload) {
  auto bytes = encode_frame_prefix({header, payload});
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

class HostilePeerTest : public ChannelFixture {
 protected:
  /// What the server says to a client that begins with this hello; both sides' words.
  struct Answer {
    Hello hello;
    Error refused;
  };
  asio::awaitable<Answer> answer_to(const Hello& hello) {
    auto stream = co_await raw_peer();
    co_await write_frame(*stream, hello);
    Answer answer;
    answer.hello = co_await read_hello(*stream);
    stream->close();
    answer.refused = co_await refused_.take();
    co_return answer;
  }

  /// A raw peer that has got as far as a channel at the server.
  struct Opened {
    std::unique_ptr<TlsStream> raw;
    Channel channel;
  };
  asio::awaitable<Opened> opened() {
    Opened both;
    both.raw = co_await raw_peer();
    co_await write_frame(*both.raw, hello_of_a());
    Hello answer = co_await read_hello(*both.raw);
    EXPECT_EQ(answer.refusal(), "");
    EXPECT_EQ(answer.host(), "hostB");
    both.channel = co_await accepted_.take();
    co_return both;
  }

  /// How the channel takes `bytes` after the hello.
  asio::awaitable<Error> error_after(std::string bytes) {
    Opened both = co_await opened();
    co_await write_bytes(*both.raw, std::move(bytes));
    std::vector<std::byte> payload;
    Result<StringValue> got = co_await both.channel.receive<StringValue>(&payload);
    if (got) {
      ADD_FAILURE() << "accepted";
      co_return Error{};
    }
    EXPECT_LE(payload.capacity(), kMaxFramePayload);
    EXPECT_FALSE(both.channel.is_open());
    EXPECT_THAT(got.error().message, HasSubstr("hostA"));
    co_return got.error();
  }
};

TEST_F(HostilePeerTest, GarbageAfterTheHandshakeIsRefused) {
  serve();
  run([this]() -> asio::awaitable<void> {
    auto stream = co_await raw_peer();
    co_await write_bytes(*stream, "this is no hello, but long enough to be one");
    Error refused = co_await refused_.take();
    EXPECT_EQ(refused.code, errc::message_size);
    EXPECT_THAT(refused.message, HasSubstr("hostA"));

    stream = co_await raw_peer();
    co_await write_bytes(*stream, prefix(4, 0) + "\xff\xff\xff\xff");
    refused = co_await refused_.take();
    EXPECT_EQ(refused.code, errc::bad_message);

    stream = co_await raw_peer();
    co_await write_bytes(*stream, prefix(4097, 0));
    refused = co_await refused_.take();
    EXPECT_EQ(refused.code, errc::message_size);
    EXPECT_TRUE(accepted_.empty());
  }());
}

TEST_F(HostilePeerTest, AnotherProtocolVersionIsToldSo) {
  serve();
  run([this]() -> asio::awaitable<void> {
    Hello hello = hello_of_a();
    hello.set_software_version("9.0\x1b[31m");
    hello.set_protocol_version(kProtocol.newest + 2);
    for (std::uint32_t oldest : {kProtocol.newest + 1, 0u, kProtocol.newest + 3}) {
      hello.set_oldest_protocol_version(oldest);
      Answer answer = co_await answer_to(hello);
      EXPECT_THAT(answer.hello.refusal(), HasSubstr("of the channel protocol (software 9.0?[31m), "
                                                    "hostB speaks version 1 (software "));
      EXPECT_EQ(answer.hello.protocol_version(), kProtocol.newest);
      EXPECT_EQ(answer.refused.code, errc::protocol_not_supported);
    }
    hello.set_protocol_version(0);
    hello.set_oldest_protocol_version(0);
    Answer answer = co_await answer_to(hello);
    EXPECT_EQ(answer.refused.code, errc::protocol_not_supported);
  }());
}

TEST_F(HostilePeerTest, ANewerPeerThatSpeaksOursIsLetIn) {
  serve();
  run([this]() -> asio::awaitable<void> {
    Hello hello = hello_of_a();
    hello.set_protocol_version(kProtocol.newest + 5);
    hello.set_oldest_protocol_version(kProtocol.newest);
    auto stream = co_await raw_peer();
    co_await write_frame(*stream, hello);
    Hello answer = co_await read_hello(*stream);
    EXPECT_EQ(answer.refusal(), "");
    EXPECT_EQ(answer.protocol_version(), kProtocol.newest);
    EXPECT_EQ(answer.oldest_protocol_version(), kProtocol.newest);
    Channel channel = co_await accepted_.take();
    EXPECT_EQ(channel.protocol_version(), kProtocol.newest);
  }());
}

TEST(ProtocolVersions, AgreeOnTheNewestThatBothSpeak) {
  constexpr auto agreed = [](ProtocolVersions one, ProtocolVersions other) {
    EXPECT_EQ(agreed_version(one, other), agreed_version(other, one));
    return agreed_version(one, other).value_or(0);
  };
  EXPECT_EQ(agreed({1, 1}, {1, 1}), 1u);
  EXPECT_EQ(agreed({1, 3}, {2, 5}), 3u);
  EXPECT_EQ(agreed({1, 9}, {2, 2}), 2u);
  EXPECT_EQ(agreed({1, 2}, {3, 4}), 0u);
  EXPECT_EQ(agreed({1, 4}, {4, 3}), 0u);
  EXPECT_EQ(agreed({0, 0}, {0, 0}), 0u);
}

TEST_F(HostilePeerTest, AServerOfAnotherVersionIsRefused) {
  run([this]() -> asio::awaitable<void> {
    tcp::acceptor acceptor(io_, tcp::endpoint(asio::ip::address_v4::loopback(), 0));
    auto old_server = [&](bool refuses) -> asio::awaitable<void> {
      TlsStream stream(co_await acceptor.async_accept(asio::use_awaitable));
      (void)co_await stream.handshake(tls_b_.native(), TlsStream::Role::server);
      Hello answer = co_await read_hello(stream);
      answer.set_host("hostB");
      answer.set_protocol_version(7);
      answer.set_oldest_protocol_version(7);
      if (refuses) answer.set_refusal("too \x1b[31mnew\n");
      co_await write_frame(stream, answer);
      co_await stream.linger();
    };
    ConnectOptions options = to_b_at(acceptor.local_endpoint());
    for (bool refuses : {false, true}) {
      asio::co_spawn(io_, old_server(refuses), asio::detached);
      Error error = co_await failure_to_connect(tls_a_, options);
      EXPECT_EQ(error.code, errc::protocol_not_supported);
      EXPECT_THAT(error.message, HasSubstr(refuses ? "too ?[31mnew?" : "version 7"));
    }
  }());
}

TEST_F(HostilePeerTest, AnAnswerToAnotherQuestionIsRefused) {
  run([this]() -> asio::awaitable<void> {
    tcp::acceptor acceptor(io_, tcp::endpoint(asio::ip::address_v4::loopback(), 0));
    auto server = [&](ChannelPurpose purpose, std::string session) -> asio::awaitable<void> {
      TlsStream stream(co_await acceptor.async_accept(asio::use_awaitable));
      (void)co_await stream.handshake(tls_b_.native(), TlsStream::Role::server);
      Hello answer = co_await read_hello(stream);
      answer.set_host("hostB");
      answer.set_purpose(purpose);
      answer.set_session(session);
      co_await write_frame(stream, answer);
      co_await stream.linger();
    };
    ConnectOptions options = to_b_at(acceptor.local_endpoint());
    options.purpose = Purpose::lane;
    options.session = "move 1";
    for (auto [purpose, session] : {std::pair{CHANNEL_PURPOSE_CONTROL, "move 1"},
                                    std::pair{CHANNEL_PURPOSE_LANE, "move 2"}}) {
      asio::co_spawn(io_, server(purpose, session), asio::detached);
      Error error = co_await failure_to_connect(tls_a_, options);
      EXPECT_EQ(error.code, errc::bad_message);
      EXPECT_THAT(error.message, HasSubstr("than asked for (lanes in session 'move 1')"));
    }
  }());
}

TEST_F(HostilePeerTest, AHelloThatDoesNotFitIsRefused) {
  serve();
  run([this]() -> asio::awaitable<void> {
    Hello hello = hello_of_a();
    hello.set_host("hostC\n");
    Answer answer = co_await answer_to(hello);
    EXPECT_THAT(answer.hello.refusal(), HasSubstr("calls itself 'hostC?'"));
    EXPECT_EQ(answer.refused.code, errc::permission_denied);

    // The refusal is cut between two characters: a hello must be UTF-8.
    std::string accents;
    for (int i = 0; i < 1000; ++i) accents += "\u00e9";
    hello.set_host(accents);
    answer = co_await answer_to(hello);
    EXPECT_THAT(answer.hello.refusal(), HasSubstr("calls itself '\u00e9"));

    hello = hello_of_a();
    hello.set_session(std::string(kMaxSessionSize + 1, 's'));
    answer = co_await answer_to(hello);
    EXPECT_EQ(answer.refused.code, errc::bad_message);

    hello = hello_of_a();
    hello.set_purpose(static_cast<ChannelPurpose>(99));
    answer = co_await answer_to(hello);
    EXPECT_THAT(answer.hello.refusal(), HasSubstr("unknown purpose 99"));
    EXPECT_EQ(answer.refused.code, errc::bad_message);
    EXPECT_TRUE(accepted_.empty());
  }());
}

TEST_F(HostilePeerTest, OversizedFramesAreRefusedByTheirPrefix) {
  serve();
  run([this]() -> asio::awaitable<void> {
    Error error = co_await error_after(prefix(0xffffffff, 0));
    EXPECT_EQ(error.code, errc::message_size);
    error = co_await error_after(prefix(kMaxFrameHeader + 1, 0));
    EXPECT_EQ(error.code, errc::message_size);
    error = co_await error_after(prefix(0, 0xffffffff));
    EXPECT_EQ(error.code, errc::message_size);
    error = co_await error_after(prefix(0, kMaxFramePayload + 1));
    EXPECT_EQ(error.code, errc::message_size);
  }());
}

TEST_F(HostilePeerTest, AMessageThatDoesNotParseIsRefused) {
  serve();
  run([this]() -> asio::awaitable<void> {
    Error error = co_await error_after(prefix(2, 0) + "\x0a\x7f");
    EXPECT_EQ(error.code, errc::bad_message);
    EXPECT_THAT(error.message, HasSubstr("google.protobuf.StringValue"));
  }());
}

TEST_F(HostilePeerTest, UnknownFieldsAreIgnored) {
  serve();
  run([this]() -> asio::awaitable<void> {
    Opened both = co_await opened();
    std::string message = text("known").SerializeAsString() +
                          "\xfa\x3e\x03"
                          "new";
    co_await write_bytes(*both.raw,
                         prefix(static_cast<std::uint32_t>(message.size()), 0) + message);
    Result<StringValue> got = co_await both.channel.receive<StringValue>();
    EXPECT_EQ(got.value().value(), "known");
  }());
}

TEST_F(HostilePeerTest, AStreamThatBreaksOffIsNotAGoodEnd) {
  serve();
  run([this]() -> asio::awaitable<void> {
    // With TLS's good-bye, but inside a prefix, a header, a payload.
    for (std::string bytes : {prefix(10, 0).substr(0, 5), prefix(10, 0), prefix(10, 0) + "\x0a\x01",
                              prefix(0, 100), prefix(0, 100) + "some of it"}) {
      Opened both = co_await opened();
      co_await write_bytes(*both.raw, bytes);
      both.raw->close();
      std::vector<std::byte> payload;
      Result<StringValue> got = co_await both.channel.receive<StringValue>(&payload);
      EXPECT_EQ(got.error().code, errc::connection_reset) << got.error().message;
    }
    // Between two frames, but without TLS's good-bye, as when the peer's process is killed.
    Opened both = co_await opened();
    both.raw->socket().close();
    Result<StringValue> got = co_await both.channel.receive<StringValue>();
    EXPECT_EQ(got.error().code, errc::connection_reset) << got.error().message;
  }());
}

TEST_F(HostilePeerTest, BytesThatAreNotTlsEndTheChannel) {
  serve();
  run([this]() -> asio::awaitable<void> {
    Opened both = co_await opened();
    std::string forged(1000, 'x');
    co_await asio::async_write(both.raw->socket(), asio::buffer(forged), asio::use_awaitable);
    Result<StringValue> got = co_await both.channel.receive<StringValue>();
    EXPECT_EQ(got.error().code, errc::protocol_error) << got.error().message;
  }());
}

}  // namespace
}  // namespace homeport::overlay
