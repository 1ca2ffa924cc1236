#include "agent/status/server.h"

#include "tests/unit/agent/status/server_fixture.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <fstream>

namespace homeport::agent {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;
namespace json = boost::json;
using asio::ip::tcp;
using test::Response;
using ::testing::HasSubstr;

using StatusServerTest = test::ServerTest;

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
  EXPECT_EQ(body("/openapi.json").at("openapi"), "3.1.0");
  EXPECT_EQ(snapshots_, 0) << "being alive needs no snapshot";
  EXPECT_EQ(body("/readyz").at("ready"), true);
  EXPECT_EQ(last_part_, StatusPart::readiness) << "being ready needs no more";
  EXPECT_EQ(body("/v1/status").at("host"), "hostA");
  EXPECT_EQ(body("/v1/applications").at("applications").as_array().size(), 2u);
  EXPECT_EQ(last_part_, StatusPart::applications);
  EXPECT_EQ(body("/v1/applications/vm%31").at("name"), "vm1");
  EXPECT_EQ(body("/v1/tasks").at("tasks").as_array().size(), 1u);
  EXPECT_EQ(body("/v1/tasks/7f3f7a4e-1111-4222-8333-444455556666").at("kind"), "move");
  EXPECT_EQ(last_part_, StatusPart::tasks);

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
  auto second = StatusServer::start(
      context_.get_executor(), {.listen = {"unix:" + socket_path()}},
      [](const StatusWanted&) { return StatusModel{}; }, tracing_);
  ASSERT_FALSE(second);
  EXPECT_THAT(second.error().message, HasSubstr("Another program serves"));

  std::string file = directory_ + "/file";
  std::ofstream(file) << "precious";
  auto third = StatusServer::start(
      context_.get_executor(), {.listen = {"unix:" + file}},
      [](const StatusWanted&) { return StatusModel{}; }, tracing_);
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
  auto second = StatusServer::start(
      context_.get_executor(), {.listen = {fmt::format("127.0.0.1:{}", port_)}},
      [](const StatusWanted&) { return StatusModel{}; }, tracing_);
  ASSERT_FALSE(second);
  EXPECT_THAT(second.error().message, HasSubstr("Cannot listen for status requests on 127.0.0.1"));
}

TEST_F(StatusServerTest, StopClosesListenersAndConnections) {
  ASSERT_TRUE(start());
  tcp::socket socket = connect();
  exchange(socket, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
  on_server([&] {
    server_->stop();
    server_->stop();
  });
  EXPECT_TRUE(closed(socket));
  tcp::socket late(client_);
  boost::system::error_code ec;
  late.connect({asio::ip::address_v4::loopback(), port_}, ec);
  EXPECT_EQ(ec, asio::error::connection_refused);
}

TEST_F(StatusServerTest, ATraceIsAnsweredByWhoeverTraces) {
  std::map<std::string, std::string, std::less<>> asked;
  tracing_ = [&](auto query) -> asio::awaitable<policy::Result<boost::json::object>> {
    asked = query;
    auto error = query.find("to");
    if (error == query.end()) co_return boost::json::object{{"hosts", 1}};
    const auto code = error->second == "wrong"  ? boost::system::errc::invalid_argument
                      : error->second == "none" ? boost::system::errc::no_such_file_or_directory
                      : error->second == "busy"
                          ? boost::system::errc::resource_unavailable_try_again
                          : boost::system::errc::io_error;
    co_return policy::make_error(code, "why not");
  };
  ASSERT_TRUE(start());
  const auto answer = ask("/v1/trace?from=vm1");
  EXPECT_EQ(answer.result(), http::status::ok);
  EXPECT_EQ(answer.body(), "{\"hosts\":1}\n");
  EXPECT_EQ(asked.at("from"), "vm1");
  EXPECT_EQ(ask("/v1/trace", http::verb::head).body(), "");
  EXPECT_EQ(ask("/v1/trace?to=wrong").result(), http::status::bad_request);
  EXPECT_EQ(ask("/v1/trace?to=none").result(), http::status::not_found);
  EXPECT_EQ(ask("/v1/trace?to=busy").result(), http::status::service_unavailable);
  EXPECT_EQ(ask("/v1/trace?to=x").result(), http::status::internal_server_error);
  asked.clear();
  EXPECT_EQ(ask("/v1/trace?protocol=gre").result(), http::status::bad_request);
  EXPECT_EQ(ask("/v1/trace", http::verb::post).result(), http::status::method_not_allowed);
  EXPECT_TRUE(asked.empty());
}

// The server ends while another host is being asked.
TEST_F(StatusServerTest, ATraceUnderWayDoesNotHoldTheServer) {
  std::promise<void> asked;
  std::function<void()> end;
  tracing_ = [&](auto) -> asio::awaitable<policy::Result<boost::json::object>> {
    asked.set_value();
    asio::steady_timer forever(context_, std::chrono::hours(1));
    end = [&] { forever.cancel(); };
    boost::system::error_code ignored;
    co_await forever.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
    co_return boost::json::object{};
  };
  ASSERT_TRUE(start());
  tcp::socket socket = connect();
  asio::write(socket,
              asio::buffer(std::string("GET /v1/trace HTTP/1.1\r\nHost: localhost\r\n\r\n")));
  asked.get_future().wait();
  EXPECT_EQ(ask("/healthz").result(), http::status::ok);
  on_server([&] {
    server_->stop();
    end();
  });
  boost::system::error_code error;
  char byte = 0;
  socket.read_some(asio::buffer(&byte, 1), error);
  EXPECT_TRUE(error);
}

}  // namespace
}  // namespace homeport::agent
