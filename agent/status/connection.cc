#include "agent/status/connection.h"

#include "agent/status/reply.h"

#include <fmt/format.h>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/write.hpp>

#include <array>
#include <optional>
#include <utility>

namespace homeport::agent {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using boost::system::error_code;

constexpr std::size_t kHeaderLimit = 8 * 1024;
/// How much, and for how long, input is thrown away after the last answer, so that closing does
/// not reset the connection before the peer has read that answer.
constexpr std::size_t kDrainLimit = 256 * 1024;
constexpr std::chrono::seconds kDrainTimeout{1};

constexpr auto kAwait = asio::as_tuple(asio::use_awaitable);

/// Ends a connection whose last answer has been written.
asio::awaitable<void> close_gently(StatusStream& stream) {
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
  const bool malformed = ec.category() == http::make_error_code(http::error::bad_method).category();
  if (malformed && ec != http::error::end_of_stream && ec != http::error::partial_message) {
    return closing_problem(http::status::bad_request,
                           fmt::format("The request is not valid HTTP: {}.", ec.message()));
  }
  return std::nullopt;
}

StatusReply too_many_streams(const StatusService& service) {
  return {closing_problem(http::status::service_unavailable,
                          fmt::format("{} event streams are open, which is the limit; try again "
                                      "later.",
                                      service.options.event_streams_max))};
}

}  // namespace

asio::awaitable<void> serve_connection(std::shared_ptr<StatusService> service, StatusStream& stream,
                                       bool check_host) {
  beast::flat_buffer buffer(2 * kHeaderLimit);
  while (!service->stopped) {
    if (buffer.size() == 0) {
      stream.expires_after(service->options.idle_timeout);
      auto [ec, count] = co_await stream.async_read_some(buffer.prepare(1024), kAwait);
      if (ec) co_return;
      buffer.commit(count);
    }
    http::request_parser<http::empty_body> parser;
    parser.header_limit(kHeaderLimit);
    parser.body_limit(std::uint64_t{0});
    stream.expires_after(service->options.read_timeout);
    auto [ec, count] = co_await http::async_read_header(stream, buffer, parser, kAwait);
    if (service->stopped) co_return;
    StatusReply reply;
    if (ec || parser.chunked()) {
      auto bad = answer_to_bad_input(ec ? ec : error_code(http::error::body_limit));
      if (!bad) co_return;
      reply.response = std::move(*bad);
    } else {
      reply = reply_to(parser.get(), check_host, service->provider);
      if (reply.events && service->events->full()) reply = too_many_streams(*service);
    }
    if (reply.trace) {
      // Other hosts are asked: how long that takes is limited there.
      auto traced = co_await service->tracing(std::move(*reply.trace));
      if (service->stopped) co_return;
      reply.response = traced_reply(parser.get(), traced);
    }
    if (reply.events) {
      std::string last_event_id(parser.get()["Last-Event-ID"]);
      co_await EventStreams::serve(service->events, stream, std::move(reply.response),
                                   std::move(last_event_id));
      co_return;
    }
    const bool last = !reply.response.keep_alive();
    stream.expires_after(service->options.read_timeout);
    auto [write_ec, written] = co_await http::async_write(stream, reply.response, kAwait);
    if (write_ec) co_return;
    if (last) {
      co_await close_gently(stream);
      co_return;
    }
  }
}

asio::awaitable<void> refuse_connection(std::shared_ptr<StatusService> service,
                                        StatusStream& stream) {
  StatusResponse response = closing_problem(
      http::status::service_unavailable,
      fmt::format("{} status connections are open, which is the limit; try again later.",
                  service->options.connections_max));
  stream.expires_after(service->options.read_timeout);
  auto [ec, written] = co_await http::async_write(stream, response, kAwait);
  if (!ec) co_await close_gently(stream);
}

}  // namespace homeport::agent
