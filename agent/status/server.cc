#include "agent/status/server.h"

#include "agent/status/endpoint.h"
#include "agent/status/reply.h"

#include <fmt/format.h>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/basic_socket_acceptor.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/basic_stream.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/write.hpp>

#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <optional>
#include <set>
#include <utility>

namespace homeport::agent {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using boost::system::error_code;
using boost::system::errc::errc_t;
using policy::Result;
using Protocol = asio::generic::stream_protocol;
using Acceptor = asio::basic_socket_acceptor<Protocol>;
using Stream = beast::basic_stream<Protocol>;

constexpr std::size_t kHeaderLimit = 8 * 1024;
/// Connections over the limit that are being told so at the same time; more are just closed.
constexpr std::size_t kRefusalsMax = 16;
/// How much, and for how long, input is thrown away after the last answer, so that closing does
/// not reset the connection before the peer has read that answer.
constexpr std::size_t kDrainLimit = 256 * 1024;
constexpr std::chrono::seconds kDrainTimeout{1};
/// Pause after a failed accept (no file descriptors left, for instance).
constexpr std::chrono::milliseconds kAcceptRetry{200};

constexpr auto kAwait = asio::as_tuple(asio::use_awaitable);

struct Listener {
  Acceptor acceptor;
  std::string unix_path;  ///< Empty for TCP.
};

std::string path_of(const StatusEndpoint& endpoint) {
  return reinterpret_cast<const sockaddr_un*>(endpoint.data())->sun_path;
}

/// Makes way for a new socket at `path`: removes one that nobody listens on any more.
Result<void> remove_stale_socket(const std::string& path) {
  struct stat info {};
  if (::lstat(path.c_str(), &info) != 0) {
    if (errno == ENOENT) return {};
    return policy::errno_error(fmt::format("Cannot look at {}", path));
  }
  if (!S_ISSOCK(info.st_mode)) {
    return policy::make_error(
        errc_t::file_exists,
        fmt::format("{} exists and is not a socket; remove it or choose another path.", path));
  }
  asio::io_context context;
  asio::local::stream_protocol::socket probe(context);
  error_code ec;
  probe.connect(asio::local::stream_protocol::endpoint(path), ec);
  if (!ec) {
    return policy::make_error(
        errc_t::address_in_use,
        fmt::format("Another program serves the status on {}; stop it or choose another path.",
                    path));
  }
  if (::unlink(path.c_str()) != 0) {
    return policy::errno_error(fmt::format("Cannot remove the old socket {}", path));
  }
  return {};
}

Result<Listener> open_listener(const asio::any_io_executor& executor, const std::string& text) {
  auto endpoint = parse_status_endpoint(text);
  if (!endpoint) return endpoint.error();
  Listener listener{Acceptor(executor), ""};
  bool is_unix = endpoint->protocol().family() == AF_UNIX;
  if (is_unix) {
    auto removed = remove_stale_socket(path_of(*endpoint));
    if (!removed) return removed.error();
  }
  error_code ec;
  listener.acceptor.open(endpoint->protocol(), ec);
  if (!ec && !is_unix) listener.acceptor.set_option(asio::socket_base::reuse_address(true), ec);
  if (!ec) listener.acceptor.bind(*endpoint, ec);
  if (!ec && is_unix) {
    listener.unix_path = path_of(*endpoint);
    if (::chmod(listener.unix_path.c_str(), 0660) != 0)
      ec.assign(errno, boost::system::system_category());
  }
  if (!ec) listener.acceptor.listen(asio::socket_base::max_listen_connections, ec);
  if (ec) {
    return policy::Error{
        ec, fmt::format("Cannot listen for status requests on {}: {}; choose another address.",
                        text, ec.message())};
  }
  return listener;
}

/// One of a limited number of places, taken for as long as it lives. Keeps the counter's owner
/// alive itself: the parameters of a coroutine are destroyed in no order to rely on.
class Place {
 public:
  explicit Place(std::shared_ptr<std::size_t> taken) : taken_(std::move(taken)) { ++*taken_; }
  Place(Place&& other) noexcept = default;
  Place& operator=(Place&&) = delete;
  ~Place() {
    if (taken_) --*taken_;
  }

