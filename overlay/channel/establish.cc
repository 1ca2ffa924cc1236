#include "overlay/channel/establish.h"

#include "overlay/channel/hello.h"
#include "overlay/channel/pki.h"
#include "overlay/channel/protocol.h"
#include "policy/address.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <fmt/format.h>

#include <algorithm>

namespace homeport::overlay {
namespace {

namespace asio = boost::asio;
namespace errc = boost::system::errc;
using asio::ip::tcp;
using policy::Error;
using policy::Result;

struct Identity {
  std::string host;
  std::string certificate_sha256;
};

Result<Identity> identity_of(SSL* ssl) {
  X509* certificate = SSL_get0_peer_certificate(ssl);
  if (certificate == nullptr) {
    return policy::make_error(errc::permission_denied, "it shows no certificate");
  }
  auto host = pki::common_name(*certificate);
  if (!host) return Error{errc::make_error_code(errc::permission_denied), host.error().message};
  return Identity{std::move(*host), pki::fingerprint(*certificate)};
}

asio::awaitable<Result<void>> send_hello(Connection& connection, const Hello& hello) {
  Result<std::string> frame = encode_frame(hello, 0);
  if (!frame) co_return connection.fail(frame.error());
  co_return co_await connection.send(std::move(*frame), {});
}

/// Lets the peer read our last words (a TLS alert, a refusal) before the connection is closed.
asio::awaitable<Error> refuse(Connection& connection, Error error, const Hello* answer = nullptr) {
  if (connection.failure) co_return *connection.failure;
  if (answer != nullptr) {
    Hello refusal = make_refusal(*answer, error);
    Result<void> sent = co_await send_hello(connection, refusal);
    if (!sent) co_return policy::with_context(connection.peer, std::move(error));
  }
  co_await connection.stream.linger();
  // The deadline may have ended the lingering; the reason remains what it was.
  Error reason = policy::with_context(connection.peer, error);
  connection.fail(std::move(error));
  co_return reason;
}

}  // namespace

Result<void> set_tcp_options(tcp::socket& socket, std::chrono::milliseconds dead_peer) {
  int milliseconds = static_cast<int>(std::max<std::int64_t>(dead_peer.count(), 1000));
  const struct {
    int level, name, value;
  } options[] = {
      {IPPROTO_TCP, TCP_NODELAY, 1},
      {SOL_SOCKET, SO_KEEPALIVE, 1},
      // With a user timeout, the number of probes is what fits into it (tcp(7)).
      {IPPROTO_TCP, TCP_KEEPIDLE, std::max(1, milliseconds / 2000)},
      {IPPROTO_TCP, TCP_KEEPINTVL, 1},
      {IPPROTO_TCP, TCP_USER_TIMEOUT, milliseconds},
  };
  for (const auto& option : options) {
    if (setsockopt(socket.native_handle(), option.level, option.name, &option.value,
                   sizeof option.value) != 0) {
      return policy::errno_error("cannot set TCP options");
    }
  }
  return {};
}

asio::awaitable<Result<Channel>> establish_client(std::shared_ptr<Connection> connection,
                                                  TlsContext tls, ConnectOptions options,
                                                  PeerCheck check) {
  Deadline deadline(connection, options.timeouts.handshake, "the handshake was not done");
  Result<void> done = co_await connection->stream.handshake(tls.native(), TlsStream::Role::client);
  if (!done) co_return connection->fail(done.error());
  Result<Identity> identity = identity_of(connection->stream.native());
  if (!identity) co_return connection->fail(identity.error());
  if (identity->host != options.expected_host) {
    co_return connection->fail(policy::make_error(
        errc::permission_denied,
        fmt::format("this is host '{}', not '{}' as expected: check the endpoints in the control "
                    "database",
                    identity->host, options.expected_host)));
  }
  connection->peer = fmt::format("{} ({})", identity->host, connection->peer);
  if (done = check(identity->host, identity->certificate_sha256); !done) {
    co_return connection->fail(done.error());
  }

  Hello hello = make_hello(tls.host(), options.purpose, options.session);
  done = co_await send_hello(*connection, hello);
  if (!done) co_return done.error();
  Hello answer;
  done = co_await connection->receive(answer, nullptr, kHelloLimits);
  if (!done) co_return done.error();
  if (done = check_answer(answer, hello, identity->host); !done) {
    co_return connection->fail(done.error());
  }
  connection->protocol_version = *agreed_version(versions_of(answer), kProtocol);
  connection->peer = identity->host;
  connection->session = std::move(options.session);
  connection->watch_in(options.traffic);
  co_return Channel(std::move(connection));
}

asio::awaitable<Result<Channel>> establish_server(std::shared_ptr<Connection> connection,
                                                  TlsContext tls, Purpose purpose,
                                                  Timeouts timeouts, PeerCheck check) {
  Deadline deadline(connection, timeouts.handshake, "the handshake was not done");
  Result<void> done = co_await connection->stream.handshake(tls.native(), TlsStream::Role::server);
  if (!done) co_return co_await refuse(*connection, done.error());
  Result<Identity> identity = identity_of(connection->stream.native());
  if (!identity) co_return co_await refuse(*connection, identity.error());
  connection->peer = fmt::format("{} ({})", identity->host, connection->peer);

  Hello hello;
  done = co_await connection->receive(hello, nullptr, kHelloLimits);
  if (!done) co_return done.error();
  Hello answer = make_hello(tls.host(), purpose, {});
  done = check(identity->host, identity->certificate_sha256);
  if (done) done = check_hello(hello, identity->host, tls.host());
  if (done) done = check_purpose(hello, purpose);
  if (!done) co_return co_await refuse(*connection, done.error(), &answer);

  connection->session = hello.session();
  connection->protocol_version = *agreed_version(versions_of(hello), kProtocol);
  answer.set_protocol_version(connection->protocol_version);
  answer.set_oldest_protocol_version(connection->protocol_version);
  answer.set_session(hello.session());
  done = co_await send_hello(*connection, answer);
  if (!done) co_return done.error();
  connection->peer = identity->host;
  co_return Channel(std::move(connection));
}

namespace {

/// A socket for `options`, from the address that they name.
Result<void> prepare_socket(tcp::socket& socket, const ConnectOptions& options) {
  const tcp::endpoint& to = options.endpoint;
  const bool ipv6 = to.address().is_v6();
  int handle =
      ::socket(to.protocol().family(), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP);
  if (handle < 0) return policy::errno_error("cannot make a socket");
  boost::system::error_code error;
  socket.assign(to.protocol(), handle, error);
  if (error) {
    ::close(handle);
    return Error{error, "cannot use a socket: " + error.message()};
  }
  if (auto ready = set_tcp_options(socket, options.timeouts.dead_peer); !ready) return ready;
  if (options.purpose == Purpose::lane) {
    if (auto marked = mark_as_bulk(handle, ipv6); !marked) return marked;
    if (auto kept = keep_little_unsent(handle); !kept) return kept;
  }
  if (!options.local) return {};
  // The port is chosen when it is known who is at the other end: one port does for many of them.
  const int late = 1;
  setsockopt(handle, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &late, sizeof late);
  socket.bind({*options.local, 0}, error);
  if (!error) return {};
  return Error{error,
               fmt::format("cannot send from {}: {}", options.local->to_string(), error.message())};
}

}  // namespace

asio::awaitable<Result<Channel>> connect(TlsContext tls, ConnectOptions options, PeerCheck check) {
  asio::any_io_executor executor = co_await asio::this_coro::executor;
  auto connection = std::make_shared<Connection>(
      tcp::socket(executor),
      fmt::format("{} at {}", options.expected_host, policy::to_string(options.endpoint)));
  if (options.session.size() > kMaxSessionSize) {
    co_return connection->fail(policy::make_error(
        errc::invalid_argument, fmt::format("a session name of {} bytes is over the limit of {}",
                                            options.session.size(), kMaxSessionSize)));
  }
  tcp::socket& socket = connection->stream.socket();
  Result<void> ready = prepare_socket(socket, options);
  if (!ready) co_return connection->fail(ready.error());
  {
    Deadline deadline(connection, options.timeouts.connect, "no connection");
    auto [error] =
        co_await socket.async_connect(options.endpoint, asio::as_tuple(asio::use_awaitable));
    if (error == asio::error::operation_aborted) {
      co_return connection->fail(policy::make_error(errc::operation_canceled, "cancelled"));
    }
    if (error) co_return connection->fail({error, "cannot connect: " + error.message()});
  }
  co_return co_await establish_client(std::move(connection), std::move(tls), std::move(options),
                                      std::move(check));
}

}  // namespace homeport::overlay
