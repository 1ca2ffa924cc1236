#include "agent/status/server.h"

#include "agent/status/connection.h"
#include "agent/status/listener.h"
#include "overlay/spawn.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <set>
#include <utility>

namespace homeport::agent {
namespace {

namespace asio = boost::asio;
using policy::Result;
using Socket = asio::generic::stream_protocol::socket;

/// Connections over the limit that are being told so at the same time; more are just closed.
constexpr std::size_t kRefusalsMax = 16;
/// Pause after a failed accept (no file descriptors left, for instance).
constexpr std::chrono::milliseconds kAcceptRetry{200};

constexpr auto kAwait = asio::as_tuple(asio::use_awaitable);

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

}  // namespace

class StatusServer::Impl : public std::enable_shared_from_this<Impl> {
 public:
  Impl(const asio::any_io_executor& executor, const StatusServerOptions& options,
       const Provider& provider, Tracing tracing)
      : service_(std::make_shared<StatusService>(
            StatusService{options, provider, std::move(tracing),
                          std::make_shared<EventStreams>(executor, options, provider)})) {}

  Result<void> listen(const asio::any_io_executor& executor) {
    for (const std::string& address : service_->options.listen) {
      auto listener = StatusListener::open(executor, address);
      if (!listener) {
        stop();
        return listener.error();
      }
      listeners_.push_back(std::move(*listener));
    }
    return {};
  }

  void serve() {
    for (StatusListener& listener : listeners_) {
      overlay::spawn(listener.acceptor().get_executor(), accept_all(shared_from_this(), listener));
    }
  }

  void things_changed() { service_->events->things_changed(); }

  void stop() {
    service_->stopped = true;
    service_->events->stop();
    for (StatusListener& listener : listeners_) listener.close();
    for (StatusStream* stream : streams_) stream->close();
  }

  std::vector<std::uint16_t> ports() const {
    std::vector<std::uint16_t> ports;
    for (const StatusListener& listener : listeners_) {
      if (auto port = listener.port()) ports.push_back(*port);
    }
    return ports;
  }

 private:
  /// Puts a stream among those that stop() closes, for as long as its coroutine lives.
  class Registration {
   public:
    Registration(Impl& impl, StatusStream& stream) : impl_(impl), stream_(&stream) {
      impl_.streams_.insert(stream_);
    }
    ~Registration() { impl_.streams_.erase(stream_); }
    Registration(const Registration&) = delete;
    Registration& operator=(const Registration&) = delete;

   private:
    Impl& impl_;
    StatusStream* stream_;
  };

  // The coroutines are static and take the shared pointer by value: it lives in their frame.

  static asio::awaitable<void> accept_all(std::shared_ptr<Impl> self, StatusListener& listener) {
    auto executor = listener.acceptor().get_executor();
    while (!self->service_->stopped) {
      Socket socket(executor);
      auto [ec] = co_await listener.acceptor().async_accept(socket, kAwait);
      if (self->service_->stopped) co_return;
      if (ec) {
        asio::steady_timer pause(executor, kAcceptRetry);
        co_await pause.async_wait(kAwait);
        continue;
      }
      if (self->served_ < self->service_->options.connections_max) {
        overlay::spawn_service(executor, serve(self, Place({self, &self->served_}),
                                               std::move(socket), !listener.is_unix()));
      } else if (self->refused_ < kRefusalsMax) {
        overlay::spawn_service(executor,
                               refuse(self, Place({self, &self->refused_}), std::move(socket)));
      }
    }
  }

  static asio::awaitable<void> serve(std::shared_ptr<Impl> self, Place /*taken*/, Socket socket,
                                     bool check_host) {
    StatusStream stream(std::move(socket));
    Registration registration(*self, stream);
    co_await serve_connection(self->service_, stream, check_host);
  }

  static asio::awaitable<void> refuse(std::shared_ptr<Impl> self, Place /*taken*/, Socket socket) {
    StatusStream stream(std::move(socket));
    Registration registration(*self, stream);
    co_await refuse_connection(self->service_, stream);
  }

  std::shared_ptr<StatusService> service_;
  std::vector<StatusListener> listeners_;
  std::set<StatusStream*> streams_;  ///< Served and refused connections.
  std::size_t served_ = 0;
  std::size_t refused_ = 0;
};

StatusServer::StatusServer(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}

StatusServer::~StatusServer() {
  stop();
}

Result<std::unique_ptr<StatusServer>> StatusServer::start(asio::any_io_executor executor,
                                                          StatusServerOptions options,
                                                          Provider provider, Tracing tracing) {
  auto impl = std::make_shared<Impl>(executor, options, provider, std::move(tracing));
  auto listening = impl->listen(executor);
  if (!listening) return listening.error();
  impl->serve();
  return std::unique_ptr<StatusServer>(new StatusServer(std::move(impl)));
}

void StatusServer::things_changed() {
  impl_->things_changed();
}

void StatusServer::stop() {
  impl_->stop();
}

std::vector<std::uint16_t> StatusServer::ports() const {
  return impl_->ports();
}

}  // namespace homeport::agent
