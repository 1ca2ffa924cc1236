// What the status server makes of the bytes of a client: the head of a request as Beast reads it,
// and the answer to it.
#include "agent/status/reply.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/agent/status/fixed_model.h"

#include <boost/asio/buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/write.hpp>
#include <boost/json/parse.hpp>

#include <sstream>

namespace homeport::agent {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using fuzz::require;

constexpr std::uint32_t kHeaderLimit = 8192;  // bytes, as in the server

/// Whether what goes onto the wire is one answer, and the one that was meant.
void check(const StatusRequest& request, StatusResponse response) {
  std::ostringstream wire;
  wire << response;
  const std::string sent = std::move(wire).str();

  http::response_parser<http::string_body> parser;
  parser.skip(request.method() == http::verb::head);
  parser.eager(true);
  boost::system::error_code error;
  const std::size_t read = parser.put(asio::buffer(sent), error);
  require(!error && parser.is_done() && read == sent.size(), "an answer is one message");
  require(parser.get().result() == response.result(), "it has its status");
  require(parser.get()[http::field::server] == "homeport", "it has its fields");
  const std::string& body = parser.get().body();
  if (request.method() == http::verb::head) return require(body.empty(), "HEAD has no body");
  require(body == response.body(), "it has its body");
  if (!response[http::field::content_type].contains("json")) return;
  boost::json::parse(body, error);
  require(!error, "its JSON is JSON");
}

}  // namespace
}  // namespace homeport::agent

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace homeport::agent;
  http::request_parser<http::empty_body> parser;
  parser.header_limit(kHeaderLimit);
  parser.body_limit(std::uint64_t{0});
  boost::system::error_code error;
  parser.put(asio::buffer(data, size), error);
  if (error || !parser.is_header_done()) return 0;
  for (bool over_tcp : {true, false}) {
    auto reply =
        reply_to(parser.get(), over_tcp, [](const StatusWanted&) { return test::fixed_model(); });
    if (!reply.events && !reply.trace) check(parser.get(), std::move(reply.response));
  }
  return 0;
}
