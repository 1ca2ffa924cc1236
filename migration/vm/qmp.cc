#include "migration/vm/qmp.h"

#include "migration/vm/deadline.h"
#include "overlay/spawn.h"

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <cstring>
#include <deque>
#include <map>
#include <optional>
#include <vector>

namespace homeport::migration {

namespace asio = boost::asio;
namespace errc = boost::system::errc;
namespace json = boost::json;
using asio::local::stream_protocol;
using policy::Error;
using policy::make_error;
using policy::Result;

namespace {

constexpr auto kTuple = asio::as_tuple(asio::use_awaitable);

/// A value that somebody waits for: the timer is cancelled when it is there.
template <class T>
struct Awaited {
  explicit Awaited(const asio::any_io_executor& executor) : wake(executor) {}

  void set(Result<T> value) {
    if (!result) result = std::move(value);
    wake.cancel();
  }

  asio::awaitable<Result<T>> wait(std::chrono::milliseconds timeout, std::string what) {
    if (result) co_return *result;
    wake.expires_after(timeout);
    co_await wake.async_wait(kTuple);
    if (result) co_return *result;
    auto cancellation = co_await asio::this_coro::cancellation_state;
    if (cancellation.cancelled() != asio::cancellation_type::none) {
      co_return make_error(errc::operation_canceled, what + " was cancelled");
    }
    co_return make_error(errc::timed_out,
                         fmt::format("{} took longer than {} ms", what, timeout.count()));
  }

  asio::steady_timer wake;
  std::optional<Result<T>> result;
};

}  // namespace

struct Qmp::Expectation::Waiter {
  Waiter(const asio::any_io_executor& executor, std::string name, QmpEventPredicate wanted)
      : event(std::move(name)), predicate(std::move(wanted)), awaited(executor) {}

  std::string event;
  QmpEventPredicate predicate;
  Awaited<QmpEvent> awaited;
};

class Qmp::Connection : public std::enable_shared_from_this<Qmp::Connection> {
 public:
  Connection(const asio::any_io_executor& executor, overlay::UniqueFd socket,
             const QmpOptions& options)
      : options_(options), socket_(executor) {
    socket_.assign(stream_protocol(), socket.release());
    socket_.native_non_blocking(true);
  }

  /// Reads the greeting, agrees on capabilities, starts the reader.
  asio::awaitable<Result<void>> start() {
    auto self = shared_from_this();
    Result<QmpMessage> first = co_await read_message();
    if (!first) co_return first.error();
    if (!std::holds_alternative<QmpGreeting>(*first)) {
      co_return make_error(errc::bad_message, "the monitor did not begin with a QMP greeting");
    }
    overlay::spawn(socket_.get_executor(), read(self));
    auto agreed = co_await execute("qmp_capabilities", {}, -1);
    if (!agreed) co_return agreed.error();
    co_return Result<void>{};
  }

