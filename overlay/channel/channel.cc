#include "overlay/channel/channel.h"

#include "overlay/channel/connection.h"

#include <google/protobuf/message_lite.h>

namespace homeport::overlay {

namespace asio = boost::asio;
using policy::Result;

namespace {

asio::awaitable<Result<void>> send_frame(std::shared_ptr<Connection> connection,
                                         Result<std::string> frame,
                                         std::span<const std::byte> payload) {
  if (!frame) co_return policy::with_context(connection->peer, frame.error());
  co_return co_await connection->send(std::move(*frame), payload);
}

}  // namespace

Channel::Channel(std::shared_ptr<Connection> connection) : connection_(std::move(connection)) {}

Channel& Channel::operator=(Channel&& other) noexcept {
  if (this != &other) {
    close();
    connection_ = std::move(other.connection_);
  }
  return *this;
}

Channel::~Channel() {
  close();
}

const std::string& Channel::peer() const {
  return connection_->peer;
}
const std::string& Channel::session() const {
  return connection_->session;
}
bool Channel::is_open() const {
  return connection_ && !connection_->failure;
}
std::uint32_t Channel::protocol_version() const {
  return connection_->protocol_version;
}

std::uint64_t Channel::bytes_sent() const {
  return connection_->bytes_sent;
}

Result<TransportFigures> Channel::transport() const {
  if (connection_->failure) return *connection_->failure;
  return transport_figures(connection_->stream.socket().native_handle());
}

Result<void> Channel::keep_queues_short(bool wanted) {
  if (connection_->failure) return *connection_->failure;
  const int socket = connection_->stream.socket().native_handle();
  std::string& own = connection_->congestion_control;
  if (own.empty()) {
    if (!wanted) return {};
    auto name = congestion_control(socket);
    if (!name) return name.error();
    own = std::move(*name);
  }
  return use_congestion_control(socket, wanted ? kShortQueues : own);
}

// Not a coroutine itself, so that the header is encoded and the connection kept at the call, not
// at the first resumption.
asio::awaitable<Result<void>> Channel::send(const google::protobuf::MessageLite& header,
                                            std::span<const std::byte> payload) {
  return send_frame(connection_, encode_frame(header, payload.size()), payload);
}

asio::awaitable<Result<void>> Channel::receive_into(std::shared_ptr<Connection> connection,
                                                    google::protobuf::MessageLite& header,
                                                    std::vector<std::byte>* payload) {
  FrameLimits limits;
  if (payload == nullptr) limits.payload = 0;
  co_return co_await connection->receive(header, payload, limits);
}

void Channel::close() {
  if (!connection_ || connection_->failure) return;
  connection_->fail(policy::make_error(boost::system::errc::operation_canceled,
                                       "the channel was closed on this side"));
}

}  // namespace homeport::overlay
