#include "agent/cli/status_client.h"

#include "agent/status/endpoint.h"
#include "policy/version.h"

#include <fmt/format.h>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/basic_stream.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <boost/json/parse.hpp>

#include <array>
#include <csignal>
#include <optional>
#include <tuple>
#include <utility>

namespace homeport::agent {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
namespace json = boost::json;
using boost::system::error_code;
using policy::Result;

constexpr std::uint64_t kAnswerLimit = 16 * 1024 * 1024;
/// The server fills every silence after StatusServerOptions::heartbeat.
constexpr std::chrono::seconds kLongestSilence{60};
constexpr auto kAwait = asio::as_tuple(asio::use_awaitable);

using Response = http::response<http::string_body>;
using Stream = beast::basic_stream<asio::generic::stream_protocol>;

policy::Error no_answer(const std::string& text, error_code ec) {
  return {ec, fmt::format("The agent does not answer at {}: {}; check that homeportd runs and that "
                          "this is its status address (--agent).",
                          text, ec.message())};
}

/// Connects, and sends the request.
asio::awaitable<error_code> ask(Stream& stream, const StatusEndpoint& endpoint,
                                const std::string& target) {
  auto [connect_ec] = co_await stream.async_connect(endpoint, kAwait);
  if (connect_ec) co_return connect_ec;
  http::request<http::empty_body> request(http::verb::get, target, 11);
  request.set(http::field::host, "localhost");
  request.set(http::field::user_agent, "homeport/" + std::string(policy::kVersion));
  request.keep_alive(false);
  auto [write_ec, written] = co_await http::async_write(stream, request, kAwait);
  co_return write_ec;
}

asio::awaitable<Result<Response>> exchange(const std::string& text, StatusEndpoint endpoint,
                                           const std::string& target,
                                           std::chrono::milliseconds timeout) {
  Stream stream(co_await asio::this_coro::executor);
  stream.expires_after(timeout);
  const error_code ask_ec = co_await ask(stream, endpoint, target);
  if (ask_ec) co_return no_answer(text, ask_ec);
  beast::flat_buffer buffer;
  http::response_parser<http::string_body> parser;
  parser.body_limit(kAnswerLimit);
  auto [read_ec, read] = co_await http::async_read(stream, buffer, parser, kAwait);
  if (read_ec) co_return no_answer(text, read_ec);
  co_return parser.release();
}

/// What the server has said instead of what was asked for.
policy::Error refusal(const std::string& endpoint, const std::string& target, unsigned status,
                      const json::value& answer) {
  std::string detail = fmt::format("status {}", status);
  if (auto* problem = answer.if_object()) {
    if (auto* text = problem->if_contains("detail"); text && text->is_string()) {
      detail = std::string(text->get_string());
    }
  }
  return policy::make_error(boost::system::errc::protocol_error,
                            fmt::format("The agent at {} refuses {}: {}", endpoint,
                                        target.substr(0, target.find('?')), detail));
}

/// Reads a stream of events; see follow_status().
class Follower {
 public:
  Follower(const std::string& text, const std::string& target, Stream& stream,
           const std::function<Result<void>(const ServerEvent&)>& take)
      : text_(text), target_(target), stream_(stream), take_(take) {}

  asio::awaitable<Result<void>> follow(StatusEndpoint endpoint, std::chrono::milliseconds timeout) {
    stream_.expires_after(timeout);
    error_code ec = co_await ask(stream_, endpoint, target_);
    if (ec) co_return no_answer(text_, ec);
    http::response_parser<http::buffer_body> parser;
    parser.body_limit(boost::none);
    std::tie(ec, std::ignore) = co_await http::async_read_header(stream_, buffer_, parser, kAwait);
    if (ec) co_return no_answer(text_, ec);
    const bool refused = parser.get().result() != http::status::ok;
    std::string body;
    while (!parser.is_done()) {
      if (!refused) stream_.expires_after(kLongestSilence);
      std::array<char, 4096> piece;
      parser.get().body() = {piece.data(), piece.size(), true};
      std::tie(ec, std::ignore) = co_await http::async_read_some(stream_, buffer_, parser, kAwait);
      if (ec == http::error::need_buffer) ec = {};
      if (ec) co_return ended(ec);
      const std::string_view got(piece.data(), piece.size() - parser.get().body().size);
      if (refused) {
        body += got;
        if (body.size() > kAnswerLimit) break;
        continue;
      }
      Result<void> taken = take(got);
      if (!taken) co_return taken;
    }
    if (!refused) co_return ended(asio::error::eof);
    const json::value problem = json::parse(body, ec);
    co_return refusal(text_, target_, parser.get().result_int(), problem);
  }

 private:
  policy::Error ended(error_code ec) const {
    return {ec, fmt::format("The agent at {} has ended what it told: {}.", text_, ec.message())};
  }

  Result<void> take(std::string_view piece) {
    auto events = events_.take(piece);
    if (!events) return events.error();
    for (const ServerEvent& event : *events) {
      if (auto taken = take_(event); !taken) return taken;
    }
    return {};
  }

  const std::string& text_;
  const std::string& target_;
  Stream& stream_;
  const std::function<Result<void>(const ServerEvent&)>& take_;
  beast::flat_buffer buffer_;
  EventText events_;
};

}  // namespace

Result<json::value> get_status(const std::string& endpoint, const std::string& target,
                               std::chrono::milliseconds timeout) {
  auto address = parse_status_endpoint(endpoint);
  if (!address) return address.error();
  asio::io_context context{1};
  std::optional<Result<Response>> response;
  asio::co_spawn(context, exchange(endpoint, *address, target, timeout),
                 [&](std::exception_ptr exception, Result<Response> returned) {
                   if (exception) std::rethrow_exception(exception);
                   response = std::move(returned);
                 });
  context.run();
  if (!*response) return response->error();
  const Response& answer = **response;
  error_code ec;
  json::value value = json::parse(answer.body(), ec);
  if (ec) {
    return policy::Error{
        ec, fmt::format("What answers at {} is not the agent: {} is not JSON.", endpoint, target)};
  }
  if (answer.result() == http::status::ok) return value;
  return refusal(endpoint, target, answer.result_int(), value);
}

Result<void> follow_status(const std::string& endpoint, const std::string& target,
                           std::chrono::milliseconds timeout,
                           const std::function<Result<void>(const ServerEvent&)>& take) {
  auto address = parse_status_endpoint(endpoint);
  if (!address) return address.error();
  asio::io_context context{1};
  Stream stream(context);
  bool interrupted = false;
  asio::signal_set signals(context, SIGINT, SIGTERM);
  signals.async_wait([&](error_code ec, int) {
    if (ec) return;
    interrupted = true;
    stream.close();  // what is begun after it ends, too
  });
  Follower follower(endpoint, target, stream, take);
  std::optional<Result<void>> result;
  asio::co_spawn(context, follower.follow(*address, timeout),
                 [&](std::exception_ptr exception, Result<void> returned) {
                   if (exception) std::rethrow_exception(exception);
                   result = std::move(returned);
                   signals.cancel();
                 });
  context.run();
  return interrupted ? Result<void>() : *result;
}

}  // namespace homeport::agent
