// Paths through a host that relays: hostA as one end of them, and as the host that relays.
#include "tests/unit/agent/paths/controlled_host.h"

namespace homeport::agent::test {
namespace {

using policy::TrafficClass;
using testing::ElementsAre;
using testing::Field;
using testing::IsEmpty;
using testing::SizeIs;
using namespace std::chrono_literals;

constexpr policy::Vni kLabel = overlay::kFirstLabel + 5;
const ControlledAgent::Settings kOneInterface{.interfaces = {}};

/// hostA and hostC have an application each; hostR relays. Nobody has a second interface.
class ThroughAnotherTest : public ControlledHostTest {
 protected:
  /// Traffic to hostC goes through hostR, as there is no other way.
  Peer& settle() {
    Peer& c = add_peer("hostC", 9);
    relay_ = &add_relay("hostR", 18);
    start(kOneInterface);
    c.offer({policy::end_at("192.0.2.9")});
    carry_no_more(c, "192.0.2.1", "192.0.2.9");
    relay_->offer({policy::end_at("192.0.2.18")});
    carry(*relay_, "192.0.2.1", "192.0.2.18", 2ms);
    wait(
        [&] {
          return asked() == std::vector<overlay::RelayAsk>{{"hostC", {100}}};
        },
        "hostR to be asked");
    relay(policy::carrying(3ms));
    wait_relayed(c, kLabel);
    return c;
  }
  std::vector<overlay::RelayAsk> asked() const {
    return relay_->relaying.asked().value_or(std::vector<overlay::RelayAsk>());
  }
  /// hostR's path to hostC is like that; the first of them is hostC.
  void relay(const policy::PathQuality& quality, policy::Vni label = kLabel) {
    relay_->relay_to("hostC", policy::path_of("192.0.2.9", "192.0.2.18"), quality, {{100, label}});
  }
  const overlay::PathEntry* programmed(const Peer& peer) const {
    for (const overlay::PathEntry& path : datapath.state.paths) {
      const bool default_class = path.traffic_class == TrafficClass::best_effort;
      if (path.vtep == peer.vtep && default_class) return &path;
    }
    return nullptr;
  }
  bool relayed(const Peer& peer, policy::Vni label) const {
    const overlay::PathEntry* path = programmed(peer);
    return path && path->relayed && path->local == ip("192.0.2.1") &&
           path->remote == ip("192.0.2.18") &&
           path->labels == std::vector<overlay::NetworkLabel>{{100, label}};
  }
  void wait_relayed(const Peer& peer, policy::Vni label) {
    wait([&] { return relayed(peer, label); }, "traffic to go through hostR");
  }
  void wait_direct(const Peer& peer) {
    wait([&] { return programmed(peer) && !programmed(peer)->relayed; }, "traffic to go directly");
  }
  void wait_agreed() {
    wait(
        [&] {
          const PathsSnapshot snapshot = agent->paths.snapshot("hostC");
          return std::ranges::all_of(snapshot.peers.at(0).classes,
                                     [](const auto& of) { return of.state == "agreed"; });
        },
        "agreement");
  }
  const policy::PathId path_ = policy::path_of("192.0.2.1", "192.0.2.9", "hostR");

