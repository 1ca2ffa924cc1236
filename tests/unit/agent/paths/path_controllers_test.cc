// What two hosts negotiate is what the datapath does.
#include "tests/unit/agent/paths/controlled_host.h"

namespace homeport::agent::test {
namespace {

using policy::TrafficClass;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::Le;
using testing::SizeIs;
using testing::UnorderedElementsAre;
using namespace std::chrono_literals;

std::string rule_of(const std::string& address) {
  return "ip rule list | grep -q 'from " + address + " lookup'";
}

class PathControllersTest : public ControlledHostTest {
 protected:
  /// Traffic to hostC goes by eth1 and its alias.
  Peer& settle(const ControlledAgent::Settings& settings = {}) {
    Peer& peer = add_peer("hostC", 9);
    start(settings);
    offer_two(peer, 9);
    wait_way(peer, "198.51.100.1", "198.51.100.9");
    wait([&] { return datapath.aliases(peer.vtep) == std::set{ip("198.51.100.9")}; }, "aliases");
    return peer;
  }
};

TEST_F(PathControllersTest, WhatIsAgreedIsProgrammed) {
  in_namespace([&] {
    Peer& peer = settle();
    EXPECT_THAT(known(), ElementsAre("hostC"));
    EXPECT_THAT(offered(), ElementsAre("eth0", "eth1"));
    wait_way(peer, "198.51.100.1", "198.51.100.9", TrafficClass::best_effort);
    EXPECT_TRUE(std::system(rule_of("198.51.100.1").c_str()) == 0);
    wait([&] { return agent->paths.snapshot("").peers.at(0).probes_answered > 1; }, "answers");
    const PathsSnapshot snapshot = agent->paths.snapshot("hostC");
    ASSERT_THAT(snapshot.peers, SizeIs(1));
    EXPECT_TRUE(snapshot.peers[0].connected);
    EXPECT_EQ(snapshot.peers[0].classes[0].path->local.interface, "eth1");
  });
}

// Of what it was told of only the datapath tells whether it is used (overlay::ProbeWire::used()).
TEST_F(PathControllersTest, WhatIsAgreedIsProgrammedAlsoWhereItIsTheUsualWay) {
  in_namespace([&] {
    Peer& peer = add_peer("hostC", 9);
    start();
    offer_two(peer, 9);
    carry(peer, "192.0.2.1", "192.0.2.9", 1ms);
    const overlay::ProbePair usual{ip("192.0.2.1"), ip("192.0.2.9")};
    wait([&] { return datapath.way(peer.vtep, TrafficClass::interactive) == usual; }, "the way");
  });
}

TEST_F(PathControllersTest, AnInterfaceWithoutCarrierIsLeftAndTakenAgain) {
  in_namespace([&] {
    Peer& peer = settle();
    const auto lost = std::chrono::steady_clock::now();
    overlay::set_link_up("peer1", false).value();
    wait([&] { return peer.ends_heard.size() == 1; }, "the peer to hear of it");
    EXPECT_LT(std::chrono::steady_clock::now() - lost, 1s) << "without waiting for the next look";
    EXPECT_EQ(peer.ends_heard.front().interface, "eth0");
    wait_way(peer, "192.0.2.1", "192.0.2.9");
    EXPECT_THAT(offered(), ElementsAre("eth0"));
    overlay::set_link_up("peer1", true).value();
    wait([&] { return peer.ends_heard.size() == 2; }, "the peer to hear of it");
    EXPECT_THAT(offered(), ElementsAre("eth0", "eth1"));
  });
}

TEST_F(PathControllersTest, AnInterfaceWhoseRouteGoesIsLeftAtOnce) {
  in_namespace([&] {
    Peer& peer = settle();
    const auto gone = std::chrono::steady_clock::now();
    ASSERT_EQ(std::system("ip route del 198.51.100.0/24 dev eth1"), 0);
    wait_way(peer, "192.0.2.1", "192.0.2.9");
    EXPECT_LT(std::chrono::steady_clock::now() - gone, 2s) << "without waiting for the next look";
  });
}

TEST_F(PathControllersTest, ChangesOfPathsAreToldOf) {
  in_namespace([&] {
    Peer& peer = settle();
    auto event = [&] {
      for (PathEvent& each : agent->paths.events()) {
        if (each.traffic == TrafficClass::interactive) return std::move(each);
      }
      return PathEvent();
    };
    wait([&] { return event().state == "agreed"; }, "the peer's agreement");
    EXPECT_EQ(event().peer, "hostC");
    EXPECT_EQ(event().to->local.interface, "eth1");
    EXPECT_TRUE(event().time);
    EXPECT_THAT(event().text, testing::StartsWith("interactive goes eth1 198.51.100.1 -> "));
    EXPECT_THAT(agent->paths.events(), SizeIs(3));
    const int told = std::exchange(agent->told, 0);
    EXPECT_GE(told, 3);
    overlay::set_link_up("peer1", false).value();
    wait_way(peer, "192.0.2.1", "192.0.2.9");
    EXPECT_GE(agent->told, 1);
    EXPECT_EQ(event().from->local.address, ip("198.51.100.1"));
    EXPECT_EQ(event().to->local.address, ip("192.0.2.1"));
    EXPECT_EQ(event().cause, policy::ChoiceCause::lost);
    agent->told = 0;
    server->transact(R"({"op":"delete","table":"Host","where":[["name","==","hostC"]]})");
    wait([&] { return agent->told > 0 && agent->paths.events().empty(); }, "the peer's end");
  });
}

TEST_F(PathControllersTest, WhereNoPathIsUsableTrafficGoesToTheVtep) {
  in_namespace([&] {
    Peer& peer = settle();
    carry_no_more(peer, "192.0.2.1", "192.0.2.9");
    carry_no_more(peer, "198.51.100.1", "198.51.100.9");
    wait_way(peer, "192.0.2.1", "192.0.2.9");
    wait(
        [&] {
          const auto snapshot = agent->paths.snapshot("");
          return !snapshot.peers.at(0).classes.at(0).path;
        },
        "no path");
    carry(peer, "198.51.100.1", "198.51.100.9", 2ms);
    wait_way(peer, "198.51.100.1", "198.51.100.9");
  });
}

TEST_F(PathControllersTest, LanesTakeThePathsThereAreAndMeasureThem) {
  in_namespace([&] {
    Peer& peer = settle();
    std::vector<migration::LanePath> paths;
    auto following = agent->paths.lane_paths().follow(
        "hostC", [&](auto changed) { paths = std::move(changed); });
    wait([&] { return paths.size() == 2; }, "both paths");
    carry_no_more(peer, "192.0.2.1", "192.0.2.9");
    wait([&] { return paths.size() == 1; }, "one of them");
    ASSERT_EQ(paths.size(), 1u);
    EXPECT_EQ(paths[0].local, ip("198.51.100.1"));
    EXPECT_EQ(paths[0].remote_interface, "eth1");

    const migration::LaneReport lane{
        .path = paths[0], .acknowledged = 2'500'000, .time = 250ms, .backlogged = true};
    following->lanes({lane});
    const auto measured = [&] {
      const PathsSnapshot snapshot = agent->paths.snapshot("hostC");
      for (const CandidateSnapshot& each : snapshot.peers.at(0).classes.at(0).ranked) {
        if (each.quality.out.bandwidth == 80'000'000) return true;
      }
      return false;
    };
    wait(measured, "the bandwidth to be known");
  });
}

TEST_F(PathControllersTest, AHostThatAMoveGoesToIsOneToHaveToDoWith) {
  in_namespace([&] {
    Peer& peer = peers.emplace_back(*io, authority, "hostD", "192.0.2.8");
    server->transact(
        fmt::format(R"({{"op":"insert","table":"Host","row":{{"name":"hostD","vteps":"192.0.2.8",)"
                    R"("control_endpoints":"127.0.0.1:{}"}}}})",
                    peer.server->port()));
    start();
    wait([&] { return agent->database.contents().hosts.contains("hostD"); }, "the host's row");
    EXPECT_THAT(known(), IsEmpty()) << "they have no application in common";
    std::vector<migration::LanePath> paths;
    auto following = agent->paths.lane_paths().follow(
        "hostD", [&](auto changed) { paths = std::move(changed); });
    offer_two(peer, 8);
    wait([&] { return paths.size() == 2; }, "the paths to it");
    EXPECT_THAT(known(), ElementsAre("hostD"));
  });
}

TEST_F(PathControllersTest, WhatManySayAtATimeIsProgrammedOnce) {
  in_namespace([&] {
    for (int number = 10; number < 16; ++number) add_peer(fmt::format("hostC{}", number), number);
    start();
    wait(
        [&] {
          return std::ranges::all_of(peers, [](const Peer& peer) { return peer.connected(); });
        },
        "all channels");
    const int before = datapath.applied;
    int number = 10;
    for (Peer& peer : peers) {
      const std::string other = fmt::format("198.51.100.{}", number++);
      peer.offer({policy::end_at(peer.vtep.to_string()), policy::end_at(other, "eth1")});
    }
    wait([&] { return datapath.state.aliases.size() == 6; }, "all aliases");
    EXPECT_THAT(datapath.applied - before, Le(2));
  });
}

TEST_F(PathControllersTest, ATenthOfTheTimeIsSpentOnAliasesAtMost) {
  in_namespace([&] {
    Peer& peer = settle();
    datapath.apply_takes = 20ms;
    auto offer = [&](const std::string& other) {
      peer.offer({policy::end_at("192.0.2.9"), policy::end_at(other, "eth1")});
    };
    auto programmed = [&](const std::string& other) {
      wait([&] { return datapath.aliases(peer.vtep) == std::set{ip(other)}; }, "the alias");
      return std::chrono::steady_clock::now();
    };
    offer("198.51.100.10");
    const auto first = programmed("198.51.100.10");
    offer("198.51.100.11");
    const auto second = programmed("198.51.100.11");
    EXPECT_GE(second - first, 200ms);

    // And if the peer says something else every 5 ms it is not put off for ever.
    const int before = datapath.applied;
    int number = 10;
    wait(
        [&] {
          number = number == 200 ? 10 : number + 1;
          offer(fmt::format("198.51.100.{}", number));
          return datapath.applied > before;
        },
        "any of the aliases");
    EXPECT_LT(std::chrono::steady_clock::now() - second, 2s);
  });
}

TEST_F(PathControllersTest, AnAgentThatStartsAgainGoesOnWithWhatIsInUse) {
  in_namespace([&] {
    Peer& peer = settle();
    agent.reset();
    EXPECT_EQ(datapath.underlay.wires, 0);
    peer.server.reset();  // its agent is not to be reached
    const int before = datapath.paths_set;
    start();
    wait([&] { return agent->network.programmed() && !known().empty(); }, "the peer");
    EXPECT_EQ(datapath.paths_set, before);
    EXPECT_EQ(datapath.aliases(peer.vtep), std::set{ip("198.51.100.9")});
    const PathsSnapshot snapshot = agent->paths.snapshot("");
    ASSERT_TRUE(snapshot.peers.at(0).classes.at(0).path);
    EXPECT_EQ(snapshot.peers[0].classes[0].path->local.address, ip("198.51.100.1"));
    EXPECT_EQ(snapshot.peers[0].classes[0].cause, policy::ChoiceCause::unchanged);
    EXPECT_EQ(datapath.way(peer.vtep, TrafficClass::interactive),
              (overlay::ProbePair{ip("198.51.100.1"), ip("198.51.100.9")}));
  });
}

TEST_F(PathControllersTest, WhatWasInUseByAnInterfaceThatIsGoneIsNot) {
  in_namespace([&] {
    Peer& peer = settle();
    agent.reset();
    peer.server.reset();
    overlay::delete_device("eth1").value();
    start();
    wait_way(peer, "192.0.2.1", "192.0.2.9");
    wait_way(peer, "192.0.2.1", "192.0.2.9", TrafficClass::bulk);
  });
}

TEST_F(PathControllersTest, WhatTheControllerAsksForIsHeeded) {
  in_namespace([&] {
    Peer& peer = settle();
    server->transact(R"({"op":"insert","table":"Path_Policy","row":)"
                     R"({"traffic_class":"interactive","forbidden":"hostA/eth1"}})");
    wait_way(peer, "192.0.2.1", "192.0.2.9");
    EXPECT_EQ(datapath.way(peer.vtep, TrafficClass::best_effort),
              (overlay::ProbePair{ip("198.51.100.1"), ip("198.51.100.9")}));
    server->transact(R"({"op":"delete","table":"Path_Policy","where":[]})");
    wait_way(peer, "198.51.100.1", "198.51.100.9");
  });
}

TEST_F(PathControllersTest, WhatTheControllerSaysOfAnInterfaceIsHeeded) {
  in_namespace([&] {
    Peer& peer = settle();
    const auto said = std::chrono::steady_clock::now();
    server->transact(R"({"op":"insert","table":"Interface","row":{"host":"hostA","name":"eth1",)"
                     R"("address":"198.51.100.1","state":"up","allowed":false}})");
    wait_way(peer, "192.0.2.1", "192.0.2.9");
    EXPECT_THAT(offered(), ElementsAre("eth0"));
    server->transact(
        R"({"op":"update","table":"Interface","where":[],"row":{"allowed":true,"label":"wan"}})");
    wait([&] { return peer.ends_heard.size() == 2 && !peer.ends_heard.back().labels.empty(); },
         "both ends, with what is said of them");
    EXPECT_THAT(peer.ends_heard.back().labels, ElementsAre("wan"));
    EXPECT_LT(std::chrono::steady_clock::now() - said, 3s) << "without waiting for the next look";
  });
}

TEST_F(PathControllersTest, WhereAPeerIsToBeReachedMayChange) {
  in_namespace([&] {
    Peer& peer = add_peer("hostC", 9);
    const std::string update = R"({"op":"update","table":"Host","where":[["name","==","hostC"]],)";
    server->transact(update + R"("row":{"control_endpoints":"127.0.0.1:1"}})");
    start();
    wait([&] { return agent->network.programmed() && !known().empty(); }, "the peer");
    const auto moved = std::chrono::steady_clock::now();
    server->transact(update + fmt::format(R"("row":{{"control_endpoints":"127.0.0.1:{}"}}}})",
                                          peer.server->port()));
    wait([&] { return peer.connected(); }, "the channel");
    EXPECT_LT(std::chrono::steady_clock::now() - moved, 3s) << "without waiting for the next look";
  });
}

TEST_F(PathControllersTest, AHostThatLeavesTheDatabaseIsForgotten) {
  in_namespace([&] {
    Peer& peer = settle();
    server->transact(R"({"op":"delete","table":"Host","where":[["name","==","hostC"]]})");
    wait([&] { return known().empty() && !peer.connected(); }, "it to be forgotten");
    wait([&] { return datapath.state.aliases.empty() && datapath.state.paths.empty(); },
         "nothing of it to be programmed");
    EXPECT_THAT(agent->network.ways(), IsEmpty());
  });
}

TEST_F(PathControllersTest, AHostWithNothingInCommonIsKeptForAWhileOnly) {
  in_namespace([&] {
    Peer& peer = settle({.linger = 0s});
    // Something that is no matter of this host's.
    Peer& other = add_peer("hostD", 10);
    wait([&] { return other.connected(); }, "the other");
    const auto comes_here = [&](const std::string& name) {
      server->transact(R"({"op":"update","table":"Binding","where":[["name","==","app-)" + name +
                       R"("]],"row":{"location":"hostA","generation":2}})");
    };
    comes_here("hostC");
    wait([&] { return known() == std::vector<std::string>{"hostD"} && !peer.connected(); },
         "it to be left");
    wait([&] { return datapath.way(peer.vtep, TrafficClass::interactive) == std::nullopt; },
         "its ways to go");
    start();  // which lingers
    wait([&] { return agent->network.programmed() && !known().empty(); }, "the peer");
    comes_here("hostD");
    wait([&] { return agent->network.neighbors().empty(); }, "the move");
    EXPECT_THAT(known(), ElementsAre("hostD"));
  });
}

