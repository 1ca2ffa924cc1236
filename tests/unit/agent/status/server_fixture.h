// A status server on a thread of its own, asked by blocking clients on the test's.
#pragma once

#include "agent/status/server.h"
#include "tests/unit/agent/status/fixed_model.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <boost/json.hpp>

#include <stdlib.h>

#include <atomic>
#include <filesystem>
#include <future>
#include <memory>
#include <string>
#include <thread>

namespace homeport::agent::test {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using asio::ip::tcp;
using Response = http::response<http::string_body>;

class ServerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char directory[] = "/tmp/homeport-status-XXXXXX";
    ASSERT_NE(mkdtemp(directory), nullptr);
    directory_ = directory;
    options_.listen = {"127.0.0.1:0", "unix:" + socket_path()};
  }

  void TearDown() override {
    if (server_) {
      asio::post(context_, [this] { server_.reset(); });
      work_.reset();
      thread_.join();
    }
    EXPECT_FALSE(std::filesystem::exists(socket_path()));
    std::filesystem::remove_all(directory_);
  }

  std::string socket_path() const { return directory_ + "/status.sock"; }

  policy::Result<void> start() {
    auto server = StatusServer::start(
        context_.get_executor(), options_,
        [this](const StatusWanted& wanted) {
          ++snapshots_;
          last_part_ = wanted.part;
          return model_;
        },
        tracing_);
    if (!server) return server.error();
    server_ = std::move(*server);
    port_ = server_->ports().empty() ? 0 : server_->ports().front();
    thread_ = std::thread([this] { context_.run(); });
    return {};
  }

  /// Calls `action` on the server's thread.
  void on_server(std::function<void()> action) {
    std::promise<void> done;
    asio::post(context_, [&] {
      action();
      done.set_value();
    });
    done.get_future().wait();
  }

  tcp::socket connect() {
    tcp::socket socket(client_);
    socket.connect({asio::ip::address_v4::loopback(), port_});
    return socket;
  }

  /// Sends `text` and returns the answer, which has no body when `method` is HEAD.
  template <class Socket>
  static Response exchange(Socket& socket, const std::string& text,
                           http::verb method = http::verb::get) {
    boost::system::error_code ignored;  // The server may answer and close before it has all.
    asio::write(socket, asio::buffer(text), ignored);
    boost::beast::flat_buffer buffer;
    http::response_parser<http::string_body> parser;
    parser.body_limit(boost::none);
    parser.skip(method == http::verb::head);
    http::read(socket, buffer, parser);
    return parser.release();
  }

  /// A request with further header `fields`, each with its "\r\n", on a connection of its own.
  Response ask(std::string_view target, http::verb method = http::verb::get,
               std::string_view fields = "") {
    tcp::socket socket = connect();
    return exchange(socket,
                    fmt::format("{} {} HTTP/1.1\r\nHost: 127.0.0.1\r\n{}\r\n",
                                std::string_view(http::to_string(method)), target, fields),
                    method);
  }

  /// True when the server has closed: the next read is the end (or a reset).
  template <class Socket>
  static bool closed(Socket& socket) {
    char byte;
    boost::system::error_code ec;
    asio::read(socket, asio::buffer(&byte, 1), ec);
    return ec == asio::error::eof || ec == asio::error::connection_reset;
  }

  static void expect_problem(const Response& response, http::status status) {
    EXPECT_EQ(response.result(), status);
    EXPECT_EQ(response[http::field::content_type], "application/problem+json");
    EXPECT_EQ(response.count(http::field::etag), 0u);
    boost::json::value problem = boost::json::parse(response.body());
    EXPECT_EQ(problem.at("status"), static_cast<int>(status));
    EXPECT_FALSE(problem.at("title").as_string().empty());
    EXPECT_FALSE(problem.at("detail").as_string().empty());
  }

  std::string directory_;
  StatusServerOptions options_;
  /// On the server's thread.
  StatusServer::Tracing tracing_ =
      [](auto) -> asio::awaitable<policy::Result<boost::json::object>> {
    co_return boost::json::object{};
  };
  StatusModel model_ = fixed_model();  ///< Once the server has started: on its thread only.
  std::atomic<int> snapshots_ = 0;
  std::atomic<StatusPart> last_part_ = StatusPart::all;
  asio::io_context context_{1};
  asio::executor_work_guard<asio::io_context::executor_type> work_{context_.get_executor()};
  asio::io_context client_;
  std::unique_ptr<StatusServer> server_;
  std::uint16_t port_ = 0;
  std::thread thread_;
};

/// A client of /v1/events.
class EventReader {
 public:
  /// Sends the request and reads the header of the answer.
  explicit EventReader(tcp::socket socket, std::string_view fields = "")
      : socket_(std::move(socket)) {
    const std::string request =
        fmt::format("GET /v1/events HTTP/1.1\r\nHost: localhost\r\n{}\r\n", fields);
    asio::write(socket_, asio::buffer(request));
    head_ = take("\r\n\r\n");
  }

  const std::string& head() const { return head_; }
  bool accepted() const { return head_.starts_with("HTTP/1.1 200 "); }
  /// The next event or comment with the empty line that ends it; empty when the stream has ended.
  std::string next() { return take("\n\n"); }
  tcp::socket& socket() { return socket_; }

 private:
  std::string take(std::string_view end) {
    boost::system::error_code ec;
    const std::size_t size = asio::read_until(socket_, asio::dynamic_buffer(input_), end, ec);
    std::string taken = input_.substr(0, size);
    input_.erase(0, size);
    return taken;
  }

  tcp::socket socket_;
  std::string input_;
  std::string head_;
};

}  // namespace homeport::agent::test
