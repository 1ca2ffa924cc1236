// homeport path list, show and explain: the pages, and the commands against a status server.
#include "agent/cli/path_view.h"
#include "agent/status/path_json.h"
#include "agent/status/server.h"
#include "tests/unit/agent/cli/run_command.h"
#include "tests/unit/agent/status/fixed_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/json.hpp>

#include <filesystem>
#include <thread>

namespace homeport::agent {
namespace {

namespace json = boost::json;
using testing::HasSubstr;
using testing::Not;

const StatusModel kModel = test::fixed_model();

/// Of hostB.
json::value detail(const PeerPathsSnapshot& peer = kModel.paths.peers.front()) {
  return peer_paths_json("hostA", kModel.paths, peer);
}

TEST(PathListOf, IsATableWhichIPv6FitsInto) {
  json::array peers;
  for (const PeerPathsSnapshot& peer : kModel.paths.peers) peers.emplace_back(to_json(peer));
  EXPECT_EQ(
      *path_list(json::object{{"relaying", to_json(RelayingSnapshot())}, {"peers", peers}}),
      R"(PEER   CLASS        FROM                                      TO                                                     RTT      LOSS  STATE                SINCE                 PATHS
hostB  interactive  eth1 2001:db8:aaaa:bbbb:cccc:dddd:1111:1  enp130s0f1np1 2001:db8:aaaa:bbbb:cccc:dddd:2222:2  1.25 ms     2.0 %  agreed               2026-01-01 00:00:28Z  1 good, 1 damped
hostB  default      eth0 192.0.2.1                            eth0 198.51.100.2                                  30.0 ms  < 0.01 %  nominated            2026-01-01 00:01:26Z  1 damped
hostB  bulk         -                                         -                                                        -         -  idle                 -                     -
hostC  interactive  -                                         -                                                        -         -  idle, not connected  -                     -
hostC  default      -                                         -                                                        -         -  idle, not connected  -                     -
hostC  bulk         -                                         -                                                        -         -  idle, not connected  -                     -
)");
}

TEST(PathListOf, SaysWhenThereIsNothingToList) {
  EXPECT_EQ(
      *path_list(json::object{{"relaying", to_json(RelayingSnapshot())}, {"peers", json::array()}}),
      "Nothing to choose: no other host has an application in common with this one, or all "
      "have one interface and none relays.\n");
}

TEST(PathListOf, SaysForWhomThisHostRelays) {
  const auto list = [](RelayingSnapshot relaying) {
    return *path_list(json::object{{"relaying", to_json(relaying)}, {"peers", json::array()}});
  };
  EXPECT_THAT(list({1, 1}), testing::EndsWith("Relays for 1 host, by 1 label.\n"));
  EXPECT_THAT(list({2, 12}), testing::EndsWith("Relays for 2 hosts, by 12 labels.\n"));
}

TEST(PathPageOf, HasEveryPathInItsPlace) {
  EXPECT_EQ(*path_page(detail()), R"(Paths from hostA to hostB: hostA nominates, hostB follows.
The agent of hostB is connected since 2026-01-01 00:00:08Z.
990 of 1000 probes were answered.

interactive: agreed, since 2026-01-01 00:00:28Z (better)
    FROM                                      TO                                                     RTT  VARIATION  LOSS OUT  LOSS IN   BANDWIDTH   MTU     AGE  COUNTS AS  STANDING
1*  eth1 2001:db8:aaaa:bbbb:cccc:dddd:1111:1  enp130s0f1np1 2001:db8:aaaa:bbbb:cccc:dddd:2222:2  1.25 ms    0.12 ms       0 %    2.0 %  940 Mbit/s  1500  120 ms    22.0 ms  good
2   eth0 192.0.2.1                            eth0 198.51.100.2                                  30.0 ms    3.00 ms         -      0 %  940 Mbit/s  1500  2.00 s    40.0 ms  damped until 2026-01-01 00:01:58Z
3   eth0 192.0.2.1                            198.51.100.3 through hostC                               -          -         -   broken           -     -       -          -  excluded: too-costly

default: nominated, since 2026-01-01 00:01:26Z (lost); the peer uses eth0 192.0.2.1 -> 198.51.100.3 through hostC
    FROM            TO                     RTT  VARIATION  LOSS OUT  LOSS IN   BANDWIDTH   MTU     AGE  COUNTS AS  STANDING
1*  eth0 192.0.2.1  eth0 198.51.100.2  30.0 ms    3.00 ms         -      0 %  940 Mbit/s  1500  2.00 s    40.0 ms  damped until 2026-01-01 00:01:58Z

bulk: idle
No path is offered by both.

hostA has:
INTERFACE  ADDRESS                                    SPEED   MTU  COST  LABELS      DEFAULT ROUTE  OFFERED
eth0       192.0.2.1                            10.0 Gbit/s  1500     3  fiber, wan  yes            yes
eth1       2001:db8:aaaa:bbbb:cccc:dddd:1111:1            -     -     0  -           no             yes
wlan0      -                                              -     -     0  -           no             no: it has no address

hostB offers:
INTERFACE  ADDRESS            SPEED   MTU  COST  LABELS  DEFAULT ROUTE  OFFERED
eth0       198.51.100.2  1.0 Gbit/s  9000     0  -       no             yes

The last changes:
2026-01-01 00:00:18Z  bulk goes eth0 192.0.2.1 -> eth0 198.51.100.2: there was none before.
2026-01-01 00:01:26Z  bulk no longer goes eth0 192.0.2.1 -> eth0 198.51.100.2: that carries nothing in either direction, and no other can be used.
)");
}

TEST(PathPageOf, SaysWhatTheOtherHostUsesInstead) {
  PeerPathsSnapshot peer = kModel.paths.peers.front();
  peer.role = "following";
  peer.connected = false;
  const std::string page = *path_page(detail(peer));
  EXPECT_THAT(page, HasSubstr("Paths from hostA to hostB: hostB nominates, hostA follows.\n"));
  EXPECT_THAT(page, HasSubstr("The agent of hostB is not connected since "));
  EXPECT_THAT(page, HasSubstr("; the peer uses eth0 192.0.2.1 -> 198.51.100.3 through hostC\n"));
  const std::string nothing = *path_page(detail(kModel.paths.peers.back()));
  EXPECT_THAT(nothing, HasSubstr("The agent of hostC is not connected.\n"));
  EXPECT_THAT(nothing, HasSubstr("interactive: idle\nNo path is offered by both.\n"));
  EXPECT_THAT(nothing, HasSubstr("hostC offers:\nNo interface.\n"));
  EXPECT_THAT(nothing, Not(HasSubstr("The last changes")));
}

TEST(PathExplanationOf, IsInWords) {
  EXPECT_EQ(*path_explanation(detail(), "interactive"),
            R"(interactive: agreed, since 2026-01-01 00:00:28Z (better)
  interactive goes eth1 -> enp130s0f1np1: it was better than the one before.
  It comes first: an exchange counts as 22.0 ms, with the second as 40.0 ms.
  eth0 192.0.2.1 -> eth0 198.51.100.2:
    It is damped: it has failed too often lately.
    It would have to stay up until it is no longer damped.
  eth0 192.0.2.1 -> 198.51.100.3 through hostC:
    It is excluded: it costs 30, and 20 is the most allowed.
    Its ends would have to cost 20 at most, or the controller to allow 30.
)");
  const std::string all = *path_explanation(detail(), "");
  EXPECT_THAT(all, HasSubstr("through hostC\n  default goes eth0 -> eth0.\n"));
  EXPECT_THAT(all, HasSubstr("\n\nbulk: idle\n  bulk has no path: none can be used.\n"));
}

TEST(PathPageOf, HoldsNothingThatATerminalWouldObey) {
  PeerPathsSnapshot peer = kModel.paths.peers.front();
  peer.ends.front().end.interface = "e\x1b[2J";
  peer.classes.front().ranked.at(1).why = "\x1b]0;title\x07";
  peer.recent.front().text = "\x1b[2J";
  EXPECT_THAT(*path_page(detail(peer)), Not(HasSubstr("\x1b")));
  EXPECT_THAT(*path_explanation(detail(peer), ""), Not(HasSubstr("\x1b")));
}

TEST(PathPageOf, RefusesWhatIsNotThat) {
  EXPECT_FALSE(path_list({}));
  EXPECT_FALSE(path_list(json::object{{"peers", 3}}));
  EXPECT_FALSE(path_page(json::object{{"host", "hostA"}}));
  auto refused = path_explanation(json::object{{"classes", json::array{1}}}, "");
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("of one version, or --json"));
}

class PathCommand : public testing::Test {
 protected:
  void SetUp() override {
    char directory[] = "/tmp/homeport-path-XXXXXX";
    ASSERT_NE(mkdtemp(directory), nullptr);
    directory_ = directory;
    agent_ = "unix:" + directory_ + "/status.sock";
    server_ = StatusServer::start(
                  context_.get_executor(), {.listen = {agent_}},
                  [this](const StatusWanted&) { return model_; },
                  [](auto) -> boost::asio::awaitable<policy::Result<json::object>> {
                    co_return json::object{};
                  })
                  .value();
    thread_ = std::thread([this] { context_.run(); });
  }

