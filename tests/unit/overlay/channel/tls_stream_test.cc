#include "overlay/channel/tls_stream.h"

#include "tests/unit/overlay/channel/test_peers.h"

#include <boost/asio/experimental/awaitable_operators.hpp>

namespace homeport::overlay {
namespace {

using namespace boost::asio::experimental::awaitable_operators;

class TlsStreamTest : public ChannelFixture {};

TEST_F(TlsStreamTest, ChangesItsKeysWhileDataFlowsBothWays) {
  run([this]() -> asio::awaitable<void> {
    tcp::acceptor acceptor(io_, tcp::endpoint(asio::ip::address_v4::loopback(), 0));
    tcp::socket connecting(io_);
    co_await connecting.async_connect(acceptor.local_endpoint(), asio::use_awaitable);
    tcp::socket accepted = co_await acceptor.async_accept(asio::use_awaitable);
    constexpr std::uint64_t kRekeyAfter = 100'000;
    TlsStream client(std::move(connecting), kRekeyAfter);
    TlsStream server(std::move(accepted), kRekeyAfter);
    auto [client_done, server_done] =
        co_await (client.handshake(tls_a_.native(), TlsStream::Role::client) &&
                  server.handshake(tls_b_.native(), TlsStream::Role::server));
    EXPECT_TRUE(client_done);
    EXPECT_TRUE(server_done);

    int key_updates = 0;
    SSL_set_msg_callback(client.native(), [](int write, int, int type, const void* data,
                                             std::size_t size, SSL*, void* count) {
      if (write == 0 && type == SSL3_RT_HANDSHAKE && size > 0 &&
          *static_cast<const unsigned char*>(data) == SSL3_MT_KEY_UPDATE) {
        ++*static_cast<int*>(count);
      }
    });
    SSL_set_msg_callback_arg(client.native(), &key_updates);

    auto write_all = [](TlsStream& stream) -> asio::awaitable<void> {
      for (unsigned i = 0; i < 20; ++i) {
        Result<void> done = co_await stream.write(pattern(90'000, i));
        EXPECT_TRUE(done);
      }
    };
    auto read_all = [](TlsStream& stream) -> asio::awaitable<void> {
      std::vector<std::byte> got(90'000);
      for (unsigned i = 0; i < 20; ++i) {
        Result<void> done = co_await stream.read(got);
        EXPECT_TRUE(done) << done.error().message;
        EXPECT_EQ(got, pattern(90'000, i));
      }
    };
    co_await (write_all(client) && write_all(server) && read_all(client) && read_all(server));
    EXPECT_EQ(key_updates, 9);
  }());
}

}  // namespace
}  // namespace homeport::overlay
