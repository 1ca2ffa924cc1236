// /v1/events as its readers see it.
#include "tests/unit/agent/status/server_fixture.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace homeport::agent {
namespace {

using namespace std::chrono_literals;

namespace asio = boost::asio;
namespace http = boost::beast::http;
using test::EventReader;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class StatusEvents : public test::ServerTest {
 protected:
  void SetUp() override {
    ServerTest::SetUp();
    options_.event_interval = 0ms;
  }

  void change_task(std::uint64_t bytes_sent) {
    on_server([this, bytes_sent] {
      model_.tasks.front().bytes_sent = bytes_sent;
      server_->things_changed();
    });
  }
};

TEST_F(StatusEvents, AreAllTasksAndThenWhatChanges) {
  ASSERT_TRUE(start());
  EventReader reader(connect());
  EXPECT_THAT(reader.head(), AllOf(StartsWith("HTTP/1.1 200 "), HasSubstr("text/event-stream"),
                                   HasSubstr("no-cache"), HasSubstr("Connection: close")));
  EXPECT_EQ(reader.next(), "event: reset\ndata: {}\n\n");
  EXPECT_THAT(reader.next(), HasSubstr("\"bytes_sent\":1048576,"));
  EXPECT_EQ(last_part_, StatusPart::events);
  change_task(5);
  EXPECT_THAT(reader.next(), AllOf(HasSubstr("event: task\n"), HasSubstr("\"bytes_sent\":5,")));
  on_server([this] {
    model_.tasks.clear();
    server_->things_changed();
  });
  EXPECT_THAT(reader.next(), HasSubstr("event: removed\n"));
}

TEST_F(StatusEvents, GoOnBehindTheLastEventSeen) {
  ASSERT_TRUE(start());
  EventReader first(connect());
  first.next();
  const std::string event = first.next();
  const std::string id = event.substr(0, event.find('\n')).substr(4);
  change_task(5);
  EventReader second(connect(), "Last-Event-ID: " + id + "\r\n");
  EXPECT_THAT(second.next(), HasSubstr("\"bytes_sent\":5,"));
  EventReader third(connect(), "Last-Event-ID: 99\r\n");
  EXPECT_THAT(third.next(), HasSubstr("event: reset\n"));
}

TEST_F(StatusEvents, ANewReaderSeesWhatChangedWhileThereWasNone) {
  ASSERT_TRUE(start());
  change_task(7);
  EXPECT_EQ(snapshots_, 0) << "nobody reads";
  EventReader reader(connect());
  reader.next();
  EXPECT_THAT(reader.next(), HasSubstr("\"bytes_sent\":7,"));
}

TEST_F(StatusEvents, TakeOneSnapshotForManyChangesAndReaders) {
  options_.event_interval = 1h;
  ASSERT_TRUE(start());
  EventReader one(connect()), two(connect());
  for (EventReader* reader : {&one, &two}) {
    reader->next();
    reader->next();
  }
  EXPECT_EQ(snapshots_, 1);
  for (std::uint64_t i = 0; i < 1'000; ++i) change_task(i);
  EXPECT_EQ(snapshots_, 1);
}

TEST_F(StatusEvents, SayThatTheyAreAlive) {
  options_.heartbeat = 5ms;
  ASSERT_TRUE(start());
  EventReader reader(connect());
  reader.next();
  reader.next();
  EXPECT_EQ(reader.next(), ": nothing new\n\n");
  on_server([this] { server_->things_changed(); });
  EXPECT_EQ(reader.next(), ": nothing new\n\n");
}

TEST_F(StatusEvents, HaveAFewOfTheConnections) {
  options_.event_streams_max = 1;
  ASSERT_TRUE(start());
  {
    EventReader reader(connect());
    ASSERT_TRUE(reader.accepted());
    expect_problem(ask("/v1/events"), http::status::service_unavailable);
    EXPECT_EQ(ask("/v1/events", http::verb::head).result(), http::status::ok);
    EXPECT_EQ(ask("/healthz").result(), http::status::ok);
  }
  // Its place becomes free as soon as the server has seen it go.
  while (!EventReader(connect()).accepted()) {
  }
}

TEST_F(StatusEvents, EndWithAReaderThatSaysAnything) {
  ASSERT_TRUE(start());
  EventReader reader(connect());
  asio::write(reader.socket(), asio::buffer(std::string("GET / HTTP/1.1\r\n\r\n")));
  while (!reader.next().empty()) {
  }
}

TEST_F(StatusEvents, AReaderThatDoesNotReadIsLetGoAndOthersAreServed) {
  options_.event_streams_max = 2;
  options_.read_timeout = 50ms;
  model_.tasks.front().error = std::string(10'000, 'x');
  for (int i = 0; i < 1'000; ++i) {  // 10 MB, more than the kernel holds back
    model_.tasks.push_back(model_.tasks.front());
    model_.tasks.back().id = fmt::format("task{}", i);
  }
  ASSERT_TRUE(start());
  EventReader lazy(connect());
  ASSERT_TRUE(lazy.accepted());
  {
    EventReader keen(connect());
    ASSERT_TRUE(keen.accepted());
    int events = 0;
    while (events < 1'002 && !keen.next().empty()) ++events;
    EXPECT_EQ(events, 1'002) << "one that reads gets all";
    // With the place that `lazy` loses there are two for others.
    while (!EventReader(connect()).accepted()) {
    }
  }
  int events = 0;
  while (!lazy.next().empty()) ++events;
  EXPECT_LT(events, 1'002);
}

TEST_F(StatusEvents, EndWithTheServer) {
  ASSERT_TRUE(start());
  EventReader reader(connect());
  reader.next();
  reader.next();
  on_server([this] {
    server_->stop();
    server_->things_changed();
  });
  EXPECT_EQ(reader.next(), "");
}

}  // namespace
}  // namespace homeport::agent
