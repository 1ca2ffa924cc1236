#include "overlay/ovsdb/leader_first.h"

#include "tests/unit/overlay/ovsdb/observer.h"
#include "tests/unit/overlay/ovsdb/test_server.h"

#include <gtest/gtest.h>

#include <random>
#include <set>

namespace homeport::overlay::ovsdb {

namespace asio = boost::asio;
using namespace std::chrono_literals;

namespace {

constexpr LeaderFirst::Time kStart{1h};

TEST(LeaderFirst, OfOneServerThereIsNoChoice) {
  LeaderFirst server(false, kStart, 1);
  EXPECT_FALSE(server.leader_only());
  server.look(false, kStart + 1h);
  EXPECT_FALSE(server.leader_only());
  EXPECT_EQ(server.again(), LeaderFirst::Time::max());
}

TEST(LeaderFirst, LeaderThatIsFoundIsKept) {
  LeaderFirst server(true, kStart, 1);
  EXPECT_TRUE(server.leader_only());
  server.look(true, kStart + 1s);
  EXPECT_TRUE(server.leader_only());
  EXPECT_EQ(server.again(), LeaderFirst::Time::max());
}

TEST(LeaderFirst, WithoutOneAnyServes) {
  LeaderFirst server(true, kStart, 1);
  const auto patience = server.again();
  server.look(false, patience - 1ms);
  EXPECT_TRUE(server.leader_only());
  server.look(false, patience);
  EXPECT_FALSE(server.leader_only());
  server.look(true, patience + 1s);
  EXPECT_FALSE(server.leader_only());
}

TEST(LeaderFirst, LeaderIsLookedForAgainWhenTheSessionBreaks) {
  LeaderFirst server(true, kStart, 1);
  server.look(false, server.again());
  server.look(true, kStart + 10s);
  server.look(false, kStart + 20s);
  EXPECT_TRUE(server.leader_only());
  EXPECT_EQ(server.again(), kStart + 20s + LeaderFirst::kPatience);
}

TEST(LeaderFirst, IsLookedForAgainMoreAndMoreSeldom) {
  LeaderFirst server(true, kStart, 1);
  auto now = kStart;
  for (auto wait = LeaderFirst::kFirstWait; wait <= LeaderFirst::kLongestWait; wait *= 2) {
    now = server.again();
    server.look(false, now);
    server.look(true, now);
    EXPECT_FALSE(server.leader_only());
    EXPECT_GE(server.again(), now + wait);
    EXPECT_LE(server.again(), now + 2 * wait);
    now = server.again();
    server.look(true, now);
    EXPECT_TRUE(server.leader_only());
    server.look(false, now);
  }
}

TEST(LeaderFirst, FleetDoesNotComeBackAtOnce) {
  std::set<LeaderFirst::Time> moments;
  std::mt19937 seeds(1);
  for (int i = 0; i < 100; ++i) {
    LeaderFirst server(true, kStart, seeds());
    server.look(false, server.again());
    server.look(true, kStart + 10s);
    moments.insert(server.again());
  }
  EXPECT_GT(moments.size(), 90u);
}

/// How many sessions a server has beside that by which it is asked.
bool serves(const test::ServerProcess& server) {
  return server.tell({"memory/show"}).find("sessions:1") != std::string::npos;
}

class LeaderTest : public testing::Test {
 protected:
  asio::io_context io;
};

TEST_F(LeaderTest, SessionKeepsToTheServerThatLeads) {
  test::TestCluster cluster;
  Observer observer(io, cluster.remotes());
  test::run(io, [&]() -> asio::awaitable<void> {
    auto synced = co_await observer.session.wait_synced(10s);
    EXPECT_TRUE(synced);
    test::ServerProcess& first = cluster.leader();
    EXPECT_TRUE(serves(first));
    first.tell({"cluster/failure-test", "transfer-leadership"});
    co_await observer.changed.wait([&] { return !observer.states.back(); });
    co_await observer.changed.wait([&] { return observer.states.back(); });
    EXPECT_TRUE(serves(cluster.leader()));
  }());
}

TEST_F(LeaderTest, AnotherServesWhenTheOneThatLeadsFails) {
  test::TestCluster cluster;
  Observer observer(io, cluster.remotes());
  test::run(io, [&]() -> asio::awaitable<void> {
    auto synced = co_await observer.session.wait_synced(10s);
    EXPECT_TRUE(synced);
    cluster.leader().kill();
    co_await observer.changed.wait([&] { return !observer.states.back(); });
    co_await observer.changed.wait([&] { return observer.states.back(); });
    auto written = co_await observer.session.transact(insert(storage("after it has failed")));
    EXPECT_TRUE(written && written->outcome == Outcome::committed);
  }());
}

TEST_F(LeaderTest, RelaysServe) {
  test::TestServer server;
  test::TemporaryDirectory one, two;
  const std::string source = "relay:Homeport:" + server.remote();
  test::ServerProcess relay(one.path(), source), other(two.path(), source);
  Observer observer(io, relay.remote() + "," + other.remote());
  test::run(io, [&]() -> asio::awaitable<void> {
    auto synced = co_await observer.session.wait_synced(LeaderFirst::kPatience + 10s);
    EXPECT_TRUE(synced);
    auto written = co_await observer.session.transact(insert(storage("through a relay")));
    EXPECT_TRUE(written && written->outcome == Outcome::committed);
  }());
}

}  // namespace

}  // namespace homeport::overlay::ovsdb