TEST_F(PathControllersTest, WhoeverCallsIsAPeer) {
  in_namespace([&] {
    start();
    wait([&] { return agent->network.programmed(); }, "the database");
    server->transact(
        R"({"op":"insert","table":"Host","row":{"name":"hostZ","vteps":"192.0.2.26"}})");
    wait([&] { return agent->database.hosts().contains("hostZ"); }, "its row");
    EXPECT_THAT(known(), IsEmpty());
    overlay::TlsContext own = authority.context("hostA");
    auto listener =
        overlay::ChannelServer::listen(
            io->get_executor(), own, {.listen = {{asio::ip::address_v4::loopback(), 0}}},
            overlay::anyone(),
            [&](overlay::Channel channel) { return agent->paths.serve(std::move(channel)); })
            .value();
    std::optional<overlay::Channel> channel;
    asio::co_spawn(
        *io,
        [&]() -> asio::awaitable<void> {
          overlay::ConnectOptions options;
          options.endpoint = listener->endpoints().front();
          options.expected_host = "hostA";
          options.session = kPathsSession;
          auto made =
              co_await overlay::connect(authority.context("hostZ"), options, overlay::anyone());
          channel = std::move(made.value());
        },
        asio::detached);
    wait([&] { return known() == std::vector<std::string>{"hostZ"}; }, "the caller");
    listener.reset();
  });
}

