#include "overlay/channel/channel.h"
#include "overlay/channel/connection.h"
#include "overlay/channel/establish.h"
#include "overlay/spawn.h"
#include "policy/address.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/ip/v6_only.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <sys/socket.h>
#include <unistd.h>

#include <fmt/format.h>

#include <map>

namespace homeport::overlay {

namespace asio = boost::asio;
namespace errc = boost::system::errc;
using asio::ip::tcp;
using policy::Error;
using policy::Result;

namespace {

// When the process is out of file descriptors, accepting fails at once, again and again.
constexpr std::chrono::milliseconds kAcceptRetry{100};

Result<tcp::acceptor> open_acceptor(const asio::any_io_executor& executor,
                                    const tcp::endpoint& endpoint) {
  auto failed = [&] {
    return policy::errno_error("cannot listen for channels on " + policy::to_string(endpoint));
  };
  int handle = ::socket(endpoint.protocol().family(), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
                        IPPROTO_TCP);
  if (handle < 0) return failed();
  tcp::acceptor acceptor(executor);
  acceptor.assign(endpoint.protocol(), handle);
  boost::system::error_code error;
  acceptor.set_option(tcp::acceptor::reuse_address(true), error);
  // An IPv6 wildcard must leave room for the IPv4 one beside it.
  if (!error && endpoint.address().is_v6()) acceptor.set_option(asio::ip::v6_only(true), error);
  if (!error) acceptor.bind(endpoint, error);
  if (!error) acceptor.listen(tcp::acceptor::max_listen_connections, error);
  if (error) {
    return Error{error, fmt::format("cannot listen for channels on {}: {}",
                                    policy::to_string(endpoint), error.message())};
  }
  return acceptor;
}

}  // namespace

struct ChannelServer::Impl {
  Impl(asio::any_io_executor on, TlsContext identity, ServerOptions with, PeerCheck may,
       Handler then)
      : executor(on),
        tls(std::move(identity)),
        options(std::move(with)),
        check(std::move(may)),
        handler(std::move(then)),
        room(on, asio::steady_timer::time_point::max()) {}

  void report(const Error& error) const {
    if (options.on_refused) options.on_refused(error);
  }

  // Static, with what keeps `self` alive among the arguments: they start only later.
  static asio::awaitable<void> accept_from(std::shared_ptr<Impl> self, tcp::acceptor& acceptor);
  static asio::awaitable<void> serve(std::shared_ptr<Impl> self,
                                     std::shared_ptr<Connection> connection);

