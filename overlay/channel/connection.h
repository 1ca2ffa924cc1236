// What is behind a Channel: the stream, who is at its other end, and the first error.
#pragma once

#include "overlay/channel/channel.h"
#include "overlay/channel/tls_stream.h"

#include <boost/asio/steady_timer.hpp>

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace homeport::overlay {

class Connection {
 public:
  /// `name`: the other end in error messages for as long as it has not proven who it is.
  Connection(boost::asio::ip::tcp::socket socket, std::string name)
      : stream(std::move(socket)), peer(std::move(name)) {}

  /// Has it watched, where there is somebody who does.
  void watch_in(const std::shared_ptr<LaneTraffic>& traffic);
  /// Closes the stream and remembers why; returns the first error, with the peer's name before it.
  policy::Error fail(policy::Error error);

  boost::asio::awaitable<policy::Result<void>> send(std::string frame,
                                                    std::span<const std::byte> payload);
  boost::asio::awaitable<policy::Result<void>> receive(google::protobuf::MessageLite& header,
                                                       std::vector<std::byte>* payload,
                                                       FrameLimits limits);

  TlsStream stream;
  std::string peer;
  std::string session;
  std::optional<policy::Error> failure;
  std::uint32_t protocol_version = 0;
  std::uint64_t bytes_sent = 0;
  std::string congestion_control;  ///< that it began with, once it was given another; or empty
  std::unique_ptr<LaneTraffic::Watched> watched;  ///< until the stream is closed; or nullptr

 private:
  std::vector<std::byte> header_;
};

/// Prefix and encoded header, ready to be written; message_size if over the limits.
policy::Result<std::string> encode_frame(const google::protobuf::MessageLite& header,
                                         std::size_t payload_size);

/// Reads what encode_frame() wrote after the prefix; bad_message if it is no message of that type.
policy::Result<void> decode_header(std::span<const std::byte> bytes,
                                   google::protobuf::MessageLite& header);

/// Fails the connection with timed_out if still in scope when `limit` has passed.
class Deadline {
 public:
  Deadline(const std::shared_ptr<Connection>& connection, std::chrono::milliseconds limit,
           std::string message);

 private:
  // The timer's handler may be on its way already when the deadline goes out of scope.
  std::shared_ptr<std::weak_ptr<Connection>> armed_;
  boost::asio::steady_timer timer_;
};

}  // namespace homeport::overlay