TEST_F(PathControllersTest, WhoHasNothingToDoSleeps) {
  in_namespace([&] {
    settle();
    // Handlers, each of which the agent has been woken for.
    std::size_t handled = 0;
    const auto begun = std::chrono::steady_clock::now();
    while (std::chrono::steady_clock::now() - begun < 500ms) {
      io->restart();
      handled += io->run_one_for(10ms);
    }
    EXPECT_LT(handled, 1000u) << "carriers, probes and measurements are some 300 a second";
  });
}

TEST_F(PathControllersTest, WhatIsNoMatterOfPathsCostsNothing) {
  in_namespace([&] {
    settle();
    const auto remove_rule = [] { ASSERT_EQ(std::system("ip rule del from 198.51.100.1"), 0); };
    const auto has_rule = [] { return std::system(rule_of("198.51.100.1").c_str()) == 0; };
    // By hand, which the next look at the kernel mends; a change of the database does not look.
    bool mended = true;
    for (int attempt = 0; attempt < 10 && mended; ++attempt) {
      remove_rule();
      wait(has_rule, "it to be mended");
      // Just after a look: the next is a second away, as a rule that goes is news. But there is one
      // every five seconds too, and on a busy machine what follows takes longer than that second.
      remove_rule();
      const int before = agent->changes;
      server->transact(
          fmt::format(R"({{"op":"insert","table":"Policy","row":{{"name":"fast{}"}}}})", attempt));
      wait([&] { return agent->changes > before; }, "the change");
      mended = has_rule();
    }
    EXPECT_FALSE(mended) << "at each of ten changes";
  });
}

}  // namespace
}  // namespace homeport::agent::test
