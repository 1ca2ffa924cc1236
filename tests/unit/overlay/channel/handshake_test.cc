// Who gets a channel and who does not, seen from both ends.
#include "tests/unit/overlay/channel/test_peers.h"

#include "overlay/channel/openssl.h"

#include <boost/asio/buffer.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>

#include <gmock/gmock.h>

namespace homeport::overlay {
namespace {

using ::testing::AnyOf;
using ::testing::HasSubstr;

PeerCheck only(const std::string& host, const std::string& certificate_sha256) {
  return [=](const std::string& name, const std::string& sha256) -> Result<void> {
    if (name != host) {
      return policy::make_error(errc::permission_denied, "no such host in the database: " + name);
    }
    if (sha256 != certificate_sha256) {
      return policy::make_error(errc::permission_denied, "another certificate is on record");
    }
    return {};
  };
}

class HandshakeTest : public ChannelFixture {
 protected:
  /// A TLS client configuration with hostA's certificate, for the test to change.
  openssl::ContextPtr client_context(const TlsIdentity* identity) {
    openssl::ContextPtr context(SSL_CTX_new(TLS_client_method()));
    SSL_CTX_set_mode(context.get(),
                     SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    if (identity != nullptr) {
      SSL_CTX_use_certificate_file(context.get(), identity->certificate.c_str(), SSL_FILETYPE_PEM);
      SSL_CTX_use_PrivateKey_file(context.get(), identity->private_key.c_str(), SSL_FILETYPE_PEM);
    }
    return context;
  }

  asio::awaitable<Result<void>> raw_handshake(SSL_CTX* context) {
    tcp::socket socket(io_);
    co_await socket.async_connect(endpoint(), asio::use_awaitable);
    TlsStream stream(std::move(socket));
    Result<void> done = co_await stream.handshake(context, TlsStream::Role::client);
    // In TLS 1.3 a client has finished before the server has judged it.
    std::array<std::byte, 1> byte;
    if (done) done = co_await stream.read(byte);
    co_return done;
  }

  pki::Validity yesterday() {
    auto now = pki::Validity::for_days(0).not_after;
    return {now - 48h, now - 24h};
  }
};

TEST_F(HandshakeTest, LetsInTheHostOnRecord) {
  serve(only("hostA", tls_a_.certificate_sha256()));
  run([this]() -> asio::awaitable<void> {
    Result<Channel> channel =
        co_await connect(tls_a_, to_b(), only("hostB", tls_b_.certificate_sha256()));
    EXPECT_TRUE(channel) << channel.error().message;
  }());
}

TEST_F(HandshakeTest, RefusesAHostThatIsNotOnRecord) {
  serve(only("hostC", "00"));
  run([this]() -> asio::awaitable<void> {
    Error error = co_await failure_to_connect(tls_a_, to_b());
    EXPECT_EQ(error.code, errc::permission_denied);
    EXPECT_THAT(error.message, HasSubstr("hostB"));
    EXPECT_THAT(error.message, HasSubstr("no such host in the database: hostA"));
    Error refused = co_await refused_.take();
    EXPECT_EQ(refused.code, errc::permission_denied);
    EXPECT_THAT(refused.message, HasSubstr("hostA (127.0.0.1:"));
    EXPECT_TRUE(accepted_.empty());
  }());
}

TEST_F(HandshakeTest, RefusesAnotherCertificateOfTheSameName) {
  serve(only("hostA", authority_.context("hostA").certificate_sha256()));
  run([this]() -> asio::awaitable<void> {
    Error error = co_await failure_to_connect(tls_a_, to_b());
    EXPECT_EQ(error.code, errc::permission_denied);
    EXPECT_THAT(error.message, HasSubstr("another certificate is on record"));
  }());
}

TEST_F(HandshakeTest, TheClientChecksTheServerToo) {
  serve();
  run([this]() -> asio::awaitable<void> {
    Error error = co_await failure_to_connect(tls_a_, to_b(), only("hostB", "00"));
    EXPECT_EQ(error.code, errc::permission_denied);
    EXPECT_THAT(error.message, HasSubstr("another certificate is on record"));

    ConnectOptions options = to_b();
    options.expected_host = "hostC";
    error = co_await failure_to_connect(tls_a_, options);
    EXPECT_EQ(error.code, errc::permission_denied);
    EXPECT_THAT(error.message, HasSubstr("this is host 'hostB', not 'hostC'"));
    EXPECT_TRUE(accepted_.empty());
  }());
}

TEST_F(HandshakeTest, RefusesAPurposeThatIsNotServed) {
  serve();
  run([this]() -> asio::awaitable<void> {
    ConnectOptions options = to_b();
    options.purpose = Purpose::lane;
    Error error = co_await failure_to_connect(tls_a_, options);
    EXPECT_EQ(error.code, errc::permission_denied);
    EXPECT_THAT(error.message, HasSubstr("this address takes control channels only, not lanes"));
    Error refused = co_await refused_.take();
    EXPECT_EQ(refused.code, errc::bad_message);
    EXPECT_TRUE(accepted_.empty());
  }());
}

TEST_F(HandshakeTest, RefusesACertificateOfAnotherCa) {
  Authority other("other CA");
  serve();
  run([&]() -> asio::awaitable<void> {
    // The client does not trust the server.
    Error error = co_await failure_to_connect(other.context("hostA"), to_b());
    EXPECT_EQ(error.code, errc::permission_denied) << error.message;
    EXPECT_THAT(error.message, HasSubstr("its certificate is not accepted"));
    Error refused = co_await refused_.take();
    EXPECT_EQ(refused.code, errc::permission_denied);
    EXPECT_THAT(refused.message, HasSubstr("does not accept our certificate"));

    // The server does not trust the client.
    TlsIdentity foreign = other.identity("hostA");
    auto trusting = client_context(&foreign);
    Result<void> done = co_await raw_handshake(trusting.get());
    EXPECT_EQ(done.error().code, errc::permission_denied) << done.error().message;
    refused = co_await refused_.take();
    EXPECT_EQ(refused.code, errc::permission_denied);
    EXPECT_THAT(refused.message, HasSubstr("its certificate is not accepted"));
  }());
}

TEST_F(HandshakeTest, RefusesExpiredCertificates) {
  serve();
  run([this]() -> asio::awaitable<void> {
    TlsContext expired = authority_.context("hostA", yesterday());
    Error error = co_await failure_to_connect(expired, to_b());
    EXPECT_EQ(error.code, errc::permission_denied);
    EXPECT_THAT(error.message, HasSubstr("certificate expired"));
    Error refused = co_await refused_.take();
    EXPECT_THAT(refused.message, HasSubstr("certificate has expired"));

    serve(authority_.context("hostB", yesterday()), server_options(), anyone());
    error = co_await failure_to_connect(tls_a_, to_b());
    EXPECT_EQ(error.code, errc::permission_denied);
    EXPECT_THAT(error.message, HasSubstr("certificate has expired"));
  }());
}

TEST_F(HandshakeTest, RefusesAClientWithoutCertificate) {
  serve();
  run([this]() -> asio::awaitable<void> {
    auto anonymous = client_context(nullptr);
    Result<void> done = co_await raw_handshake(anonymous.get());
    EXPECT_EQ(done.error().code, errc::permission_denied) << done.error().message;
    Error refused = co_await refused_.take();
    EXPECT_EQ(refused.code, errc::permission_denied);
    EXPECT_THAT(refused.message, HasSubstr("it shows no certificate"));
  }());
}

TEST_F(HandshakeTest, RefusesTls12) {
  serve();
  run([this]() -> asio::awaitable<void> {
    TlsIdentity identity = authority_.identity("hostA");
    auto old = client_context(&identity);
    SSL_CTX_set_max_proto_version(old.get(), TLS1_2_VERSION);
    Result<void> done = co_await raw_handshake(old.get());
    EXPECT_EQ(done.error().code, errc::protocol_error);
    EXPECT_THAT(done.error().message, HasSubstr("does not speak TLS 1.3"));
    Error refused = co_await refused_.take();
    EXPECT_THAT(refused.message, HasSubstr("does not speak TLS 1.3"));
  }());
}

TEST_F(HandshakeTest, RefusesAPlainTcpClient) {
  serve();
  run([this]() -> asio::awaitable<void> {
    tcp::socket socket(io_);
    co_await socket.async_connect(endpoint(), asio::use_awaitable);
    std::string request = "GET / HTTP/1.1\r\n\r\n";
    co_await asio::async_write(socket, asio::buffer(request), asio::use_awaitable);
    std::string answer;
    auto [error, size] = co_await asio::async_read(socket, asio::dynamic_buffer(answer),
                                                   asio::as_tuple(asio::use_awaitable));
    EXPECT_EQ(error, asio::error::eof);
    EXPECT_LT(answer.size(), 16u);  // a TLS alert at most
    socket.close();
    Error refused = co_await refused_.take();
    EXPECT_EQ(refused.code, errc::protocol_error);
    EXPECT_THAT(refused.message, HasSubstr("does not speak TLS at all"));
  }());
}

TEST_F(HandshakeTest, ASilentClientIsDroppedInTime) {
  serve(anyone(), {.handshake = 250ms});
  run([this]() -> asio::awaitable<void> {
    tcp::socket silent(io_);
    co_await silent.async_connect(endpoint(), asio::use_awaitable);
    Error refused = co_await refused_.take();
    EXPECT_EQ(refused.code, errc::timed_out);
    EXPECT_THAT(refused.message, HasSubstr("handshake was not done within 250 ms"));

    // The same after TLS, where the hello is awaited.
    auto stream = co_await raw_peer();
    refused = co_await refused_.take();
    EXPECT_EQ(refused.code, errc::timed_out);
    EXPECT_THAT(refused.message, HasSubstr("hostA"));
  }());
}

TEST_F(HandshakeTest, ASilentServerIsGivenUpInTime) {
  run([this]() -> asio::awaitable<void> {
    tcp::acceptor silent(io_, tcp::endpoint(asio::ip::address_v4::loopback(), 0));
    ConnectOptions options = to_b_at(silent.local_endpoint());
    options.timeouts.handshake = 20ms;
    Error error = co_await failure_to_connect(tls_a_, options);
    EXPECT_EQ(error.code, errc::timed_out);
    EXPECT_THAT(error.message, HasSubstr("hostB at 127.0.0.1:"));
  }());
}

TEST_F(HandshakeTest, AHostThatDoesNotEvenConnectIsGivenUpInTime) {
  run([this]() -> asio::awaitable<void> {
    // Where the queue of connections to accept is full, the kernel drops further ones unanswered.
    tcp::acceptor full(io_, tcp::v4());
    full.bind(tcp::endpoint(asio::ip::address_v4::loopback(), 0));
    full.listen(0);
    tcp::socket queued(io_);
    co_await queued.async_connect(full.local_endpoint(), asio::use_awaitable);
    ConnectOptions options = to_b_at(full.local_endpoint());
    options.timeouts.connect = 20ms;
    Error error = co_await failure_to_connect(tls_a_, options);
    EXPECT_EQ(error.code, errc::timed_out);
    EXPECT_THAT(error.message, HasSubstr("no connection within 20 ms"));
  }());
}

TEST_F(HandshakeTest, NamesWhoCannotBeReached) {
  serve();
  ConnectOptions options = to_b();
  server_->stop();
  run([&]() -> asio::awaitable<void> {
    Error error = co_await failure_to_connect(tls_a_, options);
    EXPECT_EQ(error.code, errc::connection_refused);
    EXPECT_THAT(error.message, HasSubstr("hostB at 127.0.0.1:"));

    options.session = std::string(kMaxSessionSize + 1, 'x');
    error = co_await failure_to_connect(tls_a_, options);
    EXPECT_EQ(error.code, errc::invalid_argument);
  }());
}

}  // namespace
}  // namespace homeport::overlay
