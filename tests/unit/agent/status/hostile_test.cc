// Clients of the status server that are slow, greedy or mean harm.
#include "tests/unit/agent/status/server_fixture.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <boost/asio/local/stream_protocol.hpp>

#include <sys/time.h>

namespace homeport::agent {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using asio::ip::tcp;
using test::Response;

using HostileClients = test::ServerTest;

TEST_F(HostileClients, OversizedHeaderIs431AndCloses) {
  ASSERT_TRUE(start());
  tcp::socket socket = connect();
  expect_problem(exchange(socket, "GET / HTTP/1.1\r\nHost: localhost\r\nX: " +
                                      std::string(64 * 1024, 'x') + "\r\n\r\n"),
                 http::status::request_header_fields_too_large);
  EXPECT_TRUE(closed(socket));
}

TEST_F(HostileClients, BodiesAre413AndClose) {
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

TEST_F(HostileClients, SlowAndSilentClientsAreDisconnected) {
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

TEST_F(HostileClients, ConnectionsOverTheLimitGet503) {
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

TEST_F(HostileClients, WhoSendAByteNowAndThenAreDisconnected) {
  options_.read_timeout = std::chrono::milliseconds(50);
  ASSERT_TRUE(start());
  tcp::socket socket = connect();
  const timeval moment{.tv_sec = 0, .tv_usec = 2'000};
  ASSERT_EQ(::setsockopt(socket.native_handle(), SOL_SOCKET, SO_RCVTIMEO, &moment, sizeof moment),
            0);
  const std::string start_line = "GET /healthz HTTP/1.1\r\nX: ";
  asio::write(socket, asio::buffer(start_line));
  int bytes = 0;
  char byte;
  // The deadline is that of the whole header: each byte comes long before the next is due.
  while (::recv(socket.native_handle(), &byte, 1, 0) < 0 && errno == EAGAIN && bytes < 5'000) {
    boost::system::error_code ignored;
    asio::write(socket, asio::buffer("x", 1), ignored);
    ++bytes;
  }
  EXPECT_LT(bytes, 5'000);
  EXPECT_EQ(ask("/healthz").result(), http::status::ok);
}

TEST_F(HostileClients, WhoDoNotReadTheirAnswersAreDisconnected) {
  options_.read_timeout = std::chrono::milliseconds(50);
  options_.connections_max = 1;
  model_.applications.assign(50'000, model_.applications.front());  // 10 MB and more
  ASSERT_TRUE(start());
  const std::string get = "GET /v1/status HTTP/1.1\r\nHost: localhost\r\n\r\n";
  tcp::socket greedy = connect();
  asio::write(greedy, asio::buffer(get));
  // Its place becomes free without its having read a byte.
  http::status status = http::status::unknown;
  while (status != http::status::ok) {
    tcp::socket next = connect();
    status = exchange(next, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").result();
  }
  std::string received;
  boost::system::error_code ec;
  asio::read(greedy, asio::dynamic_buffer(received), ec);
  EXPECT_LT(received.size(), 10'000'000u) << "the rest is not kept for it";
}

TEST_F(HostileClients, WhoSendNonsenseGetAProblemOrAreDisconnected) {
  ASSERT_TRUE(start());
  using namespace std::string_literals;
  const std::string host = "Host: localhost\r\n";
  const std::string requests[] = {
      "\0\0\0\0\r\n\r\n"s,
      "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"s,  // TLS
      "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",                       // HTTP/2
      "GET /healthz\r\n\r\n",                                   // HTTP/0.9
      "GET /healthz HTTP/9.9\r\n" + host + "\r\n",
      "GET  /healthz HTTP/1.1\r\n" + host + "\r\n",
      "GET /healthz HTTP/1.1\n" + host + "\n\r\n\r\n",
      "GET /" + std::string(100'000, 'a') + " HTTP/1.1\r\n" + host + "\r\n",
      std::string(100'000, 'A') + " / HTTP/1.1\r\n" + host + "\r\n",
      "GET /healthz HTTP/1.1\r\n" + host + "Host: localhost\r\n\r\n",
      "GET /healthz HTTP/1.1\r\n" + host + "Na me: x\r\n\r\n",
      "GET /healthz HTTP/1.1\r\n" + host + "Name : x\r\n\r\n",
      "GET /healthz HTTP/1.1\r\n" + host + "X: a\0b\r\n\r\n"s,
      "GET /healthz HTTP/1.1\r\n" + host + "Content-Length: -1\r\n\r\n",
      "GET /healthz HTTP/1.1\r\n" + host + "Content-Length: 99999999999999999999\r\n\r\n",
      "GET /healthz HTTP/1.1\r\n" + host + "Content-Length: 0\r\nContent-Length: 1\r\n\r\n",
      "GET /healthz HTTP/1.1\r\n" + host +
          "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"};
  for (const std::string& request : requests) {
    SCOPED_TRACE(::testing::PrintToString(request.substr(0, 60)));
    tcp::socket socket = connect();
    boost::system::error_code ec;
    asio::write(socket, asio::buffer(request), ec);
    socket.shutdown(tcp::socket::shutdown_send, ec);
    boost::beast::flat_buffer buffer;
    Response response;
    http::read(socket, buffer, response, ec);
    if (ec) {
      EXPECT_TRUE(ec == http::error::end_of_stream || ec == asio::error::connection_reset) << ec;
    } else {
      EXPECT_GE(response.result_int(), 400u);
      EXPECT_LT(response.result_int(), 500u);
      expect_problem(response, response.result());
    }
  }
  EXPECT_EQ(ask("/healthz").result(), http::status::ok);
}

TEST_F(HostileClients, WhoPipelineWithoutEndDoNotKeepOthersFromAnswers) {
  options_.read_timeout = std::chrono::milliseconds(50);
  ASSERT_TRUE(start());
  const std::string get = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
  tcp::socket flood = connect();
  std::thread writer([&] {
    boost::system::error_code ec;
    while (!ec) asio::write(flood, asio::buffer(get), ec);  // until it is disconnected
  });
  for (int i = 0; i < 20; ++i) EXPECT_EQ(ask("/healthz").result(), http::status::ok);
  writer.join();
}

TEST_F(HostileClients, OnAUnixSocketHaveTheSameLimits) {
  options_.idle_timeout = std::chrono::milliseconds(50);
  ASSERT_TRUE(start());
  asio::local::stream_protocol::socket silent(client_), big(client_);
  silent.connect(asio::local::stream_protocol::endpoint(socket_path()));
  EXPECT_TRUE(closed(silent));
  big.connect(asio::local::stream_protocol::endpoint(socket_path()));
  expect_problem(exchange(big, "GET /" + std::string(9'000, 'a') + " HTTP/1.1\r\n\r\n"),
                 http::status::request_header_fields_too_large);
}

}  // namespace
}  // namespace homeport::agent