  asio::awaitable<Result<json::value>> execute(std::string command, json::object arguments,
                                               int fd) {
    auto self = shared_from_this();
    if (lost_) co_return *lost_;
    Outgoing outgoing;
    if (fd >= 0) {
      // A copy: the command may still wait to be written when the caller has gone.
      outgoing.fd.reset(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
      if (!outgoing.fd) co_return policy::errno_error("cannot pass a descriptor to QEMU");
    }
    std::uint64_t id = ++last_id_;
    outgoing.line = format_qmp_command(command, arguments, id);
    auto reply = std::make_shared<Awaited<json::value>>(socket_.get_executor());
    pending_[id] = reply;
    outgoing_.push_back(std::move(outgoing));
    if (!writing_) {
      writing_ = true;
      overlay::spawn(socket_.get_executor(), write(self));
    }
    auto result = co_await reply->wait(options_.command_timeout, "the QMP command " + command);
    pending_.erase(id);
    if (!result) co_return policy::with_context(command, result.error());
    co_return std::move(*result);
  }

  std::shared_ptr<Expectation::Waiter> expect(std::string event, QmpEventPredicate predicate) {
    auto waiter = std::make_shared<Expectation::Waiter>(socket_.get_executor(), std::move(event),
                                                        std::move(predicate));
    if (lost_) waiter->awaited.set(*lost_);
    std::erase_if(waiters_, [](const auto& known) { return known.expired(); });
    waiters_.push_back(waiter);
    return waiter;
  }

  void lose(Error error) {
    if (lost_) return;
    lost_ = std::move(error);
    boost::system::error_code ignored;
    socket_.close(ignored);
    for (auto& [id, reply] : pending_) reply->set(*lost_);
    for (auto& known : waiters_) {
      if (auto waiter = known.lock()) waiter->awaited.set(*lost_);
    }
  }

  bool lost() const { return lost_.has_value(); }
  int native_handle() { return socket_.native_handle(); }

 private:
  struct Outgoing {
    std::string line;
    overlay::UniqueFd fd;
  };

  asio::awaitable<Result<QmpMessage>> read_message() {
    while (true) {
      auto line = lines_.next();
      if (!line) co_return line.error();
      if (*line) co_return parse_qmp_message(**line);
      auto [failed, size] = co_await socket_.async_read_some(asio::buffer(received_), kTuple);
      if (failed) {
        co_return make_error(errc::connection_reset,
                             "QEMU closed its monitor (" + failed.message() + ")");
      }
      lines_.add({received_.data(), size});
    }
  }

  static asio::awaitable<void> read(std::shared_ptr<Connection> self) {
    while (!self->lost_) {
      auto message = co_await self->read_message();
      if (!message) {
        self->lose(message.error());
        co_return;
      }
      self->take(std::move(*message));
    }
  }

  void take(QmpMessage message) {
    if (auto* event = std::get_if<QmpEvent>(&message)) {
      deliver(*event);
    } else if (auto* returned = std::get_if<QmpReturn>(&message)) {
      answer(returned->id, std::move(returned->value));
    } else if (auto* failure = std::get_if<QmpFailure>(&message)) {
      answer(failure->id, make_error(errc::protocol_error, failure->description));
    } else {
      lose(make_error(errc::bad_message, "the monitor sent a second greeting"));
    }
  }

  void answer(std::optional<std::uint64_t> id, Result<json::value> value) {
    // Only a command that QEMU could not read is answered without an id.
    if (!id || *id == 0 || *id > last_id_) {
      lose(make_error(errc::bad_message,
                      "the monitor answered a command that was not given" +
                          (value ? std::string() : ": " + value.error().message)));
      return;
    }
    auto found = pending_.find(*id);
    if (found != pending_.end()) found->second->set(std::move(value));
  }

  void deliver(const QmpEvent& event) {
    for (auto& known : std::vector(waiters_)) {
      auto waiter = known.lock();
      if (!waiter || waiter->awaited.result || waiter->event != event.name) continue;
      if (waiter->predicate && !waiter->predicate(event.data)) continue;
      waiter->awaited.set(event);
    }
  }

  static asio::awaitable<void> write(std::shared_ptr<Connection> self) {
    while (!self->outgoing_.empty() && !self->lost_) {
      Outgoing outgoing = std::move(self->outgoing_.front());
      self->outgoing_.pop_front();
      std::string_view rest = outgoing.line;
      while (!rest.empty() && !self->lost_) {
        ssize_t sent = send(self->socket_.native_handle(), rest, outgoing.fd.get());
        if (sent >= 0) {
          rest.remove_prefix(static_cast<std::size_t>(sent));
          outgoing.fd.reset();
        } else if (errno == EAGAIN) {
          co_await self->socket_.async_wait(stream_protocol::socket::wait_write, kTuple);
        } else if (errno != EINTR) {
          self->lose(make_error(errc::connection_reset, std::string("QEMU closed its monitor (") +
                                                            std::strerror(errno) + ")"));
        }
      }
    }
    self->writing_ = false;
  }

  /// One sendmsg(2); `fd` (not -1) goes with the first byte (unix(7), SCM_RIGHTS).
  static ssize_t send(int socket, std::string_view bytes, int fd) {
    iovec part{const_cast<char*>(bytes.data()), bytes.size()};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
    if (fd >= 0) {
      message.msg_control = control.data();
      message.msg_controllen = control.size();
      cmsghdr* header = CMSG_FIRSTHDR(&message);
      header->cmsg_level = SOL_SOCKET;
      header->cmsg_type = SCM_RIGHTS;
      header->cmsg_len = CMSG_LEN(sizeof(int));
      std::memcpy(CMSG_DATA(header), &fd, sizeof(int));
    }
    return ::sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
  }

  QmpOptions options_;
  stream_protocol::socket socket_;
  QmpLines lines_;
  std::array<char, 16'384> received_;
  std::uint64_t last_id_ = 0;
  std::map<std::uint64_t, std::shared_ptr<Awaited<json::value>>> pending_;
  std::vector<std::weak_ptr<Expectation::Waiter>> waiters_;
  std::deque<Outgoing> outgoing_;
  bool writing_ = false;
  std::optional<Error> lost_;
};

Qmp::Expectation::Expectation(std::shared_ptr<Waiter> waiter) : waiter_(std::move(waiter)) {}
Qmp::Expectation::Expectation(Expectation&&) noexcept = default;
Qmp::Expectation& Qmp::Expectation::operator=(Expectation&&) noexcept = default;
Qmp::Expectation::~Expectation() = default;

asio::awaitable<Result<QmpEvent>> Qmp::Expectation::wait(std::chrono::milliseconds timeout) {
  auto waiter = waiter_;
  co_return co_await waiter->awaited.wait(timeout, "waiting for the event " + waiter->event);
}

asio::awaitable<Result<Qmp>> Qmp::open(overlay::UniqueFd socket, QmpOptions options) {
  auto executor = co_await asio::this_coro::executor;
  auto connection = std::make_shared<Connection>(executor, std::move(socket), options);
  auto started = co_await with_deadline(
      connection->start(), options.connect_timeout,
      fmt::format("no QMP greeting within {} ms: QEMU hangs, or another client holds its monitor",
                  options.connect_timeout.count()));
  if (!started) {
    connection->lose(started.error());
    co_return started.error();
  }
  co_return Qmp(std::move(connection));
}

asio::awaitable<Result<Qmp>> Qmp::connect(std::filesystem::path path, QmpOptions options) {
  std::string context = "cannot connect to the monitor " + path.string();
  if (path.native().size() >= sizeof(sockaddr_un::sun_path)) {
    co_return make_error(errc::filename_too_long,
                         fmt::format("{}: a unix socket's path has at most {} bytes", context,
                                     sizeof(sockaddr_un::sun_path) - 1));
  }
  overlay::UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket) co_return policy::errno_error(context);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.c_str(), path.native().size());
  // Never blocks on a unix socket: it succeeds, or a full backlog gives EAGAIN.
  if (::connect(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) < 0) {
    if (errno == EAGAIN) {
      co_return make_error(errc::timed_out, context + ": other clients wait for it already");
    }
    co_return policy::errno_error(context);
  }
  auto opened = co_await open(std::move(socket), options);
  if (!opened) co_return policy::with_context(context, opened.error());
  co_return std::move(*opened);
}

Qmp::Qmp(std::shared_ptr<Connection> connection) : connection_(std::move(connection)) {}
Qmp::Qmp(Qmp&&) noexcept = default;

Qmp& Qmp::operator=(Qmp&& other) noexcept {
  if (this != &other) {
    if (connection_) close();
    connection_ = std::move(other.connection_);
  }
  return *this;
}

Qmp::~Qmp() {
  if (connection_) close();
}

asio::awaitable<Result<json::value>> Qmp::execute(std::string command, json::object arguments,
                                                  int fd) {
  auto connection = connection_;
  co_return co_await connection->execute(std::move(command), std::move(arguments), fd);
}

Qmp::Expectation Qmp::expect(std::string event, QmpEventPredicate predicate) {
  return Expectation(connection_->expect(std::move(event), std::move(predicate)));
}

bool Qmp::connected() const {
  return !connection_->lost();
}

void Qmp::close() {
  connection_->lose(make_error(errc::connection_reset, "the monitor's connection was closed"));
}

int Qmp::native_handle() const {
  return connection_->native_handle();
}

}  // namespace homeport::migration