  void TearDown() override {
    boost::asio::post(context_, [this] { server_.reset(); });
    thread_.join();
    std::filesystem::remove_all(directory_);
  }

  test::Ran run(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "path");
    arguments.insert(arguments.end(), {"--agent", agent_});
    return test::run_command(arguments);
  }

  StatusModel model_ = kModel;  ///< Between two commands only: the server's thread reads it.
  boost::asio::io_context context_{1};
  std::string directory_, agent_;
  std::unique_ptr<StatusServer> server_;
  std::thread thread_;
};

TEST_F(PathCommand, ListsShowsAndExplains) {
  auto list = run({"list"});
  EXPECT_EQ(list.code, 0) << list.err;
  EXPECT_THAT(list.out, HasSubstr("\nhostB  interactive  eth1 2001:db8:"));
  auto show = run({"show", "hostB"});
  EXPECT_EQ(show.code, 0) << show.err;
  EXPECT_EQ(show.out, *path_page(detail()));
  auto explain = run({"explain", "hostB", "--class", "bulk"});
  EXPECT_EQ(explain.code, 0) << explain.err;
  EXPECT_EQ(explain.out, "bulk: idle\n  bulk has no path: none can be used.\n");
}

TEST_F(PathCommand, PassesJsonOn) {
  EXPECT_EQ(run({"list", "--json"}).json().at_pointer("/peers/1/peer"), "hostC");
  EXPECT_EQ(run({"show", "hostB", "--json"}).json(), detail());
  EXPECT_EQ(run({"explain", "hostB", "--json"}).json(), detail());
}

TEST_F(PathCommand, FollowsThePagesOfALargeFleet) {
  for (int i = 0; i < 2'100; ++i) {
    model_.paths.peers.push_back(kModel.paths.peers.back());
    model_.paths.peers.back().peer = "name " + std::to_string(10'000 + i);
  }
  const json::value all = run({"list", "--json"}).json();
  EXPECT_EQ(all.at("peers").as_array().size(), 2'102u);
  EXPECT_EQ(all.at("peers").as_array().back().at("peer"), "name 12099");
  EXPECT_TRUE(all.at("next").is_null());
}

TEST_F(PathCommand, SaysWhereToLookForAnUnknownHost) {
  auto ran = run({"show", "host/x"});
  EXPECT_EQ(ran.code, 1);
  EXPECT_THAT(ran.err, HasSubstr("/v1/paths lists those it does with"));
}

TEST_F(PathCommand, RefusesWrongUsage) {
  for (const std::vector<std::string>& wrong : {std::vector<std::string>{},
                                                {"show"},
                                                {"explain"},
                                                {"explain", "hostB", "--class", "video"},
                                                {"show", ""}}) {
    EXPECT_EQ(run(wrong).code, 2);
  }
}

}  // namespace
}  // namespace homeport::agent
