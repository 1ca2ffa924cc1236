#include "overlay/channel/connection.h"

#include <boost/asio/buffer.hpp>
#include <boost/asio/error.hpp>

#include <google/protobuf/message_lite.h>

#include <fmt/format.h>

namespace homeport::overlay {

namespace asio = boost::asio;
namespace errc = boost::system::errc;
using policy::Error;
using policy::Result;

namespace {

/// Half a frame must never be followed by another: if the coroutine is thrown out of, or destroyed
/// in the middle, the connection is done for.
class WholeFrame {
 public:
  explicit WholeFrame(Connection& connection) : connection_(connection) {}
  ~WholeFrame() {
    if (!whole_) {
      connection_.fail(
          policy::make_error(errc::operation_canceled, "cancelled in the middle of a frame"));
    }
  }
  WholeFrame(const WholeFrame&) = delete;
  WholeFrame& operator=(const WholeFrame&) = delete;
  void done() { whole_ = true; }

 private:
  Connection& connection_;
  bool whole_ = false;
};

}  // namespace

void Connection::watch_in(const std::shared_ptr<LaneTraffic>& traffic) {
  if (traffic) watched = traffic->watch(stream.socket().native_handle());
}

Error Connection::fail(Error error) {
  if (!failure) {
    failure = policy::with_context(peer, std::move(error));
    watched.reset();
    stream.close();
  }
  return *failure;
}

asio::awaitable<Result<void>> Connection::send(std::string frame,
                                               std::span<const std::byte> payload) {
  if (failure) co_return *failure;
  WholeFrame frame_guard(*this);
  Result<void> sent = co_await stream.write(std::as_bytes(std::span(frame)));
  if (sent) sent = co_await stream.write(payload);
  if (!sent) co_return fail(sent.error());
  frame_guard.done();
  bytes_sent += frame.size() + payload.size();
  co_return sent;
}

asio::awaitable<Result<void>> Connection::receive(google::protobuf::MessageLite& header,
                                                  std::vector<std::byte>* payload,
                                                  FrameLimits limits) {
  if (failure) co_return *failure;
  WholeFrame frame_guard(*this);
  std::array<std::byte, kFramePrefixSize> bytes;
  Result<void> done = co_await stream.read(bytes);
  if (!done) co_return fail(done.error());
  Result<FramePrefix> prefix = parse_frame_prefix(bytes, limits);
  if (!prefix) co_return fail(prefix.error());

  header_.resize(prefix->header_size);
  done = co_await stream.read(header_);
  if (done && payload != nullptr) {
    payload->resize(prefix->payload_size);
    done = co_await stream.read(*payload);
  }
  if (!done) {
    Error error = done.error();
    if (error.code == asio::error::eof) error.code = errc::make_error_code(errc::connection_reset);
    co_return fail(std::move(error));
  }
  done = decode_header(header_, header);
  if (!done) co_return fail(done.error());
  frame_guard.done();
  co_return done;
}

Result<std::string> encode_frame(const google::protobuf::MessageLite& header,
                                 std::size_t payload_size) {
  std::size_t header_size = header.ByteSizeLong();
  if (header_size > kMaxFrameHeader || payload_size > kMaxFramePayload) {
    return policy::make_error(
        errc::message_size,
        fmt::format("a {} of {} bytes with {} bytes of payload is over the limits of a frame "
                    "({} and {})",
                    header.GetTypeName(), header_size, payload_size, kMaxFrameHeader,
                    kMaxFramePayload));
  }
  auto prefix = encode_frame_prefix(
      {static_cast<std::uint32_t>(header_size), static_cast<std::uint32_t>(payload_size)});
  std::string frame(reinterpret_cast<const char*>(prefix.data()), prefix.size());
  header.AppendToString(&frame);
  return frame;
}

Result<void> decode_header(std::span<const std::byte> bytes,
                           google::protobuf::MessageLite& header) {
  if (header.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return {};
  return policy::make_error(errc::bad_message,
                            fmt::format("its message is not a {}", header.GetTypeName()));
}

Deadline::Deadline(const std::shared_ptr<Connection>& connection, std::chrono::milliseconds limit,
                   std::string message)
    : armed_(std::make_shared<std::weak_ptr<Connection>>(connection)),
      timer_(connection->stream.socket().get_executor(), limit) {
  timer_.async_wait([armed = std::weak_ptr(armed_), limit,
                     message = std::move(message)](boost::system::error_code error) {
    auto in_scope = armed.lock();
    std::shared_ptr<Connection> connection = in_scope ? in_scope->lock() : nullptr;
    if (error || !connection) return;
    connection->fail(policy::make_error(errc::timed_out,
                                        fmt::format("{} within {} ms", message, limit.count())));
  });
}

}  // namespace homeport::overlay