 private:
  std::shared_ptr<std::size_t> taken_;
};

/// Ends a connection whose last answer has been written.
asio::awaitable<void> close_gently(Stream& stream) {
  error_code ignored;
  stream.socket().shutdown(asio::socket_base::shutdown_send, ignored);
  stream.expires_after(kDrainTimeout);
  std::array<char, 4096> discarded;
  std::size_t total = 0;
  while (total < kDrainLimit) {
    auto [ec, count] = co_await stream.async_read_some(asio::buffer(discarded), kAwait);
    if (ec) break;
    total += count;
  }
}

/// The answer to a request that could not be read; nullopt when the peer has just gone.
std::optional<StatusResponse> answer_to_bad_input(error_code ec) {
  if (ec == http::error::header_limit || ec == http::error::buffer_overflow) {
    return closing_problem(http::status::request_header_fields_too_large,
                           "The request header is larger than 8 KiB.");
  }
  if (ec == http::error::body_limit) {
    return closing_problem(http::status::payload_too_large, "A request must not have a body.");
  }
  bool malformed = ec.category() == http::make_error_code(http::error::bad_method).category();
  if (malformed && ec != http::error::end_of_stream && ec != http::error::partial_message) {
    return closing_problem(http::status::bad_request,
                           fmt::format("The request is not valid HTTP: {}.", ec.message()));
  }
  return std::nullopt;
}

}  // namespace

class StatusServer::Impl : public std::enable_shared_from_this<Impl> {
 public:
  Impl(StatusServerOptions options, Provider provider)
      : options_(std::move(options)), provider_(std::move(provider)) {}

  Result<void> listen(const asio::any_io_executor& executor) {
    for (const std::string& text : options_.listen) {
      auto listener = open_listener(executor, text);
      if (!listener) {
        stop();
        return listener.error();
      }
      listeners_.push_back(std::move(*listener));
    }
    return {};
  }

  void serve() {
    for (Listener& listener : listeners_) {
      asio::co_spawn(listener.acceptor.get_executor(), accept_all(shared_from_this(), listener),
                     asio::detached);
    }
  }

  void stop() {
    stopped_ = true;
    error_code ignored;
    for (Listener& listener : listeners_) {
      if (!listener.acceptor.is_open()) continue;
      listener.acceptor.close(ignored);
      if (!listener.unix_path.empty()) ::unlink(listener.unix_path.c_str());
    }
    for (Stream* stream : streams_) stream->close();
  }

  std::vector<std::uint16_t> ports() const {
    std::vector<std::uint16_t> ports;
    for (const Listener& listener : listeners_) {
      error_code ec;
      StatusEndpoint bound = listener.acceptor.local_endpoint(ec);
      if (ec || !listener.unix_path.empty()) continue;
      asio::ip::tcp::endpoint endpoint;
      std::memcpy(endpoint.data(), bound.data(), bound.size());
      ports.push_back(endpoint.port());
    }
    return ports;
  }

 private:
  /// Puts a stream among those that stop() closes, for as long as its coroutine lives.
  class Registration {
   public:
    Registration(Impl& impl, Stream& stream) : impl_(impl), stream_(&stream) {
      impl_.streams_.insert(stream_);
    }
    ~Registration() { impl_.streams_.erase(stream_); }
    Registration(const Registration&) = delete;
    Registration& operator=(const Registration&) = delete;

   private:
    Impl& impl_;
    Stream* stream_;
  };

  // The coroutines are static and take the shared pointer by value: it lives in their frame.

