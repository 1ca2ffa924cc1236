// Channels: framed protobuf messages with raw payload between two agents, over mutual TLS 1.3.
//
// Life of a channel:
//   TCP -> TLS handshake (certificates checked against the CA) -> PeerCheck (the host is in the
//   control database with this very certificate) -> Hello both ways -> frames both ways -> closed
//
// A channel lives on one executor that is not run by two threads at once (an io_context with one
// thread, or a strand) and is used only there. At most one send() and one receive() may be under
// way at a time; the two may overlap.
//
// Errors. The first error closes the channel, and every later operation returns that same error;
// the sentence names the peer. Codes to branch on:
//   boost::asio::error::eof        the peer closed the channel in good order, between two frames
//   errc::operation_canceled       close() was called here, or the awaiting coroutine was cancelled
//   errc::timed_out                connecting took too long, or the peer is dead (Timeouts)
//   errc::permission_denied        a certificate, the PeerCheck or the other side said no
//   errc::protocol_not_supported   no version of the protocol that both speak (protocol.h)
//   errc::bad_message, message_size   the peer sent what is not allowed
//   errc::connection_reset         the stream broke off
//   others                         as reported by the system
#pragma once

#include "overlay/channel/frame.h"
#include "overlay/channel/lane_traffic.h"
#include "overlay/channel/tls.h"
#include "overlay/channel/transport.h"
#include "policy/address.h"
#include "policy/error.h"

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/tcp.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace google::protobuf {
class MessageLite;
}

namespace homeport::overlay {

inline constexpr std::size_t kMaxSessionSize = 256;  ///< bytes

/// Decides whether a host with this certificate may have a channel: it may if the control database
/// has a host of that name with that fingerprint (pki.h). The error's sentence is told to the peer.
/// Called on the channel's executor; servers on several threads need one that may be called so.
using PeerCheck = std::function<policy::Result<void>(const std::string& host,
                                                     const std::string& certificate_sha256)>;

enum class Purpose {
  control,  ///< messages between two agents
  lane,     ///< bulk data of one move; both ends mark its packets as bulk (transport.h)
};

struct Timeouts {
  std::chrono::milliseconds connect{5000};    ///< TCP connection
  std::chrono::milliseconds handshake{5000};  ///< TLS, PeerCheck and Hello together
  /// How long a peer may leave us without an answer from its TCP: unanswered keepalives,
  /// unacknowledged data (TCP_USER_TIMEOUT, RFC 5482), and also a receive window that stays shut:
  /// a peer that reads nothing for this long while we send counts as dead. At least 1 s;
  /// found within about a second more.
  std::chrono::milliseconds dead_peer{5000};
};

class Connection;  // what is behind a Channel: connection.h

class Channel {
 public:
  Channel() = default;  ///< no channel: only to be assigned to
  Channel(Channel&&) noexcept = default;
  Channel& operator=(Channel&& other) noexcept;
  ~Channel();  ///< closes; operations under way end with operation_canceled

  const std::string& peer() const;     ///< host name proven by the peer's certificate
  const std::string& session() const;  ///< as chosen by the connecting side, e.g. a move's id
  bool is_open() const;

  /// Sends one frame; done when the kernel has taken all of it. `header` is encoded at the call;
  /// `payload` is not copied and must stay as it is until then. message_size if over the limits
  /// of frame.h (the channel stays open in this one case).
  boost::asio::awaitable<policy::Result<void>> send(const google::protobuf::MessageLite& header,
                                                    std::span<const std::byte> payload = {});

  /// Receives one frame. `payload` is resized to what came (its capacity is used again) and must
  /// live until then; a frame with payload is refused where `payload` is null.
  template <class Message>
  boost::asio::awaitable<policy::Result<Message>> receive(
      std::vector<std::byte>* payload = nullptr) {
    return receive_message<Message>(connection_, payload);
  }

