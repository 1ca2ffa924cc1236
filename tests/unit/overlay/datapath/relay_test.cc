// What goes through a third host: the same on every datapath and any mix of them. Hosts 1 and 3 do
// not reach each other; host 2 relays.
#include "overlay/datapath/ebpf/layout.h"
#include "tests/unit/overlay/datapath/fabric.h"
#include "tests/unit/overlay/datapath/frames.h"

#include <bpf/bpf.h>
#include <gmock/gmock.h>
#include <netinet/in.h>
#include <sys/socket.h>

namespace homeport::overlay {
namespace {

using enum policy::TrafficClass;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;

const BpfFileSystem& bpf() {
  static const BpfFileSystem file_system;
  return file_system;
}

constexpr policy::Vni kThere = kFirstLabel + 5, kBack = kLastLabel;

class Relays : public testing::TestWithParam<Fleet> {
 protected:
  Relays() {
    fabric_.cut(1, 3);
    host(1).desired.paths = {relayed(1, 3, kThere)};
    host(3).desired.paths = {relayed(3, 1, kBack)};
    host(2).desired.relays = {{kThere, host(1).vtep, host(3).vtep, kVni},
                              {kBack, host(3).vtep, host(1).vtep, kVni}};
    for (int number : {1, 2, 3}) apply(number);
  }

  Host& host(int number) { return fabric_.host(number); }
  void apply(int number) {
    host(number).apply().value();
    host(number).settle();
  }
  PathEntry relayed(int from, int to, policy::Vni label, int by = 2) {
    return {host(to).vtep, best_effort, host(from).vtep, host(by).vtep, true, {{kVni, label}}};
  }
  DesiredState desired(int number) {
    DesiredState state = host(number).desired;
    normalize(state);
    return state;
  }

  void expect_talk(App& one, App& other, bool v6 = false) {
    Socket server(other.inside, v6), client(one.inside, v6);
    client.send(v6 ? other.v6 : other.v4, server.port(), "ping");
    EXPECT_EQ(server.receive(), "ping");
    server.send(v6 ? one.v6 : one.v4, client.port(), "pong");
    EXPECT_EQ(client.receive(), "pong");
  }
  /// That such frames come through, none of which may come at first.
  void expect_eventually(int number, std::uint64_t TotalCounters::*counter,
                         const std::function<void()>& send) {
    const std::uint64_t before = host(number).totals().*counter;
    EXPECT_TRUE(eventually([&] {
      send();
      return host(number).totals().*counter > before;
    }));
  }
  /// An application of host 1 is on its way to host 3: what comes to it there waits at the tap
  /// whose queue this returns.
  UniqueFd begin_move_to_host_3(const App& moving) {
    const Port held = fabric_.held_port(moving, 3);
    host(3).desired.ports.push_back(held);
    for (int number : {1, 2, 3}) apply(number);
    UniqueFd queue = host(3).inside.run([&] { return open_tap_queue(held.device).value(); });
    host(1).set_address(fabric_.left(moving, 1, 3)).value();
    host(1).settle();
    return queue;
  }
  /// Sends a datagram nobody reads.
  void send(const App& from, const App& to) {
    Socket client(from.inside, false);
    client.send(to.v4, 7, "datagram");
  }

