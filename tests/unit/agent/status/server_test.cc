#include "agent/status/server.h"

#include "tests/unit/agent/status/fixed_model.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <boost/json.hpp>

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <future>
#include <thread>

namespace homeport::agent {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;
namespace json = boost::json;
using asio::ip::tcp;
using ::testing::HasSubstr;
using Response = http::response<http::string_body>;

/// A server on a thread of its own, asked by blocking clients on the test's.
class StatusServerTest : public ::testing::Test {
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
    auto server = StatusServer::start(context_.get_executor(), options_, [this] {
      ++snapshots_;
      return model_;
    });
    if (!server) return server.error();
    server_ = std::move(*server);
    port_ = server_->ports().empty() ? 0 : server_->ports().front();
    thread_ = std::thread([this] { context_.run(); });
    return {};
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
    parser.skip(method == http::verb::head);
    http::read(socket, buffer, parser);
    return parser.release();
  }

  Response ask(std::string_view target, http::verb method = http::verb::get) {
    tcp::socket socket = connect();
    return exchange(socket,
                    fmt::format("{} {} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
                                std::string_view(http::to_string(method)), target),
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
    json::value problem = json::parse(response.body());
    EXPECT_EQ(problem.at("status"), static_cast<int>(status));
    EXPECT_FALSE(problem.at("title").as_string().empty());
    EXPECT_FALSE(problem.at("detail").as_string().empty());
  }

  std::string directory_;
  StatusServerOptions options_;
  StatusModel model_ = test::fixed_model();
  std::atomic<int> snapshots_ = 0;
  asio::io_context context_{1};
  asio::executor_work_guard<asio::io_context::executor_type> work_{context_.get_executor()};
  asio::io_context client_;
  std::unique_ptr<StatusServer> server_;
  std::uint16_t port_ = 0;
  std::thread thread_;
};

TEST_F(StatusServerTest, AnswersEveryRoute) {
  ASSERT_TRUE(start());
  auto body = [&](const char* target) {
    Response response = ask(target);
    EXPECT_EQ(response.result(), http::status::ok) << target;
    EXPECT_EQ(response[http::field::server], "homeport");
    EXPECT_EQ(response[http::field::content_type], "application/json");
    return json::parse(response.body());
  };
  EXPECT_EQ(body("/healthz").at("alive"), true);
  EXPECT_EQ(snapshots_, 0) << "being alive needs no snapshot";
  EXPECT_EQ(body("/readyz").at("ready"), true);
  EXPECT_EQ(body("/v1/status").at("host"), "hostA");
  EXPECT_EQ(body("/v1/status?pretty=1").at("host"), "hostA");
  EXPECT_EQ(body("/v1/applications").at("applications").as_array().size(), 2u);
  EXPECT_EQ(body("/v1/applications/vm%31").at("name"), "vm1");
  EXPECT_EQ(body("/v1/tasks").at("tasks").as_array().size(), 1u);
  EXPECT_EQ(body("/v1/tasks/7f3f7a4e-1111-4222-8333-444455556666").at("kind"), "move");

  Response metrics = ask("/metrics");
  EXPECT_THAT(std::string(metrics[http::field::content_type]), HasSubstr("version=0.0.4"));
  EXPECT_THAT(metrics.body(), HasSubstr("\nhomeport_ready 1\n"));
}

TEST_F(StatusServerTest, HeadIsGetWithoutTheBody) {
  ASSERT_TRUE(start());
  Response head = ask("/v1/status", http::verb::head);
  EXPECT_EQ(head.result(), http::status::ok);
  EXPECT_EQ(head.body(), "");
  EXPECT_EQ(head[http::field::content_length], std::to_string(ask("/v1/status").body().size()));
}

TEST_F(StatusServerTest, NotReadyIs503WithTheReasons) {
  model_.not_ready = {"The control database is away.", "No datapath."};
  ASSERT_TRUE(start());
  Response response = ask("/readyz");
  expect_problem(response, http::status::service_unavailable);
  EXPECT_EQ(json::parse(response.body()).at("reasons").at(1), "No datapath.");
  EXPECT_EQ(ask("/healthz").result(), http::status::ok);
}

TEST_F(StatusServerTest, UnknownThingsAre404) {
  ASSERT_TRUE(start());
  for (const char* target : {"/", "/v1", "/v1/", "/v2/status", "/v1/status/", "/v1/tasks/none",
                             "/v1/applications/vm2", "/v1/applications/vm1/x", "/healthz/../x"}) {
    SCOPED_TRACE(target);
    expect_problem(ask(target), http::status::not_found);
  }
}

TEST_F(StatusServerTest, BadTargetsAndHostsAreRefused) {
  ASSERT_TRUE(start());
  auto ask_raw = [&](const char* head) {
    tcp::socket socket = connect();
    return exchange(socket, head);
  };
  expect_problem(ask_raw("GET /%zz HTTP/1.1\r\nHost: localhost\r\n\r\n"),
                 http::status::bad_request);
  expect_problem(ask_raw("GET /v1/status HTTP/1.1\r\n\r\n"), http::status::bad_request);
  expect_problem(ask_raw("nonsense\r\n\r\n"), http::status::bad_request);
  expect_problem(ask_raw("GET /v1/status HTTP/1.1\r\nHost: evil.example\r\n\r\n"),
                 http::status::misdirected_request);
  for (const char* host : {"localhost", "LOCALHOST:80", "127.0.0.1:8480", "[::1]:8480"}) {
    EXPECT_EQ(
        ask_raw(fmt::format("GET /healthz HTTP/1.1\r\nHost: {}\r\n\r\n", host).c_str()).result(),
        http::status::ok)
        << host;
  }
  EXPECT_EQ(ask_raw("GET /healthz HTTP/1.0\r\n\r\n").result(), http::status::ok);
}

TEST_F(StatusServerTest, NothingCanBeChanged) {
  ASSERT_TRUE(start());
  for (http::verb method : {http::verb::post, http::verb::put, http::verb::delete_,
                            http::verb::patch, http::verb::options}) {
    Response response = ask("/v1/status", method);
    expect_problem(response, http::status::method_not_allowed);
    EXPECT_EQ(response[http::field::allow], "GET, HEAD");
  }
}

TEST_F(StatusServerTest, ConnectionsAreKeptAndRequestsMayBePipelined) {
  ASSERT_TRUE(start());
  tcp::socket socket = connect();
  std::string get = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
  asio::write(socket, asio::buffer(get + get));
  boost::beast::flat_buffer buffer;
  for (int i = 0; i < 2; ++i) {
    Response response;
    http::read(socket, buffer, response);
    EXPECT_EQ(response.result(), http::status::ok);
  }
  Response last =
      exchange(socket, "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
  EXPECT_FALSE(last.keep_alive());
  EXPECT_TRUE(closed(socket));
}

TEST_F(StatusServerTest, OversizedHeaderIs431AndCloses) {
  ASSERT_TRUE(start());
  tcp::socket socket = connect();
  expect_problem(exchange(socket, "GET / HTTP/1.1\r\nHost: localhost\r\nX: " +
                                      std::string(64 * 1024, 'x') + "\r\n\r\n"),
                 http::status::request_header_fields_too_large);
  EXPECT_TRUE(closed(socket));
}

TEST_F(StatusServerTest, BodiesAre413AndClose) {
  ASSERT_TRUE(start());
  for (const char* field : {"Content-Length: 5", "Transfer-Encoding: chunked"}) {
    tcp::socket socket = connect();
    expect_problem(exchange(socket, fmt::format("GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
                                                "{}\r\n\r\nhello",
                                                field)),
                   http::status::payload_too_large);
    EXPECT_TRUE(closed(socket));
  }
}

TEST_F(StatusServerTest, SlowAndSilentClientsAreDisconnected) {
  options_.read_timeout = std::chrono::milliseconds(50);
  options_.idle_timeout = std::chrono::milliseconds(50);
  ASSERT_TRUE(start());
  tcp::socket silent = connect();
  EXPECT_TRUE(closed(silent));
  tcp::socket slow = connect();
  asio::write(slow, asio::buffer(std::string("GET /healthz HT")));
  EXPECT_TRUE(closed(slow));
  EXPECT_EQ(ask("/healthz").result(), http::status::ok);
}

TEST_F(StatusServerTest, ConnectionsOverTheLimitGet503) {
  options_.connections_max = 2;
  ASSERT_TRUE(start());
  std::string get = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
  tcp::socket first = connect();
  EXPECT_EQ(exchange(first, get).result(), http::status::ok);
  {
    tcp::socket second = connect();
    EXPECT_EQ(exchange(second, get).result(), http::status::ok);
    tcp::socket third = connect();
    expect_problem(exchange(third, get), http::status::service_unavailable);
    EXPECT_TRUE(closed(third));
  }
  // The place of `second` becomes free as soon as the server has seen it go.
  http::status status = http::status::unknown;
  while (status != http::status::ok) {
    tcp::socket next = connect();
    status = exchange(next, get).result();
  }
}

TEST_F(StatusServerTest, ServesAUnixSocketWithoutLookingAtTheHost) {
  ASSERT_TRUE(start());
  asio::local::stream_protocol::socket socket(client_);
  socket.connect(asio::local::stream_protocol::endpoint(socket_path()));
  Response response = exchange(socket, "GET /v1/status HTTP/1.1\r\nHost: homeport\r\n\r\n");
  EXPECT_EQ(json::parse(response.body()).at("host"), "hostA");
}

TEST_F(StatusServerTest, ReplacesAStaleSocketButNotALiveOneNorAFile) {
  {
    asio::local::stream_protocol::acceptor stale(
        client_, asio::local::stream_protocol::endpoint(socket_path()));
  }
  ASSERT_TRUE(start());
  auto second = StatusServer::start(context_.get_executor(), {.listen = {"unix:" + socket_path()}},
                                    [] { return StatusModel{}; });
  ASSERT_FALSE(second);
  EXPECT_THAT(second.error().message, HasSubstr("Another program serves"));

  std::string file = directory_ + "/file";
  std::ofstream(file) << "precious";
  auto third = StatusServer::start(context_.get_executor(), {.listen = {"unix:" + file}},
                                   [] { return StatusModel{}; });
  ASSERT_FALSE(third);
  EXPECT_THAT(third.error().message, HasSubstr("is not a socket"));
  EXPECT_TRUE(std::filesystem::exists(file));
}

TEST_F(StatusServerTest, RefusesToListenBeyondThisMachine) {
  options_.listen = {"unix:" + socket_path(), "0.0.0.0:0"};
  auto started = start();
  ASSERT_FALSE(started);
  EXPECT_THAT(started.error().message, HasSubstr("is not loopback"));
}

TEST_F(StatusServerTest, RefusesAPortInUse) {
  ASSERT_TRUE(start());
  auto second =
      StatusServer::start(context_.get_executor(), {.listen = {fmt::format("127.0.0.1:{}", port_)}},
                          [] { return StatusModel{}; });
  ASSERT_FALSE(second);
  EXPECT_THAT(second.error().message, HasSubstr("Cannot listen for status requests on 127.0.0.1"));
}

TEST_F(StatusServerTest, StopClosesListenersAndConnections) {
  ASSERT_TRUE(start());
  tcp::socket socket = connect();
  exchange(socket, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
  std::promise<void> stopped;
  asio::post(context_, [&] {
    server_->stop();
    server_->stop();
    stopped.set_value();
  });
  stopped.get_future().wait();
  EXPECT_TRUE(closed(socket));
  tcp::socket late(client_);
  boost::system::error_code ec;
  late.connect({asio::ip::address_v4::loopback(), port_}, ec);
  EXPECT_EQ(ec, asio::error::connection_refused);
}

}  // namespace
}  // namespace homeport::agent