  asio::any_io_executor executor;
  TlsContext tls;
  ServerOptions options;
  PeerCheck check;
  Handler handler;
  std::vector<tcp::acceptor> acceptors;
  std::map<Connection*, std::weak_ptr<Connection>> in_handshake;
  asio::steady_timer room;  // never expires: cancelled when a handshake ends or on stop()
  bool stopped = false;
};

asio::awaitable<void> ChannelServer::Impl::accept_from(std::shared_ptr<Impl> self,
                                                       tcp::acceptor& acceptor) {
  while (!self->stopped) {
    if (self->in_handshake.size() >= self->options.max_handshakes) {
      co_await self->room.async_wait(asio::as_tuple(asio::use_awaitable));
      continue;
    }
    auto [error] =
        co_await acceptor.async_wait(tcp::acceptor::wait_read, asio::as_tuple(asio::use_awaitable));
    if (self->stopped || error == asio::error::operation_aborted) co_return;
    // Another acceptor may have taken the last free place meanwhile.
    if (self->in_handshake.size() >= self->options.max_handshakes) continue;
    tcp::endpoint remote;
    socklen_t size = static_cast<socklen_t>(remote.capacity());
    int handle =
        ::accept4(acceptor.native_handle(), remote.data(), &size, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (handle >= 0) {
      remote.resize(size);
      tcp::socket socket(self->executor);
      boost::system::error_code unusable;
      socket.assign(remote.protocol(), handle, unusable);
      if (unusable) {
        ::close(handle);
        self->report({unusable, "cannot take up a connection: " + unusable.message()});
        continue;
      }
      auto connection = std::make_shared<Connection>(std::move(socket), policy::to_string(remote));
      self->in_handshake.emplace(connection.get(), connection);
      overlay::spawn_service(self->executor, serve(self, std::move(connection)));
    } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
      self->report(policy::errno_error("cannot accept a connection"));
      asio::steady_timer pause(self->executor, kAcceptRetry);
      co_await pause.async_wait(asio::as_tuple(asio::use_awaitable));
    }
    // Anything else (ECONNABORTED, EAGAIN, errors of the network under it) concerns that one
    // connection only: accept(2).
  }
}

asio::awaitable<void> ChannelServer::Impl::serve(std::shared_ptr<Impl> self,
                                                 std::shared_ptr<Connection> connection) {
  tcp::socket& socket = connection->stream.socket();
  Result<void> ready = set_tcp_options(socket, self->options.timeouts.dead_peer);
  if (ready && self->options.purpose == Purpose::lane) {
    boost::system::error_code gone;
    const bool ipv6 = socket.local_endpoint(gone).address().is_v6();
    ready = mark_as_bulk(socket.native_handle(), ipv6);
  }
  Result<Channel> channel(ready ? Error{} : ready.error());
  if (ready) {
    channel = co_await establish_server(connection, self->tls, self->options.purpose,
                                        self->options.timeouts, self->check);
    if (channel) connection->watch_in(self->options.traffic);
  }
  self->in_handshake.erase(connection.get());
  connection.reset();
  self->room.cancel();
  if (self->stopped) co_return;
  if (!channel) {
    self->report(channel.error());
    co_return;
  }
  std::string peer = channel->peer();
  try {
    co_await self->handler(std::move(*channel));
  } catch (const std::exception& error) {
    self->report(policy::make_error(
        errc::state_not_recoverable,
        fmt::format("{}: the channel's handler failed: {}", peer, error.what())));
  }
}

ChannelServer::ChannelServer(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}

ChannelServer::~ChannelServer() {
  stop();
}

Result<std::unique_ptr<ChannelServer>> ChannelServer::listen(asio::any_io_executor executor,
                                                             TlsContext tls, ServerOptions options,
                                                             PeerCheck check, Handler handler) {
  std::vector<tcp::acceptor> acceptors;
  for (const tcp::endpoint& endpoint : options.listen) {
    auto acceptor = open_acceptor(executor, endpoint);
    if (!acceptor) return acceptor.error();
    acceptors.push_back(std::move(*acceptor));
  }
  if (acceptors.empty()) {
    return policy::make_error(errc::invalid_argument, "no address to listen for channels on");
  }
  auto impl = std::make_shared<Impl>(executor, std::move(tls), std::move(options), std::move(check),
                                     std::move(handler));
  impl->acceptors = std::move(acceptors);
  for (tcp::acceptor& acceptor : impl->acceptors) {
    overlay::spawn(executor, Impl::accept_from(impl, acceptor));
  }
  return std::unique_ptr<ChannelServer>(new ChannelServer(std::move(impl)));
}

std::vector<tcp::endpoint> ChannelServer::endpoints() const {
  std::vector<tcp::endpoint> result;
  for (const tcp::acceptor& acceptor : impl_->acceptors) {
    boost::system::error_code ignored;
    result.push_back(acceptor.local_endpoint(ignored));
  }
  return result;
}

std::uint16_t ChannelServer::port() const {
  return endpoints().front().port();
}

void ChannelServer::stop() {
  if (std::exchange(impl_->stopped, true)) return;
  for (tcp::acceptor& acceptor : impl_->acceptors) {
    boost::system::error_code ignored;
    acceptor.close(ignored);
  }
  auto pending = std::exchange(impl_->in_handshake, {});
  for (auto& [key, weak] : pending) {
    if (auto connection = weak.lock()) {
      connection->fail(policy::make_error(errc::operation_canceled, "this host stops listening"));
    }
  }
  impl_->room.cancel();
}

}  // namespace homeport::overlay
