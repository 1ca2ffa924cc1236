// TLS over one TCP socket, for coroutines.
//
// OpenSSL reads and writes the socket itself, through a BIO of our own, and we wait for readiness
// in between. Compared with boost::asio::ssl::stream this saves the copy through a BIO pair and
// lets one system call carry many records.
#pragma once

#include "overlay/channel/openssl.h"
#include "policy/error.h"

#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/tcp.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace homeport::overlay {

/// One read and one write may be under way at a time, together, on the socket's executor. Errors
/// are sentences about "it", the other side; after any error the stream is of no more use.
class TlsStream {
 public:
  /// `rekey_after`: bytes written after which new sending keys are made. AES-GCM is good for about
  /// 2^24.5 full records under one key (RFC 8446, section 5.5), that is 380 GiB.
  explicit TlsStream(boost::asio::ip::tcp::socket socket,
                     std::uint64_t rekey_after = std::uint64_t{64} << 30);
  ~TlsStream();
  TlsStream(const TlsStream&) = delete;
  TlsStream& operator=(const TlsStream&) = delete;

  enum class Role { client, server };
  boost::asio::awaitable<policy::Result<void>> handshake(SSL_CTX* context, Role role);

  /// Fills all of `bytes`. asio::error::eof if the other side closed before the first of them.
  boost::asio::awaitable<policy::Result<void>> read(std::span<std::byte> bytes);

  /// Done when the kernel has taken all of `bytes`.
  boost::asio::awaitable<policy::Result<void>> write(std::span<const std::byte> bytes);

  /// Ends our direction and throws away what still comes, until the other side closes too: lets it
  /// read our last words, which a reset would take away.
  boost::asio::awaitable<void> linger();

  /// Says good-bye without waiting and closes the socket; waits end with operation_canceled.
  void close();

  boost::asio::ip::tcp::socket& socket() { return socket_; }
  SSL* native() const { return ssl_.get(); }

 private:
  struct Transport;

  /// Calls `step` (an SSL_* function: > 0 is success) until it has succeeded, waiting for the
  /// socket in between.
  template <class Step>
  boost::asio::awaitable<policy::Result<void>> drive(Step step);
  policy::Error error_of(int ssl_error) const;

  boost::asio::ip::tcp::socket socket_;
  std::unique_ptr<Transport> transport_;
  openssl::SslPtr ssl_;
  std::uint64_t rekey_after_;
  std::uint64_t written_since_rekey_ = 0;
  std::size_t work_since_wait_ = 0;
};

}  // namespace homeport::overlay
