// Two hosts, or more, on channels over the loopback device.
#include "agent/paths/path_channels.h"

#include "agent/paths/paths.pb.h"
#include "overlay/negotiation/codec.h"
#include "tests/unit/overlay/channel/test_peers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <map>
#include <optional>

namespace homeport::agent {
namespace {

namespace asio = boost::asio;
using overlay::Channel;
using overlay::PathStatement;
using testing::ElementsAre;
using testing::Gt;
using testing::IsEmpty;
using testing::SizeIs;
using namespace std::chrono_literals;
using std::chrono::steady_clock;

class PathChannelsTest : public testing::Test {
 protected:
  /// A host that listens at two addresses.
  struct Node {
    Node(PathChannelsTest& of, const std::string& named)
        : test(of), name(named), tls(of.authority.context(named)) {
      const asio::ip::tcp::endpoint any(asio::ip::address_v4::loopback(), 0);
      server = overlay::ChannelServer::listen(test.io.get_executor(), tls, {.listen = {any, any}},
                                              overlay::anyone(),
                                              [this](Channel channel) -> asio::awaitable<void> {
                                                ++served;
                                                session = channel.session();
                                                if (!channels) return close(std::move(channel));
                                                return channels->serve(std::move(channel));
                                              })
                   .value();
      test.endpoints[name] = server->endpoints();
      start();
    }

    void start() {
      channels.emplace(PathChannels::Context{
          .executor = test.io.get_executor(),
          .host = name,
          .tls = tls,
          .peer_check = overlay::anyone(),
          .timeouts = {},
          .others_turn = test.others_turn,
          .endpoints_of = [this](const std::string& host) { return test.endpoints[host]; },
          .connected = [this](const std::string& peer) { ++connected[peer]; },
          .disconnected = [this](const std::string& peer) { ++disconnected[peer]; },
          .heard = [this](const std::string& peer,
                          PathStatement said) { heard.emplace_back(peer, said.id.revision); },
          .heard_of_relaying =
              [this](const std::string& peer, overlay::RelayStatement said) {
                heard_of_relaying.emplace_back(peer, said.id.revision);
              }});
    }
    /// Without an agent that understands it.
    asio::awaitable<void> close(Channel channel) {
      closed.push_back(steady_clock::now());
      channel.close();
      co_return;
    }

    PathChannelsTest& test;
    std::string name;
    overlay::TlsContext tls;
    std::optional<PathChannels> channels;
    std::unique_ptr<overlay::ChannelServer> server;
    int served = 0;
    std::string session;
    std::map<std::string, int> connected, disconnected;
    std::vector<std::pair<std::string, std::uint64_t>> heard, heard_of_relaying;
    std::vector<steady_clock::time_point> closed;
  };

  void wait(const std::function<bool()>& holds) {
    const auto deadline = steady_clock::now() + 20s;
    while (!holds() && steady_clock::now() < deadline) {
      io.restart();
      io.run_one_for(50ms);
    }
    ASSERT_TRUE(holds()) << "in time";
  }

  static PathStatement statement(std::uint64_t revision) { return {.id = {1, revision}}; }

  /// A channel from `from` to the first endpoint of `to`, of which the test does everything itself.
  Channel call(Node& from, Node& to) {
    std::optional<Channel> made;
    asio::co_spawn(
        io,
        [&]() -> asio::awaitable<void> {
          overlay::ConnectOptions options;
          options.endpoint = endpoints[to.name].front();
          options.expected_host = to.name;
          options.session = kPathsSession;
          auto channel = co_await overlay::connect(from.tls, options, overlay::anyone());
          made = std::move(channel.value());
        },
        asio::detached);
    wait([&] { return made.has_value(); });
    return std::move(*made);
  }
  /// Waits until the peer has closed it.
  void wait_closed(Channel& channel) {
    bool closed = false;
    asio::co_spawn(
        io,
        [&]() -> asio::awaitable<void> {
          while (true) {
            auto said = co_await channel.receive<PathsSaid>();
            if (!said) break;
          }
          closed = true;
        },
        asio::detached);
    wait([&] { return closed; });
  }
  void send(Channel& channel, const std::string& bytes) {
    bool sent = false;
    asio::co_spawn(
        io,
        [&]() -> asio::awaitable<void> {
          PathsSaid said;
          said.set_statement(bytes);
          (co_await channel.send(said)).value();
          sent = true;
        },
        asio::detached);
    wait([&] { return sent; });
  }
  /// Both want each other, and have all channels.
  void connect(Node& a, Node& b) {
    a.channels->follow({b.name});
    b.channels->follow({a.name});
    wait([&] { return a.connected[b.name] == 2 && b.connected[a.name] == 2; });
  }

