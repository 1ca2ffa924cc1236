// homeport path watch, against what a status server sends.
#include "agent/cli/path_view.h"
#include "agent/status/event_feed.h"
#include "agent/status/path_json.h"
#include "tests/unit/agent/cli/run_command.h"
#include "tests/unit/agent/status/fixed_model.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/write.hpp>

#include <unistd.h>

#include <csignal>
#include <limits>
#include <string>
#include <thread>

namespace homeport::agent {
namespace {

namespace asio = boost::asio;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

constexpr char kLost[] =
    "2026-01-01 00:01:26Z  hostB  agreed     interactive goes eth1 192.0.2.65 -> 198.51.100.3 "
    "through hostC instead of eth0 192.0.2.1 -> eth0 198.51.100.2: that carries nothing in either "
    "direction.\n";
constexpr char kGone[] =
    "2026-01-01 00:01:27Z  hostB  idle       default no longer goes eth0 192.0.2.1 -> eth0 "
    "198.51.100.2: that carries nothing in either direction, and no other can be used.\n";
constexpr char kFound[] =
    "                      hostB  nominated  bulk goes eth0 192.0.2.1 -> eth0 198.51.100.2: it did "
    "before the agent was started.\n";

/// Answers one request, and closes.
class Server {
 public:
  explicit Server(std::string answer, bool interrupt = false)
      : acceptor_(context_, {asio::ip::address_v4::loopback(), 0}),
        thread_([this, answer = std::move(answer), interrupt] {
          asio::ip::tcp::socket socket = acceptor_.accept();
          std::string request;
          asio::read_until(socket, asio::dynamic_buffer(request), "\r\n\r\n");
          asio::write(socket, asio::buffer(answer));
          if (!interrupt) return;
          ::kill(::getpid(), SIGINT);
          boost::system::error_code gone;
          asio::read_until(socket, asio::dynamic_buffer(request), "never", gone);
        }) {}
  ~Server() { thread_.join(); }

  std::string address() const {
    return fmt::format("127.0.0.1:{}", acceptor_.local_endpoint().port());
  }

 private:
  asio::io_context context_;
  asio::ip::tcp::acceptor acceptor_;
  std::thread thread_;
};

/// All that there is, as the server sends it, and then that a path has gone.
std::string stream() {
  StatusModel model = test::fixed_model();
  model.path_events = test::fixed_path_events(model.now);
  model.path_events.push_back(model.path_events.front());
  model.path_events.back().peer = "hostC";
  EventFeed feed;
  EventFeed::Cursor cursor;
  feed.update(model);
  std::string text = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
  text += feed.next(cursor, std::numeric_limits<std::size_t>::max());
  model.path_events.pop_back();
  feed.update(model);
  return text + feed.next(cursor, std::numeric_limits<std::size_t>::max());
}

test::Ran watch(const Server& server, std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), {"path", "watch", "--agent", server.address()});
  return test::run_command(arguments);
}

TEST(PathWatch, PrintsWhatIsAndWhatChangesUntilTheAgentEnds) {
  Server server(stream());
  const test::Ran ran = watch(server, {});
  EXPECT_EQ(ran.code, 1);
  EXPECT_THAT(ran.err, HasSubstr("has ended what it told"));
  EXPECT_THAT(ran.out, HasSubstr(std::string(kLost) + kGone + kFound));
  EXPECT_TRUE(ran.out.ends_with(
      "\n                      hostC             interactive is no longer negotiated.\n"))
      << ran.out;
}

TEST(PathWatch, PrintsOnlyWhatIsAskedFor) {
  Server all(stream());
  EXPECT_EQ(watch(all, {"hostB"}).out, std::string(kLost) + kGone + kFound);
  Server of_class(stream());
  EXPECT_EQ(watch(of_class, {"hostB", "--class", "bulk"}).out, kFound);
}

TEST(PathWatch, PrintsJsonALineForEach) {
  Server server(stream());
  const test::Ran ran = watch(server, {"hostC", "--json"});
  std::istringstream lines(ran.out);
  std::vector<std::string> kinds;
  for (std::string line; std::getline(lines, line);) {
    const boost::json::value event = boost::json::parse(line);
    EXPECT_EQ(event.at("class"), "interactive");
    kinds.emplace_back(event.at("event").as_string());
  }
  EXPECT_THAT(kinds, ElementsAre("path", "path-removed"));
}

TEST(PathWatch, EndsWhenItIsInterrupted) {
  Server server(stream(), true);
  const test::Ran ran = watch(server, {"hostB"});
  EXPECT_EQ(ran.code, 130) << ran.err;
  EXPECT_EQ(ran.err, "");
}

TEST(PathWatch, SaysWhatTheAgentRefusesItWith) {
  Server server(
      "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 24\r\n\r\n{\"detail\":\"8 are open\"} ");
  const test::Ran ran = watch(server, {});
  EXPECT_EQ(ran.code, 1);
  EXPECT_THAT(ran.err, HasSubstr("refuses /v1/events: 8 are open"));
}

TEST(PathWatch, RefusesWhatIsNoEventOfAPath) {
  Server server("HTTP/1.1 200 OK\r\n\r\nevent: path\ndata: {\"peer\":\"hostB\"}\n\n");
  const test::Ran ran = watch(server, {});
  EXPECT_EQ(ran.code, 1);
  EXPECT_THAT(ran.err, HasSubstr("of one version, or --json"));
}

TEST(PathEventOf, HoldsNothingThatATerminalWouldObey) {
  PathEvent event = test::fixed_path_events({}).front();
  event.peer = "\x1b[2J";
  event.text = "\x1b]0;title\x07";
  EXPECT_THAT(*path_event("path", to_json(event)), Not(HasSubstr("\x1b")));
  EXPECT_THAT(*path_event("path-removed", to_json(event)), Not(HasSubstr("\x1b")));
}

}  // namespace
}  // namespace homeport::agent
