// Hosts with certificates, and both ends of channels between them in one io_context.
#pragma once

#include "overlay/channel/channel.h"
#include "overlay/channel/channel.pb.h"
#include "overlay/channel/pki.h"
#include "overlay/channel/protocol.h"
#include "overlay/channel/tls_stream.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <google/protobuf/wrappers.pb.h>
#include <gtest/gtest.h>

#include <deque>
#include <filesystem>
#include <memory>
#include <string>

namespace homeport::overlay {

namespace asio = boost::asio;
namespace errc = boost::system::errc;
using asio::ip::tcp;
using google::protobuf::StringValue;
using policy::Error;
using policy::Result;
using namespace std::chrono_literals;

/// A directory that is removed with everything in it.
class ScratchDirectory {
 public:
  ScratchDirectory();
  ~ScratchDirectory();
  ScratchDirectory(const ScratchDirectory&) = delete;
  ScratchDirectory& operator=(const ScratchDirectory&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

/// A CA of its own and the hosts it vouches for.
class Authority {
 public:
  explicit Authority(const std::string& name = "test CA");

  /// Files of a new certificate for `host`; another one at each call.
  TlsIdentity identity(const std::string& host,
                       const pki::Validity& validity = pki::Validity::for_days(1));
  TlsContext context(const std::string& host,
                     const pki::Validity& validity = pki::Validity::for_days(1));
  pki::KeyPairFiles files() const;

 private:
  ScratchDirectory directory_;
  int issued_ = 0;
};

/// Values handed from one coroutine to another.
template <class T>
class Mailbox {
 public:
  explicit Mailbox(asio::io_context& io) : some_(io, asio::steady_timer::time_point::max()) {}

  void put(T value) {
    values_.push_back(std::move(value));
    some_.cancel();
  }
  asio::awaitable<T> take() {
    while (values_.empty()) co_await some_.async_wait(asio::as_tuple(asio::use_awaitable));
    T value = std::move(values_.front());
    values_.pop_front();
    co_return value;
  }
  bool empty() const { return values_.empty(); }

 private:
  asio::steady_timer some_;
  std::deque<T> values_;
};

PeerCheck anyone();

/// hostA connects, hostB serves.
class ChannelFixture : public ::testing::Test {
 protected:
  /// Runs `test` to its end, everything else of the io_context beside it.
  void run(asio::awaitable<void> test);

  ServerOptions server_options();
  void serve(PeerCheck check = anyone(), Timeouts timeouts = {});
  void serve(TlsContext tls, ServerOptions options, PeerCheck check);
  tcp::endpoint endpoint() const { return server_->endpoints().front(); }

  static ConnectOptions to_b_at(const tcp::endpoint& endpoint);
  ConnectOptions to_b() const;
  asio::awaitable<Result<Channel>> connect_to_b();
  asio::awaitable<Error> failure_to_connect(TlsContext tls, ConnectOptions options,
                                            PeerCheck check = anyone());

  struct Pair {
    Channel a, b;
  };
  asio::awaitable<Pair> pair();

  /// A peer with hostA's certificate that does as the test wants, after the TLS handshake.
  asio::awaitable<std::unique_ptr<TlsStream>> raw_peer(SSL_CTX* context = nullptr);
  asio::awaitable<void> write_frame(TlsStream& stream,
                                    const google::protobuf::MessageLite& message);
  asio::awaitable<void> write_bytes(TlsStream& stream, std::string bytes);
  /// The frame's message; empty if the stream has ended.
  asio::awaitable<Hello> read_hello(TlsStream& stream);
  static Hello hello_of_a();

  Authority authority_;
  asio::io_context io_{1};
  TlsContext tls_a_ = authority_.context("hostA");
  TlsContext tls_b_ = authority_.context("hostB");
  Mailbox<Channel> accepted_{io_};
  Mailbox<Error> refused_{io_};
  std::unique_ptr<ChannelServer> server_;
};

StringValue text(std::string value);
std::vector<std::byte> pattern(std::size_t size, unsigned seed);

}  // namespace homeport::overlay