  /// Ends operations under way with operation_canceled and tells the peer, without waiting. What
  /// the peer has sent and was not received here is lost, and with it perhaps what we sent last
  /// (TCP answers with a reset): a conversation that matters ends with an acknowledgement.
  void close();

  std::uint32_t protocol_version() const;  ///< that both ends have agreed on
  std::uint64_t bytes_sent() const;        ///< frames, before encryption
  /// Of its TCP connection; an error once it is closed.
  policy::Result<TransportFigures> transport() const;
  /// Whether what is sent gives way to others by keeping queues on its way short (kShortQueues), or
  /// has the congestion control that the connection began with. May be called at any time. Errors:
  /// those of use_congestion_control(), and that it is closed.
  policy::Result<void> keep_queues_short(bool wanted);

  /// For connect() and ChannelServer: a connection after its Hello.
  explicit Channel(std::shared_ptr<Connection> connection);

 private:
  static boost::asio::awaitable<policy::Result<void>> receive_into(
      std::shared_ptr<Connection> connection, google::protobuf::MessageLite& header,
      std::vector<std::byte>* payload);

  template <class Message>
  static boost::asio::awaitable<policy::Result<Message>> receive_message(
      std::shared_ptr<Connection> connection, std::vector<std::byte>* payload) {
    Message message;
    policy::Result<void> done = co_await receive_into(std::move(connection), message, payload);
    if (!done) co_return done.error();
    co_return message;
  }

  std::shared_ptr<Connection> connection_;
};

struct ConnectOptions {
  /// Not an aggregate on purpose: GCC 12 destroys a braced one inside a co_await expression twice.
  ConnectOptions() = default;

  boost::asio::ip::tcp::endpoint endpoint;
  std::optional<policy::IpAddress> local;  ///< the address to send from; none: the kernel's choice
  std::string expected_host;               ///< whoever answers must prove to be this host
  Purpose purpose = Purpose::control;
  std::string session;  ///< opaque to the channel, at most kMaxSessionSize bytes
  Timeouts timeouts;
  std::shared_ptr<LaneTraffic> traffic;  ///< watches it once it is a channel; or nullptr
};

/// Connects and takes the channel through its Hello, on the awaiting coroutine's executor.
boost::asio::awaitable<policy::Result<Channel>> connect(TlsContext tls, ConnectOptions options,
                                                        PeerCheck check);

struct ServerOptions {
  std::vector<boost::asio::ip::tcp::endpoint> listen;  ///< port 0: the kernel chooses
  Purpose purpose = Purpose::control;                  ///< others are refused (bad_message)
  Timeouts timeouts{};
  /// Connections that are not yet channels, at most. More wait in the kernel's queue.
  std::size_t max_handshakes = 32;
  /// Told of each connection that did not become a channel, and of failures to accept; for the log.
  std::function<void(const policy::Error&)> on_refused{};
  std::shared_ptr<LaneTraffic> traffic{};  ///< as ConnectOptions::traffic
};

/// Accepts channels on one executor and hands each to the handler once its Hello is done.
class ChannelServer {
 public:
  /// Runs as a coroutine of its own on the server's executor. A handler that throws loses its
  /// channel and is reported to on_refused.
  using Handler = std::function<boost::asio::awaitable<void>(Channel)>;

  /// Errors name the endpoint that could not be bound.
  static policy::Result<std::unique_ptr<ChannelServer>> listen(
      boost::asio::any_io_executor executor, TlsContext tls, ServerOptions options, PeerCheck check,
      Handler handler);
  ~ChannelServer();  ///< stops

  /// Where it listens, in the order of ServerOptions::listen, with the ports chosen.
  std::vector<boost::asio::ip::tcp::endpoint> endpoints() const;
  std::uint16_t port() const;  ///< of the first endpoint

  /// Accepts no more and drops connections in handshake. Channels handed out are the handlers'.
  void stop();

 private:
  struct Impl;
  explicit ChannelServer(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

}  // namespace homeport::overlay