  Fabric fabric_{bpf(), GetParam()};
  App &one_ = fabric_.app(1), &two_ = fabric_.app(2), &three_ = fabric_.app(3);
};

TEST_P(Relays, CarryBothFamiliesBothWays) {
  expect_talk(one_, three_);
  expect_talk(three_, one_, true);
  expect_talk(one_, two_);
  EXPECT_TRUE(eventually([&] { return host(2).totals().relayed >= 4; }));
  EXPECT_EQ(host(2).totals().drop_unknown_label, 0u);
}

TEST_P(Relays, NeedNothingOfTheNetworkWhereTheyAre) {
  DesiredState& relaying = host(2).desired;
  relaying.networks.clear();
  relaying.ports.clear();
  relaying.addresses.clear();
  apply(2);
  expect_talk(one_, three_);
  EXPECT_EQ(host(2).read_back().value(), desired(2));
}

TEST_P(Relays, AreAskedUnderALabelAndAnswerWithTheNetwork) {
  Sniffer out = fabric_.sniffer(1), on = fabric_.sniffer(2);
  expect_talk(one_, three_);
  const bool v6 = host(1).vtep.is_v6();
  const auto network_of = [&](const std::string& frame) -> policy::Vni {
    if (frame.size() < 62 || frame.find("ping") == std::string::npos) return 0;
    const std::size_t at = v6 ? 66 : 46;
    return read16(frame, at) << 8 | static_cast<std::uint8_t>(frame.at(at + 2));
  };
  EXPECT_TRUE(out.next([&](const auto& frame) { return network_of(frame) == kThere; }));
  EXPECT_TRUE(on.next([&](const auto& frame) { return network_of(frame) == kVni; }));
}

TEST_P(Relays, CarryWhatIsSentToAGroup) {
  const std::vector<App*> apps = {&one_, &two_, &three_};
  for (App* sender : {&one_, &three_}) {
    const std::string frame = transport_frame(kBroadcast, sender->mac, sender->v4,
                                              boost::asio::ip::make_address("10.0.0.255"), 17, 100);
    const auto same = [&](const std::string& seen) { return seen == frame; };
    std::vector<Sniffer> others;
    for (App* app : apps) {
      if (app != sender) others.emplace_back(app->inside);
    }
    send_frame(*sender, frame);
    for (Sniffer& other : others) EXPECT_TRUE(other.next(same));
    for (Sniffer& other : others) EXPECT_FALSE(other.pending(same));
  }
  send_frame(one_, arp(Arp::request, one_.mac, one_.v4, one_.v4));
  EXPECT_TRUE(eventually([&] { return host(3).totals().announcements == 1; }));
}

// Of that the next host knows for whom it is by where it comes from.
TEST_P(Relays, HaveNothingOfAGroupThatIsSentOnToOneThatMoves) {
  fabric_.mend(1, 3);
  App &moving = fabric_.join(1), &neighbor = fabric_.join(1);
  const UniqueFd guest = begin_move_to_host_3(moving);
  const std::string frame = transport_frame(kBroadcast, neighbor.mac, neighbor.v4,
                                            boost::asio::ip::make_address("10.0.0.255"), 17, 100);
  expect_eventually(3, &TotalCounters::delivered_held, [&] { send_frame(neighbor, frame); });
}

TEST_P(Relays, KeepTheMark) {
  // Application 4 was at host 1 and goes to host 3; host 2 does not know it yet.
  App& moving = fabric_.join(1);
  const UniqueFd guest = begin_move_to_host_3(moving);
  expect_eventually(3, &TotalCounters::delivered_held, [&] { send(two_, moving); });
  EXPECT_GT(host(1).totals().forwarded, 0u);
}

TEST_P(Relays, AreNotWhoRedirects) {
  // What an application on its former host sends waits for it, though it comes from host 2.
  App &moving = fabric_.join(1), &neighbor = fabric_.join(1);
  const UniqueFd guest = begin_move_to_host_3(moving);
  expect_eventually(3, &TotalCounters::delivered_held, [&] { send(neighbor, moving); });
}

TEST_P(Relays, AreForTheHostThatHasTheLabelAlone) {
  host(3).desired.paths = {relayed(3, 1, kThere)};
  apply(3);
  expect_eventually(2, &TotalCounters::drop_unknown_label, [&] { send(three_, one_); });
  host(1).desired.paths = {relayed(1, 3, kFirstLabel)};
  apply(1);
  Socket server(three_.inside, false), client(one_.inside, false);
  expect_eventually(2, &TotalCounters::drop_unknown_label,
                    [&] { client.send(three_.v4, server.port(), "under no label"); });
  EXPECT_FALSE(server.pending());
}

TEST_P(Relays, AreAskedOnce) {
  // Host 2 would have host 1 relay what it sends to host 3 itself.
  host(2).desired.paths = {relayed(2, 3, kFirstLabel, 1)};
  apply(2);
  expect_talk(one_, three_);
  EXPECT_EQ(host(1).totals().drop_unknown_label, 0u);
}

TEST_P(Relays, HaveNothingOfANetworkWithoutALabel) {
  host(1).desired.paths[0].labels = {{kVni + 1, kThere}};
  apply(1);
  fabric_.mend(1, 3);
  host(2).desired.relays.clear();
  apply(2);
  expect_talk(one_, two_);
  Socket server(three_.inside, false), client(one_.inside, false);
  EXPECT_TRUE(eventually([&] {
    client.send(three_.v4, server.port(), "from VTEP to VTEP");
    return server.pending();
  }));
  EXPECT_EQ(host(2).totals().drop_unknown_label, 0u);
}

TEST_P(Relays, ChangeOverAtOnce) {
  expect_talk(one_, three_);
  host(1).desired.paths[0].labels = {{kVni, kFirstLabel}, {kVni + 1, kThere}};
  host(2).desired.relays.push_back({kFirstLabel, host(1).vtep, host(3).vtep, kVni});
  apply(2);
  host(1).set_path(host(1).desired.paths[0]).value();
  host(1).settle();
  expect_talk(one_, three_);
  EXPECT_EQ(host(1).read_back().value(), desired(1));
  EXPECT_TRUE(host(1).untouched());
  fabric_.mend(1, 3);
  host(1).desired.paths = {{host(3).vtep, best_effort, host(1).vtep, host(3).vtep, false, {}}};
  host(1).set_path(host(1).desired.paths[0]).value();
  host(1).settle();
  expect_talk(one_, three_);
  EXPECT_EQ(host(1).read_back().value(), desired(1));
  EXPECT_TRUE(host(1).untouched());
}

TEST_P(Relays, AreReadBackAndAdopted) {
  for (int number : {1, 2, 3}) {
    EXPECT_EQ(host(number).read_back().value(), desired(number));
    host(number).restart();
  }
  expect_talk(one_, three_);
  for (int number : {1, 2, 3}) {
    apply(number);
    EXPECT_EQ(host(number).read_back().value(), desired(number));
    EXPECT_TRUE(host(number).untouched());
  }
  expect_talk(one_, three_);
  host(1).restart();
  host(1).desired.paths = {relayed(1, 3, kThere), relayed(1, 2, kFirstLabel, 3)};
  for (const PathEntry& path : host(1).desired.paths) host(1).set_path(path).value();
  EXPECT_EQ(host(1).read_back().value().paths, desired(1).paths);
}

TEST_P(Relays, AreTraced) {
  const auto is_label = testing::Field(&TraceStep::step, "label");
  TracedPacket packet{one_.mac, three_.mac, one_.v4, three_.v4};
  packet.length = 100;
  const auto trace = [&](int number, const TraceOrigin& origin) {
    return host(number).inside.run(
        [&] { return host(number).datapath->trace(origin, packet).value().found; });
  };
  Trace sent = trace(1, FromPort{one_.device});
  EXPECT_EQ(sent.end, TraceEnd::sent);
  EXPECT_THAT(sent.steps, Contains(is_label));
  EXPECT_THAT(sent.copies, ElementsAre(TraceCopy{{}, host(2).vtep, false, kThere}));
  for (const bool marked : {false, true}) {
    const Trace relayed = trace(2, FromTunnel{host(1).vtep, kThere, marked});
    EXPECT_EQ(relayed.end, TraceEnd::sent);
    EXPECT_THAT(relayed.steps, Contains(is_label));
    EXPECT_THAT(relayed.counters, ElementsAre("relayed"));
    EXPECT_EQ(relayed.vni, kVni);
    EXPECT_THAT(relayed.copies, ElementsAre(TraceCopy{{}, host(3).vtep, marked}));
  }
  EXPECT_THAT(trace(2, FromTunnel{host(3).vtep, kThere, false}).counters,
              ElementsAre("drop_unknown_label"));
  packet.destination_mac = kBroadcast;
  packet.destination = boost::asio::ip::make_address("10.0.0.255");
  EXPECT_THAT(trace(1, FromPort{one_.device}).copies,
              testing::UnorderedElementsAre(TraceCopy{{}, host(2).vtep, true},
                                            TraceCopy{{}, host(2).vtep, true, kThere}));
}

// By the interactive class, the way of host 2 is another.
TEST_P(Relays, TakeTheWayOfTheClassThatAPacketSays) {
  host(2).desired.paths = {{host(3).vtep, interactive, host(2).second, host(3).second}};
  host(3).desired.aliases = {{host(2).second, host(2).vtep}};
  host(1).desired.paths.push_back(host(1).desired.paths[0]);
  host(1).desired.paths[1].traffic_class = interactive;
  for (int number : {3, 2, 1}) apply(number);
  Sniffer on = fabric_.sniffer(2);
  const bool v6 = host(2).vtep.is_v6();
  const auto goes_from = [&](const policy::IpAddress& source, const std::string& payload) {
    return on
        .next([&](const std::string& frame) {
          return frame.find(payload) != std::string::npos &&
                 frame.substr(v6 ? 22 : 26, v6 ? 16 : 4) == bytes_of(source);
        })
        .has_value();
  };
  Socket server(three_.inside, false), client(one_.inside, false);
  client.send(three_.v4, server.port(), "plain");
  EXPECT_TRUE(goes_from(host(2).vtep, "plain"));
  const int expedited = 46 << 2;
  ASSERT_EQ(::setsockopt(client.fd(), IPPROTO_IP, IP_TOS, &expedited, sizeof(expedited)), 0);
  client.send(three_.v4, server.port(), "urgent");
  EXPECT_TRUE(goes_from(host(2).second, "urgent"));
  // Outside it is said too, of what is so by its port; flows do not see that.
  for (Port& port : host(1).desired.ports) port.traffic_class = interactive;
  apply(1);
  const int none = 0;
  ASSERT_EQ(::setsockopt(client.fd(), IPPROTO_IP, IP_TOS, &none, sizeof(none)), 0);
  client.send(three_.v4, server.port(), "by its port");
  const bool heard = host(2).kind == Kind::ebpf;
  EXPECT_TRUE(goes_from(heard ? host(2).second : host(2).vtep, "by its port"));
}

class LabelsByHand : public Relays {
 protected:
  void delete_by_hand(int number, const char* map, const void* key, const std::string& flow) {
    if (host(number).kind == Kind::ovs) {
      host(number).open_vswitch->ofctl({"del-flows", "br-int", flow});
      return;
    }
    const auto path =
        host(number).options.pin_directory / ("layout-" + std::to_string(HP_LAYOUT_VERSION)) / map;
    UniqueFd fd(bpf_obj_get(path.c_str()));
    ASSERT_EQ(bpf_map_delete_elem(fd.get(), key), 0);
  }
  void expect_mended(int number, const std::string& name) {
    EXPECT_FALSE(host(number).untouched());
    EXPECT_NE(host(number).read_back().value(), desired(number));
    apply(number);
    EXPECT_THAT(host(number).datapath->mended(), Contains(HasSubstr(name)));
    EXPECT_TRUE(host(number).untouched());
    EXPECT_EQ(host(number).read_back().value(), desired(number));
  }
};

TEST_P(LabelsByHand, DeletedAreMendedAndNamed) {
  const hp_label_key label{1, kVni};
  delete_by_hand(1, "hp_labels", &label, "table=236,reg0=42");
  expect_mended(1,
                host(1).kind == Kind::ovs ? "the default path to the host" : "label of network 42");
  const __u32 there = kThere;
  delete_by_hand(2, "hp_relays", &there, "table=235,reg0=" + std::to_string(kThere));
  expect_mended(2, "label " + std::to_string(kThere));
  expect_talk(one_, three_);
}

INSTANTIATE_TEST_SUITE_P(, Relays, testing::ValuesIn(fleets()), fleet_name);
INSTANTIATE_TEST_SUITE_P(, LabelsByHand, testing::ValuesIn(fleets()), fleet_name);

}  // namespace
}  // namespace homeport::overlay