  static asio::awaitable<void> accept_all(std::shared_ptr<Impl> self, Listener& listener) {
    bool check_host = listener.unix_path.empty();
    auto executor = listener.acceptor.get_executor();
    while (!self->stopped_) {
      Protocol::socket socket(executor);
      auto [ec] = co_await listener.acceptor.async_accept(socket, kAwait);
      if (self->stopped_) co_return;
      if (ec) {
        asio::steady_timer pause(executor, kAcceptRetry);
        co_await pause.async_wait(kAwait);
        continue;
      }
      if (self->served_ < self->options_.connections_max) {
        asio::co_spawn(
            executor,
            serve_connection(self, Place({self, &self->served_}), std::move(socket), check_host),
            asio::detached);
      } else if (self->refused_ < kRefusalsMax) {
        asio::co_spawn(executor,
                       refuse_connection(self, Place({self, &self->refused_}), std::move(socket)),
                       asio::detached);
      }
    }
  }

  static asio::awaitable<void> serve_connection(std::shared_ptr<Impl> self, Place /*taken*/,
                                                Protocol::socket socket, bool check_host) {
    Stream stream(std::move(socket));
    Registration registration(*self, stream);
    beast::flat_buffer buffer(2 * kHeaderLimit);
    while (!self->stopped_) {
      if (buffer.size() == 0) {
        stream.expires_after(self->options_.idle_timeout);
        auto [ec, count] = co_await stream.async_read_some(buffer.prepare(1024), kAwait);
        if (ec) co_return;
        buffer.commit(count);
      }
      http::request_parser<http::empty_body> parser;
      parser.header_limit(kHeaderLimit);
      parser.body_limit(std::uint64_t{0});
      stream.expires_after(self->options_.read_timeout);
      auto [ec, count] = co_await http::async_read_header(stream, buffer, parser, kAwait);
      std::optional<StatusResponse> response = ec ? answer_to_bad_input(ec) : std::nullopt;
      if (!ec && parser.chunked()) response = answer_to_bad_input(http::error::body_limit);
      if (!response) {
        if (ec) co_return;
        response = reply_to(parser.get(), check_host, self->provider_);
      }
      bool last = !response->keep_alive();
      stream.expires_after(self->options_.read_timeout);
      auto [write_ec, written] = co_await http::async_write(stream, *response, kAwait);
      if (write_ec) co_return;
      if (last) {
        co_await close_gently(stream);
        co_return;
      }
    }
  }

  static asio::awaitable<void> refuse_connection(std::shared_ptr<Impl> self, Place /*taken*/,
                                                 Protocol::socket socket) {
    Stream stream(std::move(socket));
    Registration registration(*self, stream);
    StatusResponse response =
        closing_problem(http::status::service_unavailable,
                        fmt::format("{} status connections are open, which is the limit; try "
                                    "again later.",
                                    self->options_.connections_max));
    stream.expires_after(self->options_.read_timeout);
    auto [ec, written] = co_await http::async_write(stream, response, kAwait);
    if (!ec) co_await close_gently(stream);
  }

  StatusServerOptions options_;
  Provider provider_;
  std::vector<Listener> listeners_;
  std::set<Stream*> streams_;  ///< Served and refused connections.
  std::size_t served_ = 0;
  std::size_t refused_ = 0;
  bool stopped_ = false;
};

StatusServer::StatusServer(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}

StatusServer::~StatusServer() {
  stop();
}

Result<std::unique_ptr<StatusServer>> StatusServer::start(asio::any_io_executor executor,
                                                          StatusServerOptions options,
                                                          Provider provider) {
  auto impl = std::make_shared<Impl>(std::move(options), std::move(provider));
  auto listening = impl->listen(executor);
  if (!listening) return listening.error();
  impl->serve();
  return std::unique_ptr<StatusServer>(new StatusServer(std::move(impl)));
}

void StatusServer::stop() {
  impl_->stop();
}

std::vector<std::uint16_t> StatusServer::ports() const {
  return impl_->ports();
}

}  // namespace homeport::agent