  /// Longer than a busy machine takes for the first to connect.
  std::chrono::milliseconds others_turn = 2s;
  asio::io_context io{1};
  overlay::Authority authority;
  std::map<std::string, std::vector<Endpoint>> endpoints;
};

TEST_F(PathChannelsTest, TheHostWhoseNameSortsFirstConnectsToEachEndpoint) {
  Node a(*this, "hostA"), b(*this, "hostB");
  EXPECT_FALSE(a.channels->connected("hostB"));
  connect(a, b);
  EXPECT_TRUE(a.channels->connected("hostB"));
  EXPECT_TRUE(b.channels->connected("hostA"));
  EXPECT_FALSE(a.channels->called_by("hostB"));
  EXPECT_TRUE(b.channels->called_by("hostA"));
  EXPECT_EQ(a.served, 0);
  EXPECT_EQ(b.session, kPathsSession);
  a.channels->follow({"hostB"});  // again
  endpoints["hostA"].clear();     // of no interest to it
  b.channels->follow({"hostA"});
  Node other(*this, "hostZ");
  const Channel later = call(other, b);
  wait([&] { return b.connected["hostZ"] == 1; });
  a.channels->say("hostB", statement(1));
  wait([&] { return b.heard.size() == 2; });
  EXPECT_EQ(b.served, 3) << "one to each, and the later one";
}

TEST_F(PathChannelsTest, TheOtherConnectsWhereTheFirstDoesNot) {
  others_turn = 200ms;
  Node a(*this, "hostA"), b(*this, "hostB");
  const auto begun = steady_clock::now();
  b.channels->follow({"hostA"});
  wait([&] { return a.connected["hostB"] == 2 && b.connected["hostA"] == 2; });
  EXPECT_GE(steady_clock::now() - begun, others_turn);
  EXPECT_TRUE(a.channels->called_by("hostB"));
}

TEST_F(PathChannelsTest, OfWhatWaitsTheLastIsSaidOnEachChannel) {
  Node a(*this, "hostA"), b(*this, "hostB");
  connect(a, b);
  for (std::uint64_t revision : {1u, 2u, 3u}) a.channels->say("hostB", statement(revision));
  b.channels->say("hostA", statement(7));
  b.channels->say("hostC", statement(8));  // to nobody
  wait([&] { return b.heard.size() >= 2 && a.heard.size() >= 2; });
  EXPECT_THAT(b.heard, ElementsAre(std::pair("hostA", 3u), std::pair("hostA", 3u)));
  EXPECT_THAT(a.heard, ElementsAre(std::pair("hostB", 7u), std::pair("hostB", 7u)));
}

TEST_F(PathChannelsTest, WhatIsSaidOfRelayingGoesBesideWhatIsSaidOfPaths) {
  Node a(*this, "hostA"), b(*this, "hostB");
  connect(a, b);
  a.channels->say("hostB", statement(1));
  for (std::uint64_t revision : {1u, 2u}) {
    a.channels->say("hostB", overlay::RelayStatement{.id = {1, revision}});
  }
  wait([&] { return b.heard.size() >= 2 && b.heard_of_relaying.size() >= 2; });
  EXPECT_THAT(b.heard, ElementsAre(std::pair("hostA", 1u), std::pair("hostA", 1u)));
  EXPECT_THAT(b.heard_of_relaying, ElementsAre(std::pair("hostA", 2u), std::pair("hostA", 2u)));
  a.channels->say("hostB", overlay::RelayStatement{.id = {1, 3}});  // alone
  wait([&] { return b.heard_of_relaying.size() == 4; });
  EXPECT_THAT(b.heard, SizeIs(2));
  a.channels->say("hostB", overlay::RelayStatement{});  // of no epoch
  wait([&] { return b.disconnected["hostA"] > 0; });
}

TEST_F(PathChannelsTest, WhatCannotBeUnderstoodClosesTheChannel) {
  Node b(*this, "hostB"), c(*this, "hostC");
  Channel good = call(c, b), bad = call(c, b);
  wait([&] { return b.connected["hostC"] == 2; });
  send(bad, "\xff\xff");
  wait_closed(bad);
  EXPECT_TRUE(b.channels->connected("hostC")) << "by the other one";
  EXPECT_EQ(b.disconnected["hostC"], 0);
  send(good, overlay::encode(statement(4)));
  wait([&] { return !b.heard.empty(); });
  EXPECT_THAT(b.heard, ElementsAre(std::pair("hostC", 4u)));
  send(good, overlay::encode(PathStatement{}));  // of no epoch
  wait_closed(good);
  EXPECT_FALSE(b.channels->connected("hostC"));
  EXPECT_EQ(b.disconnected["hostC"], 1);
  EXPECT_THAT(b.heard, SizeIs(1));
}

TEST_F(PathChannelsTest, OneTooManyTakesThePlaceOfTheOldest) {
  Node b(*this, "hostB"), c(*this, "hostC");
  std::vector<Channel> channels;
  for (std::size_t i = 0; i <= PathChannels::kMostChannels; ++i) {
    channels.push_back(call(c, b));
    wait([&] { return b.connected["hostC"] == static_cast<int>(i + 1); });
  }
  wait_closed(channels.front());
  send(channels.back(), overlay::encode(statement(1)));
  send(channels[1], overlay::encode(statement(2)));
  wait([&] { return b.heard.size() == 2; });
  EXPECT_EQ(b.disconnected["hostC"], 0);
  channels.clear();
  wait([&] { return b.disconnected["hostC"] == 1; });
  EXPECT_FALSE(b.channels->connected("hostC"));
}

TEST_F(PathChannelsTest, ConnectsAgainAfterALoss) {
  Node a(*this, "hostA"), b(*this, "hostB");
  connect(a, b);
  b.channels.reset();  // its agent is started again
  wait([&] { return a.disconnected["hostB"] == 1; });
  EXPECT_FALSE(a.channels->connected("hostB"));
  EXPECT_EQ(b.disconnected["hostA"], 0) << "there is nobody to be told";
  b.start();
  wait([&] { return a.connected["hostB"] == 4 && b.connected["hostA"] == 4; });
  b.channels->say("hostA", statement(1));
  wait([&] { return a.heard.size() == 2; });
}

TEST_F(PathChannelsTest, WhoIsNotWantedAnyMoreIsLeftInPeace) {
  Node a(*this, "hostA"), b(*this, "hostB");
  connect(a, b);
  b.channels->follow({});
  a.channels->follow({});
  wait([&] { return b.disconnected["hostA"] == 1 && a.disconnected["hostB"] == 1; });
  a.server.reset();
  b.server.reset();
  io.restart();
  io.run_for(20s);
  EXPECT_TRUE(io.stopped()) << "nobody waits to try again";
  EXPECT_EQ(b.served, 2);
}

TEST_F(PathChannelsTest, WhoCallsIsServedWhetherWantedOrNot) {
  Node b(*this, "hostB"), c(*this, "hostC");
  Channel channel = call(c, b);
  wait([&] { return b.channels->connected("hostC"); });
  b.channels->follow({});
  send(channel, overlay::encode(statement(1)));
  wait([&] { return !b.heard.empty(); });
  EXPECT_TRUE(b.channels->called_by("hostC"));
}

TEST_F(PathChannelsTest, EndpointsComeAndGo) {
  Node a(*this, "hostA"), b(*this, "hostB");
  const std::vector<Endpoint> both = endpoints["hostB"];
  endpoints["hostB"] = {both.front()};
  a.channels->follow({"hostB"});
  wait([&] { return a.connected["hostB"] == 1; });
  endpoints["hostB"] = both;
  a.channels->follow({"hostB"});
  wait([&] { return a.connected["hostB"] == 2; });
  // What stands is kept; what breaks is not connected again where the host does not listen.
  endpoints["hostB"] = {both.back()};
  b.channels.reset();
  wait([&] { return a.disconnected["hostB"] == 1; });
  b.start();
  wait([&] { return a.connected["hostB"] == 3; });
  a.server.reset();
  b.server.reset();
  b.channels.reset();
  endpoints["hostB"].clear();
  io.restart();
  io.run_for(20s);
  EXPECT_TRUE(io.stopped());
  EXPECT_EQ(a.connected["hostB"], 3);
}

TEST_F(PathChannelsTest, WhoClosesAtOnceIsCalledLessAndLessOften) {
  Node a(*this, "hostA"), b(*this, "hostB");
  b.channels.reset();
  endpoints["hostB"].pop_back();
  a.channels->follow({"hostB"});
  wait([&] { return b.closed.size() == 3; });
  EXPECT_THAT(b.closed[2] - b.closed[1], Gt(350ms));
}

TEST_F(PathChannelsTest, EndsWithNobodyToldOfIt) {
  Node a(*this, "hostA"), b(*this, "hostB");
  connect(a, b);
  a.channels.reset();
  wait([&] { return b.disconnected["hostA"] == 1; });
  a.server.reset();
  b.server.reset();
  b.channels.reset();
  io.restart();
  io.run_for(20s);
  EXPECT_TRUE(io.stopped()) << "no coroutine is left";
  EXPECT_THAT(a.disconnected, IsEmpty());
}

}  // namespace
}  // namespace homeport::agent
