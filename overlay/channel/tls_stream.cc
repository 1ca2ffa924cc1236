#include "overlay/channel/tls_stream.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/sslerr.h>
#include <sys/socket.h>

#include <fmt/format.h>

#include <array>
#include <cerrno>

namespace homeport::overlay {
namespace {

namespace asio = boost::asio;
namespace errc = boost::system::errc;
using policy::Error;
using policy::Result;
using Socket = asio::ip::tcp::socket;

// A peer that sends without pause must not keep its thread's other coroutines from running.
constexpr std::size_t kYieldAfter = 1024 * 1024;  // bytes
constexpr std::size_t kCostOfCall = 4096;         // in the same coin

Error cancelled() {
  return policy::make_error(errc::operation_canceled, "the connection was closed on this side");
}

Error from_errno(int error) {
  if (error == ETIMEDOUT || error == EHOSTUNREACH || error == ENETUNREACH) {
    return policy::make_error(errc::timed_out,
                              "it no longer answers: the host or the way to it "
                              "is down");
  }
  if (error == ECONNRESET || error == EPIPE || error == 0) {
    return policy::make_error(errc::connection_reset, "the connection broke off");
  }
  return policy::errno_error("the connection failed", error);
}

}  // namespace

/// What the BIO works on. Unlike OpenSSL's own socket BIO it raises no SIGPIPE and keeps errno.
struct TlsStream::Transport {
  int fd = -1;
  int error = 0;
  bool at_end = false;

  static int write(BIO* bio, const char* data, int size) {
    auto* self = static_cast<Transport*>(BIO_get_data(bio));
    BIO_clear_retry_flags(bio);
    ssize_t done;
    do {
      done = ::send(self->fd, data, static_cast<std::size_t>(size), MSG_NOSIGNAL);
    } while (done < 0 && errno == EINTR);
    if (done >= 0) return static_cast<int>(done);
    if (errno == EAGAIN) {
      BIO_set_retry_write(bio);
    } else {
      self->error = errno;
    }
    return -1;
  }

  static int read(BIO* bio, char* data, int size) {
    auto* self = static_cast<Transport*>(BIO_get_data(bio));
    BIO_clear_retry_flags(bio);
    ssize_t done;
    do {
      done = ::recv(self->fd, data, static_cast<std::size_t>(size), 0);
    } while (done < 0 && errno == EINTR);
    if (done > 0) return static_cast<int>(done);
    if (done == 0) {
      self->at_end = true;
      return 0;
    }
    if (errno == EAGAIN) {
      BIO_set_retry_read(bio);
    } else {
      self->error = errno;
    }
    return -1;
  }

  static long control(BIO* bio, int command, long, void*) {
    if (command == BIO_CTRL_FLUSH) return 1;
    if (command == BIO_CTRL_EOF) return static_cast<Transport*>(BIO_get_data(bio))->at_end;
    return 0;
  }

  static const BIO_METHOD* method() {
    static const std::unique_ptr<BIO_METHOD, Deleter<BIO_meth_free>> made = [] {
      BIO_METHOD* method =
          BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "homeport socket");
      BIO_meth_set_write(method, &Transport::write);
      BIO_meth_set_read(method, &Transport::read);
      BIO_meth_set_ctrl(method, &Transport::control);
      return std::unique_ptr<BIO_METHOD, Deleter<BIO_meth_free>>(method);
    }();
    return made.get();
  }
};

TlsStream::TlsStream(Socket socket, std::uint64_t rekey_after)
    : socket_(std::move(socket)),
      transport_(std::make_unique<Transport>()),
      rekey_after_(rekey_after) {}

TlsStream::~TlsStream() {
  close();
}

template <class Step>
asio::awaitable<Result<void>> TlsStream::drive(Step step) {
  for (;;) {
    if (!socket_.is_open()) co_return cancelled();
    ERR_clear_error();
    int result = step();
    if (result > 0) break;
    int reason = SSL_get_error(ssl_.get(), result);
    if (reason != SSL_ERROR_WANT_READ && reason != SSL_ERROR_WANT_WRITE) {
      co_return error_of(reason);
    }
    auto wait = reason == SSL_ERROR_WANT_READ ? Socket::wait_read : Socket::wait_write;
    auto [error] = co_await socket_.async_wait(wait, asio::as_tuple(asio::use_awaitable));
    if (error == asio::error::operation_aborted) co_return cancelled();
    if (error) co_return from_errno(error.value());
    work_since_wait_ = 0;
  }
  work_since_wait_ += kCostOfCall;
  if (work_since_wait_ > kYieldAfter) {
    co_await asio::post(socket_.get_executor(), asio::use_awaitable);
    work_since_wait_ = 0;
  }
  co_return Result<void>();
}

