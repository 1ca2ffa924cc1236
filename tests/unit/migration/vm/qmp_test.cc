// The client against a monitor played by the test, over a socket pair.
#include "migration/vm/qmp.h"

#include "coroutine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>

#include <cstring>

namespace homeport::migration {
namespace {

namespace asio = boost::asio;
namespace errc = boost::system::errc;
using namespace std::chrono_literals;
using policy::Result;
using testing::HasSubstr;

constexpr const char* kGreeting =
    "{\"QMP\": {\"version\": {\"qemu\": {\"major\": 7, \"minor\": 2, \"micro\": 0}}, "
    "\"capabilities\": []}}\n";

class QmpTest : public testing::Test {
 protected:
  QmpTest() : monitor_(io_) {
    int ends[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    client_.reset(ends[0]);
    monitor_.assign(asio::local::stream_protocol(), ends[1]);
  }

  void say(std::string text) { asio::write(monitor_, asio::buffer(text)); }

  /// Says `text` once `commands` more commands have come.
  void on_command(std::string text, int commands = 1) {
    asio::co_spawn(io_, hear_and_say(std::move(text), commands), asio::detached);
  }

  asio::awaitable<void> hear_and_say(std::string text, int commands) {
    for (int i = 0; i < commands; ++i) {
      std::size_t size = co_await asio::async_read_until(monitor_, asio::dynamic_buffer(received_),
                                                         '\n', asio::use_awaitable);
      heard_.push_back(received_.substr(0, size - 1));
      received_.erase(0, size);
    }
    say(text);
  }

  /// A client that has agreed on capabilities.
  Qmp open(QmpOptions options = {}) {
    say(kGreeting);
    on_command("{\"return\": {}, \"id\": 1}\n");
    auto qmp = run(io_, Qmp::open(std::move(client_), options));
    EXPECT_TRUE(qmp) << qmp.error().message;
    EXPECT_THAT(heard_.back(), HasSubstr("qmp_capabilities"));
    return std::move(*qmp);
  }

  asio::io_context io_;
  overlay::UniqueFd client_;
  asio::local::stream_protocol::socket monitor_;
  std::string received_;
  std::vector<std::string> heard_;  // commands
};

TEST_F(QmpTest, ExecutesAndReturns) {
  Qmp qmp = open();
  on_command("{\"return\": {\"status\": \"running\"}, \"id\": 2}\n");
  auto reply = run(io_, qmp.execute("query-status"));
  ASSERT_TRUE(reply) << reply.error().message;
  EXPECT_EQ(reply->at("status"), "running");
  EXPECT_THAT(heard_.back(), HasSubstr("\"query-status\""));
}

TEST_F(QmpTest, ErrorIsQemusOwnSentence) {
  Qmp qmp = open();
  on_command(
      "{\"error\": {\"class\": \"GenericError\", \"desc\": \"No such thing\"}, \"id\": 2}\n");
  auto reply = run(io_, qmp.execute("x"));
  ASSERT_FALSE(reply);
  EXPECT_EQ(reply.error().code, errc::protocol_error);
  EXPECT_THAT(reply.error().message, HasSubstr("No such thing"));
  EXPECT_TRUE(qmp.connected());
}

TEST_F(QmpTest, RepliesAreMatchedById) {
  Qmp qmp = open();
  std::vector<std::string> replies;
  auto ask = [&](std::string command) -> asio::awaitable<void> {
    auto reply = co_await qmp.execute(command);
    replies.push_back(command + "=" + (reply ? reply->as_string().c_str() : "error"));
  };
  asio::co_spawn(io_, ask("a"), asio::detached);
  asio::co_spawn(io_, ask("b"), asio::detached);
  on_command("{\"return\": \"B\", \"id\": 3}\n{\"return\": \"A\", \"id\": 2}\n", 2);
  io_.restart();
  while (replies.size() < 2) io_.run_one();
  EXPECT_THAT(replies, testing::ElementsAre("b=B", "a=A"));
}

TEST_F(QmpTest, PassesADescriptor) {
  Qmp qmp = open();
  overlay::UniqueFd file(::memfd_create("passed", MFD_CLOEXEC));
  ASSERT_EQ(::ftruncate(file.get(), 12'345), 0);
  std::optional<Result<boost::json::value>> reply;
  asio::co_spawn(io_, qmp.execute("getfd", {}, file.get()),
                 [&](std::exception_ptr, Result<boost::json::value> result) { reply = result; });
  io_.restart();
  io_.poll();
  file.reset();

  char byte[256];
  iovec part{byte, sizeof(byte)};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  ASSERT_GT(::recvmsg(monitor_.native_handle(), &message, MSG_CMSG_CLOEXEC), 0);
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  ASSERT_NE(header, nullptr);
  int received = -1;
  std::memcpy(&received, CMSG_DATA(header), sizeof(int));
  overlay::UniqueFd copy(received);
  struct stat status {};
  ASSERT_EQ(::fstat(copy.get(), &status), 0);
  EXPECT_EQ(status.st_size, 12'345);

  say("{\"return\": {}, \"id\": 2}\n");
  while (!reply) io_.run_one();
  EXPECT_TRUE(*reply);
}

TEST_F(QmpTest, AWaiterSeesTheEventThatMatches) {
  Qmp qmp = open();
  auto completed = qmp.expect("MIGRATION", [](const boost::json::object& data) {
    return data.at("status") == "completed";
  });
  say("{\"event\": \"STOP\"}\n"
      "{\"event\": \"MIGRATION\", \"data\": {\"status\": \"active\"}}\n"
      "{\"event\": \"MIGRATION\", \"data\": {\"status\": \"completed\"}}\n");
  auto event = run(io_, completed.wait(10s));
  ASSERT_TRUE(event) << event.error().message;
  EXPECT_EQ(event->data.at("status"), "completed");

  // It has come already: the wait ends at once, also a second time.
  EXPECT_TRUE(run(io_, completed.wait(0ms)));
}

TEST_F(QmpTest, WaitForAnEventTimesOut) {
  Qmp qmp = open();
  auto never = qmp.expect("NEVER");
  auto event = run(io_, never.wait(1ms));
  ASSERT_FALSE(event);
  EXPECT_EQ(event.error().code, errc::timed_out);
}

TEST_F(QmpTest, ClosedMonitorEndsEverythingPending) {
  Qmp qmp = open();
  auto expectation = qmp.expect("X");
  monitor_.close();
  auto reply = run(io_, qmp.execute("stop"));
  ASSERT_FALSE(reply);
  EXPECT_EQ(reply.error().code, errc::connection_reset);
  EXPECT_FALSE(qmp.connected());
  auto event = run(io_, expectation.wait(10s));
  ASSERT_FALSE(event);
  EXPECT_EQ(event.error().code, errc::connection_reset);
  auto later = run(io_, qmp.execute("cont"));
  ASSERT_FALSE(later);
  EXPECT_EQ(later.error().code, errc::connection_reset);
}

TEST_F(QmpTest, CloseEndsEverythingPending) {
  Qmp qmp = open();
  std::optional<Result<boost::json::value>> reply;
  asio::co_spawn(io_, qmp.execute("stop"),
                 [&](std::exception_ptr, Result<boost::json::value> result) { reply = result; });
  io_.restart();
  io_.poll();
  ASSERT_FALSE(reply);
  qmp.close();
  io_.poll();
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->error().code, errc::connection_reset);
}

TEST_F(QmpTest, SilentMonitorTimesOut) {
  Qmp qmp = open({10s, 1ms});
  auto reply = run(io_, qmp.execute("stop"));
  ASSERT_FALSE(reply);
  EXPECT_EQ(reply.error().code, errc::timed_out);
  // Its late reply is nobody's, and no harm.
  auto late = qmp.expect("LATE");
  say("{\"return\": {}, \"id\": 2}\n{\"event\": \"LATE\"}\n");
  EXPECT_TRUE(run(io_, late.wait(10s)));
}

TEST_F(QmpTest, CommandCanBeCancelled) {
  Qmp qmp = open();
  asio::cancellation_signal signal;
  std::optional<Result<boost::json::value>> reply;
  asio::co_spawn(io_, qmp.execute("stop"),
                 asio::bind_cancellation_slot(
                     signal.slot(), [&](std::exception_ptr, Result<boost::json::value> result) {
                       reply = result;
                     }));
  io_.restart();
  io_.poll();
  signal.emit(asio::cancellation_type::all);
  io_.poll();
  ASSERT_TRUE(reply);
  EXPECT_TRUE(reply->error().cancelled()) << reply->error().message;
  EXPECT_TRUE(qmp.connected());
}

TEST_F(QmpTest, HostileMonitorIsLeft) {
  for (std::string words :
       {std::string("nonsense\n"), std::string("{\"return\": 1, \"id\": 99}\n"),
        std::string("{\"error\": {\"class\": \"GenericError\", \"desc\": \"JSON parse error\"}}\n"),
        std::string(kGreeting)}) {
    int ends[2];
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    client_.reset(ends[0]);
    monitor_ = asio::local::stream_protocol::socket(io_, asio::local::stream_protocol(), ends[1]);
    Qmp qmp = open();
    say(words);
    auto reply = run(io_, qmp.execute("stop"));
    ASSERT_FALSE(reply) << words;
    EXPECT_EQ(reply.error().code, errc::bad_message) << words;
    EXPECT_FALSE(qmp.connected());
  }
}

TEST_F(QmpTest, MonitorWithoutGreetingIsRefused) {
  say("{\"return\": {}, \"id\": 1}\n");
  auto qmp = run(io_, Qmp::open(std::move(client_)));
  ASSERT_FALSE(qmp);
  EXPECT_EQ(qmp.error().code, errc::bad_message);
}

TEST_F(QmpTest, MonitorThatDoesNotGreetTimesOut) {
  auto qmp = run(io_, Qmp::open(std::move(client_), {1ms, 10s}));
  ASSERT_FALSE(qmp);
  EXPECT_EQ(qmp.error().code, errc::timed_out);
  EXPECT_THAT(qmp.error().message, HasSubstr("another client"));
}

TEST_F(QmpTest, ConnectErrorsNameThePath) {
  auto absent = run(io_, Qmp::connect("/nonexistent/qmp.sock"));
  ASSERT_FALSE(absent);
  EXPECT_EQ(absent.error().code, errc::no_such_file_or_directory);
  EXPECT_THAT(absent.error().message, HasSubstr("/nonexistent/qmp.sock"));
  auto too_long = run(io_, Qmp::connect("/" + std::string(200, 'x')));
  ASSERT_FALSE(too_long);
  EXPECT_EQ(too_long.error().code, errc::filename_too_long);
}

}  // namespace
}  // namespace homeport::migration