  Peer* relay_ = nullptr;
};

TEST_F(ThroughAnotherTest, IsOfferedAsWhatIsKnownOfBothPartsAndUsed) {
  in_namespace([&] {
    Peer& c = settle();
    EXPECT_THAT(known(), ElementsAre("hostC", "hostR"));
    wait([&] { return std::ranges::count(c.reports_heard, path_, &policy::PathReport::path) > 0; },
         "hostC to hear of it");
    const auto report =
        std::ranges::find(c.reports_heard, path_, &policy::PathReport::path)->quality;
    EXPECT_TRUE(report.measured());
    EXPECT_GE(*report.rtt, 5ms);
    EXPECT_EQ(agent->paths.snapshot("hostC").peers.at(0).classes.at(0).path->relay, "hostR");
  });
}

TEST_F(ThroughAnotherTest, IsLeftWhereTheHostThatRelaysFindsItBroken) {
  in_namespace([&] {
    Peer& c = settle();
    const auto begun = std::chrono::steady_clock::now();
    policy::PathQuality broken = policy::carrying(3ms);
    broken.out.reachable = policy::Reachability::no;
    relay(broken);
    wait_direct(c);
    EXPECT_LT(std::chrono::steady_clock::now() - begun, 1s);
    relay(policy::carrying(3ms));
    wait_relayed(c, kLabel);
  });
}

TEST_F(ThroughAnotherTest, IsLeftWhereTheHostThatRelaysIsNotReached) {
  in_namespace([&] {
    Peer& c = settle();
    relay_->server.reset();
    carry_no_more(*relay_, "192.0.2.1", "192.0.2.18");
    wait_direct(c);
    wait(
        [&] {
          return std::ranges::any_of(c.reports_heard, [&](const policy::PathReport& report) {
            return report.path == path_ && report.quality.broken();
          });
        },
        "hostC to hear of it");
  });
}

TEST_F(ThroughAnotherTest, IsLeftWhereItIsRefused) {
  in_namespace([&] {
    Peer& c = settle();
    relay_->relaying.answer({{.host = "hostC", .refusal = "it does not relay"}},
                            std::chrono::steady_clock::now());
    wait_direct(c);
  });
}

TEST_F(ThroughAnotherTest, IsNotOfferedWithoutALabelForEachNetwork) {
  in_namespace([&] {
    Peer& c = add_peer("hostC", 9);
    relay_ = &add_relay("hostR", 18);
    server->transact(
        R"({"op":"insert","table":"Network","row":{"name":"net2","vni":200,"host_access":true}})");
    start(kOneInterface);
    c.offer({policy::end_at("192.0.2.9")});
    relay_->offer({policy::end_at("192.0.2.18")});
    carry(*relay_, "192.0.2.1", "192.0.2.18", 2ms);
    wait(
        [&] {
          return asked() == std::vector<overlay::RelayAsk>{{"hostC", {100, 200}}};
        },
        "hostR to be asked for both");
    relay(policy::carrying(3ms));
    wait([&] { return relay_->relaying.due() > std::chrono::steady_clock::now() + 1s; },
         "hostR to be heard");
    carry_no_more(c, "192.0.2.1", "192.0.2.9");
    wait([&] { return !agent->paths.snapshot("").peers.at(0).classes.at(0).path; }, "no path");
    EXPECT_FALSE(programmed(c) && programmed(c)->relayed);
    relay_->relay_to("hostC", policy::path_of("192.0.2.9", "192.0.2.18"), policy::carrying(3ms),
                     {{100, kLabel}, {200, kLabel + 1}});
    wait([&] { return programmed(c) && programmed(c)->labels.size() == 2; }, "both labels");
  });
}

TEST_F(ThroughAnotherTest, TakesOtherLabelsAtOnce) {
  in_namespace([&] {
    Peer& c = settle();
    relay(policy::carrying(3ms), kLabel + 1);
    wait_relayed(c, kLabel + 1);
  });
}

TEST_F(ThroughAnotherTest, StaysWhileTheAgentThatRelaysIsGone) {
  in_namespace([&] {
    Peer& c = settle();
    const int before = datapath.paths_set;
    relay_->server.reset();
    relay_->channels.follow({});
    relay_->relaying = overlay::RelayTalk(2);
    const auto begun = std::chrono::steady_clock::now();
    wait([&] { return std::chrono::steady_clock::now() - begun > 1s; }, "a second");
    EXPECT_TRUE(relayed(c, kLabel));
    EXPECT_EQ(datapath.paths_set, before);
  });
}

TEST_F(ThroughAnotherTest, StaysWhenThisAgentStartsAgain) {
  in_namespace([&] {
    Peer& c = settle();
    wait_agreed();
    agent.reset();
    const int before = datapath.paths_set;
    start(kOneInterface);
    wait([&] { return agent->network.programmed() && known().size() == 2; }, "the peers");
    wait_agreed();
    EXPECT_EQ(agent->paths.snapshot("hostC").peers.at(0).classes.at(0).path->relay, "hostR");
    EXPECT_EQ(datapath.paths_set, before) << "it was never left";
    EXPECT_TRUE(relayed(c, kLabel));
  });
}

TEST_F(ThroughAnotherTest, NotWhereTheControllerDoesNotAllowIt) {
  in_namespace([&] {
    Peer& c = settle();
    for (const char* traffic : {"interactive", "default", "bulk"}) {
      server->transact(fmt::format(R"({{"op":"insert","table":"Path_Policy","row":)"
                                   R"({{"traffic_class":"{}","relays":false}}}})",
                                   traffic));
    }
    wait_direct(c);
  });
}

TEST_F(ThroughAnotherTest, WhereNobodyRelaysNobodyIsAskedOrCalled) {
  in_namespace([&] {
    Peer& c = add_peer("hostC", 9);
    start(kOneInterface);
    wait([&] { return agent->network.programmed() && !agent->network.neighbors().empty(); },
         "the database");
    EXPECT_THAT(known(), IsEmpty());
    EXPECT_FALSE(c.connected());
    Peer& other = add_relay("hostR", 18);
    wait([&] { return c.connected() && other.connected(); }, "channels once there is one");
    EXPECT_THAT(known(), ElementsAre("hostC", "hostR"));
  });
}

/// hostA relays between hostC and hostD.
class RelayTest : public ControlledHostTest {
 protected:
  void begin(bool relay = true) {
    c_ = &add_peer("hostC", 9);
    d_ = &add_peer("hostD", 10);
    settings_.relay = relay;
    start(settings_);
    c_->offer({policy::end_at("192.0.2.9")});
    d_->offer({policy::end_at("192.0.2.10")});
    carry(*c_, "192.0.2.1", "192.0.2.9", 2ms);
    carry(*d_, "192.0.2.1", "192.0.2.10", 3ms);
    c_->relaying.ask({{"hostD", {100, 7}}});
  }
  bool answered() const {
    const auto answer = c_->answered_about("hostD");
    for (const auto& [vni, label] : answer.labels) {
      EXPECT_EQ(std::ranges::count(datapath.state.relays, label, &overlay::RelayEntry::label), 1)
          << "what is told is programmed before";
    }
    return answer.labels.size() == 2 && answer.way && answer.way->quality.measured();
  }
  void settle() {
    begin();
    wait([&] { return answered(); }, "an answer");
  }