asio::awaitable<Result<void>> TlsStream::handshake(SSL_CTX* context, Role role) {
  ssl_.reset(SSL_new(context));
  BIO* bio = BIO_new(Transport::method());
  if (!ssl_ || bio == nullptr) {
    co_return policy::make_error(errc::not_enough_memory, "cannot begin TLS");
  }
  boost::system::error_code error;
  socket_.native_non_blocking(true, error);
  if (error) co_return from_errno(error.value());
  transport_->fd = socket_.native_handle();
  BIO_set_data(bio, transport_.get());
  BIO_set_init(bio, 1);
  SSL_set_bio(ssl_.get(), bio, bio);
  role == Role::client ? SSL_set_connect_state(ssl_.get()) : SSL_set_accept_state(ssl_.get());
  co_return co_await drive([ssl = ssl_.get()] { return SSL_do_handshake(ssl); });
}

asio::awaitable<Result<void>> TlsStream::read(std::span<std::byte> bytes) {
  std::size_t size = bytes.size();
  if (size == 0) co_return Result<void>();
  Result<void> done = co_await drive([this, &bytes] {
    while (!bytes.empty()) {
      std::size_t count = 0;
      int result = SSL_read_ex(ssl_.get(), bytes.data(), bytes.size(), &count);
      if (result <= 0) return result;
      bytes = bytes.subspan(count);
      work_since_wait_ += count;
    }
    return 1;
  });
  // A close in the middle of what was asked for is not one in good order.
  if (!done && done.error().code == asio::error::eof && bytes.size() != size) {
    co_return from_errno(ECONNRESET);
  }
  co_return done;
}

asio::awaitable<Result<void>> TlsStream::write(std::span<const std::byte> bytes) {
  if (bytes.empty()) co_return Result<void>();
  if (written_since_rekey_ >= rekey_after_ && socket_.is_open()) {
    SSL_key_update(ssl_.get(), SSL_KEY_UPDATE_NOT_REQUESTED);
    written_since_rekey_ = 0;
  }
  written_since_rekey_ += bytes.size();
  co_return co_await drive([this, &bytes] {
    while (!bytes.empty()) {
      std::size_t count = 0;
      int result = SSL_write_ex(ssl_.get(), bytes.data(), bytes.size(), &count);
      if (result <= 0) return result;
      bytes = bytes.subspan(count);
      work_since_wait_ += count;
    }
    return 1;
  });
}

asio::awaitable<void> TlsStream::linger() {
  boost::system::error_code error;
  if (ssl_ && SSL_is_init_finished(ssl_.get())) SSL_shutdown(ssl_.get());
  socket_.shutdown(Socket::shutdown_send, error);
  std::array<std::byte, 4096> waste;
  while (!error && socket_.is_open()) {
    auto [read_error, count] =
        co_await socket_.async_read_some(asio::buffer(waste), asio::as_tuple(asio::use_awaitable));
    error = read_error;
  }
}

void TlsStream::close() {
  if (!socket_.is_open()) return;
  if (ssl_ && SSL_is_init_finished(ssl_.get())) {
    ERR_clear_error();
    SSL_shutdown(ssl_.get());
  }
  transport_->fd = -1;
  boost::system::error_code ignored;
  socket_.close(ignored);
}

Error TlsStream::error_of(int ssl_error) const {
  if (ssl_error == SSL_ERROR_ZERO_RETURN) return {asio::error::eof, "it closed the connection"};
  if (ssl_error == SSL_ERROR_SYSCALL) return from_errno(transport_->error);
  unsigned long code = ERR_peek_error();
  std::string text = openssl::last_error();
  switch (ERR_GET_REASON(code)) {
    case SSL_R_UNEXPECTED_EOF_WHILE_READING:
      return from_errno(ECONNRESET);
    case SSL_R_CERTIFICATE_VERIFY_FAILED:
      return policy::make_error(
          errc::permission_denied,
          fmt::format("its certificate is not accepted: {}",
                      X509_verify_cert_error_string(SSL_get_verify_result(ssl_.get()))));
    case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
      return policy::make_error(errc::permission_denied, "it shows no certificate");
    case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
    case SSL_R_TLSV1_ALERT_ACCESS_DENIED:
    case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED:
    case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN:
    case SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE:
      return policy::make_error(errc::permission_denied,
                                fmt::format("it does not accept our certificate: {}", text));
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_TLSV1_ALERT_PROTOCOL_VERSION:
      return policy::make_error(errc::protocol_error,
                                fmt::format("it does not speak TLS 1.3: {}", text));
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_HTTP_REQUEST:
      return policy::make_error(errc::protocol_error,
                                fmt::format("it does not speak TLS at all: {}", text));
    default:
      return policy::make_error(errc::protocol_error, fmt::format("TLS failed: {}", text));
  }
}

}  // namespace homeport::overlay
