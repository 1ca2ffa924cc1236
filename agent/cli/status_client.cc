#include "agent/cli/status_client.h"

#include "agent/status/endpoint.h"
#include "policy/version.h"

#include <fmt/format.h>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/basic_stream.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <boost/json/parse.hpp>

#include <optional>

namespace homeport::agent {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
namespace json = boost::json;
using boost::system::error_code;
using policy::Result;

constexpr std::uint64_t kAnswerLimit = 16 * 1024 * 1024;
constexpr auto kAwait = asio::as_tuple(asio::use_awaitable);

using Response = http::response<http::string_body>;

asio::awaitable<Result<Response>> exchange(const std::string& text, StatusEndpoint endpoint,
                                           const std::string& target,
                                           std::chrono::milliseconds timeout) {
  auto failed = [&](error_code ec) {
    return policy::Error{
        ec, fmt::format("The agent does not answer at {}: {}; check that homeportd runs and that "
                        "this is its status address (--agent).",
                        text, ec.message())};
  };
  beast::basic_stream<asio::generic::stream_protocol> stream(co_await asio::this_coro::executor);
  stream.expires_after(timeout);
  auto [connect_ec] = co_await stream.async_connect(endpoint, kAwait);
  if (connect_ec) co_return failed(connect_ec);
  http::request<http::empty_body> request(http::verb::get, target, 11);
  request.set(http::field::host, "localhost");
  request.set(http::field::user_agent, "homeport/" + std::string(policy::kVersion));
  request.keep_alive(false);
  auto [write_ec, written] = co_await http::async_write(stream, request, kAwait);
  if (write_ec) co_return failed(write_ec);
  beast::flat_buffer buffer;
  http::response_parser<http::string_body> parser;
  parser.body_limit(kAnswerLimit);
  auto [read_ec, read] = co_await http::async_read(stream, buffer, parser, kAwait);
  if (read_ec) co_return failed(read_ec);
  co_return parser.release();
}

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
  std::string detail = fmt::format("status {}", answer.result_int());
  if (auto* problem = value.if_object()) {
    if (auto* text = problem->if_contains("detail"); text && text->is_string()) {
      detail = std::string(text->get_string());
    }
  }
  return policy::make_error(boost::system::errc::protocol_error,
                            fmt::format("The agent at {} refuses {}: {}", endpoint,
                                        target.substr(0, target.find('?')), detail));
}

}  // namespace homeport::agent