  ControlledAgent::Settings settings_;
  Peer* c_ = nullptr;
  Peer* d_ = nullptr;
};

TEST_F(RelayTest, WhatIsToldIsProgrammed) {
  in_namespace([&] {
    settle();
    const overlay::RelayAnswer answer = c_->answered_about("hostD");
    EXPECT_EQ(answer.refusal, "");
    EXPECT_EQ(answer.way->path, policy::path_of("192.0.2.1", "192.0.2.10"));
    EXPECT_GE(*answer.way->quality.rtt, 3ms);
    ASSERT_THAT(datapath.state.relays, SizeIs(2));
    for (const overlay::RelayEntry& entry : datapath.state.relays) {
      EXPECT_EQ(entry.from, c_->vtep);
      EXPECT_EQ(entry.to, d_->vtep);
      EXPECT_EQ(answer.labels.at(entry.vni), entry.label);
    }
  });
}

TEST_F(RelayTest, AWayThatBreaksIsToldAtOnce) {
  in_namespace([&] {
    settle();
    carry_no_more(*d_, "192.0.2.1", "192.0.2.10");
    const auto begun = std::chrono::steady_clock::now();
    wait([&] { return c_->answered_about("hostD").way->quality.broken(); }, "hostC to hear of it");
    EXPECT_LT(std::chrono::steady_clock::now() - begun, 1s);
    EXPECT_THAT(c_->answered_about("hostD").labels, SizeIs(2)) << "they stay what they are";
  });
}

TEST_F(RelayTest, LabelsStayWhenTheAgentStartsAgain) {
  in_namespace([&] {
    settle();
    const auto labels = c_->answered_about("hostD").labels;
    const auto relays = datapath.state.relays;
    agent.reset();
    d_->server.reset();  // of which nothing is known for a while
    start(settings_);
    wait([&] { return agent->network.programmed(); }, "the database");
    EXPECT_EQ(datapath.state.relays, relays);
    wait(
        [&] {
          return c_->connected() && c_->relaying.due() > std::chrono::steady_clock::now() + 1s;
        },
        "hostC to be heard");
    EXPECT_EQ(datapath.state.relays, relays);
    const overlay::RelayAnswer answer = c_->answered_about("hostD");
    EXPECT_EQ(answer.labels, labels);
    EXPECT_FALSE(!answer.way || answer.way->quality.broken()) << "it is as it was";
  });
}

TEST_F(RelayTest, WhatIsNotAskedForAnyMoreIsNotTold) {
  in_namespace([&] {
    settle();
    c_->relaying.ask({{"hostD", {100}}});
    wait([&] { return c_->answered_about("hostD").labels.size() == 1; }, "one label");
    EXPECT_THAT(datapath.state.relays, SizeIs(2)) << "frames may be on their way";
    EXPECT_EQ(agent->paths.snapshot("").relaying.labels, 1u);
    EXPECT_EQ(agent->paths.snapshot("").relaying.hosts, 1u);
  });
}

TEST_F(RelayTest, WhoDoesNotRelayRefuses) {
  in_namespace([&] {
    begin(false);
    wait([&] { return !c_->answered_about("hostD").refusal.empty(); }, "a refusal");
    EXPECT_EQ(c_->answered_about("hostD").refusal, "it does not relay");
    EXPECT_THAT(datapath.state.relays, IsEmpty());
  });
}

TEST_F(RelayTest, WhoDoesNotRelayAnyMoreTakesItsLabelsBack) {
  in_namespace([&] {
    settle();
    settings_.relay = false;
    start(settings_);
    wait([&] { return datapath.state.relays.empty(); }, "labels to go");
    wait([&] { return !c_->answered_about("hostD").refusal.empty(); }, "a refusal");
  });
}

TEST_F(RelayTest, AnUnknownHostIsRefused) {
  in_namespace([&] {
    settle();
    c_->relaying.ask({{"hostX", {100}}, {"hostA", {100}}, {"hostC", {100}}});
    for (const char* host : {"hostX", "hostA", "hostC"}) {
      wait([&] { return !c_->answered_about(host).refusal.empty(); }, "a refusal");
    }
  });
}

TEST_F(RelayTest, AHostThatComesLaterIsRelayedTo) {
  in_namespace([&] {
    settle();
    c_->relaying.ask({{"hostE", {100}}});
    wait([&] { return !c_->answered_about("hostE").refusal.empty(); }, "a refusal");
    add_peer("hostE", 11);
    wait([&] { return c_->answered_about("hostE").labels.size() == 1; }, "a label");
    EXPECT_EQ(c_->answered_about("hostE").refusal, "");
  });
}

TEST_F(RelayTest, AHostThatLeavesHasNoLabelsAnyMore) {
  in_namespace([&] {
    settle();
    server->transact(R"({"op":"delete","table":"Host","where":[["name","==","hostC"]]})");
    wait([&] { return datapath.state.relays.empty(); }, "labels to go");
  });
}

}  // namespace
}  // namespace homeport::agent::test
