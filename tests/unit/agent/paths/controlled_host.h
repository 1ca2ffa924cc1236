// A host with its routing controllers, in a network namespace with two interfaces: a real control
// database, real links, real channels; the datapath and the other hosts are the test's.
#pragma once

#include "agent/paths/bulk_limits.h"
#include "agent/paths/path_channels.h"
#include "agent/paths/path_controllers.h"
#include "overlay/link/monitor.h"
#include "overlay/link/route_monitor.h"
#include "overlay/negotiation/negotiator.h"
#include "overlay/negotiation/relay_talk.h"
#include "tests/unit/agent/paths/fake_datapath.h"
#include "tests/unit/overlay/channel/test_peers.h"
#include "tests/unit/overlay/link/devices.h"
#include "tests/unit/overlay/link/net_namespace.h"
#include "tests/unit/overlay/ovsdb/test_server.h"
#include "tests/unit/policy/path/paths.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <list>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace homeport::agent::test {

namespace asio = boost::asio;

inline policy::IpAddress ip(const std::string& text) {
  return asio::ip::make_address(text);
}

/// hostA: 192.0.2.1, its VTEP, at eth0, and 198.51.100.1 at eth1. An agent may end, and start
/// again.
class ControlledAgent {
 public:
  struct Settings {
    std::vector<std::string> interfaces = {"eth1"};
    std::chrono::seconds linger{300};
    std::chrono::steady_clock::duration limits_interval{std::chrono::hours(1)};
    bool relay = false;
  };

  ControlledAgent(asio::io_context& io, const std::string& remote, FakeDatapath& datapath,
                  overlay::TlsContext tls, const Settings& settings)
      : database(io.get_executor(), options(remote)),
        network(database, datapath, view(), devices()),
        paths({.executor = io.get_executor(),
               .host = "hostA",
               .database = database,
               .network = network,
               .datapath = datapath,
               .underlay = {ip("192.0.2.1"), settings.interfaces, settings.relay},
               .tls = std::move(tls),
               .peer_check = overlay::anyone(),
               .timeouts = {},
               .linger = settings.linger,
               .changed = [this] { ++told; }}),
        limits(io.get_executor(), "hostA", database, settings.limits_interval),
        links(overlay::LinkMonitor::start(io.get_executor(),
                                          [this](const auto& event) {
                                            paths.on_link_event(event);
                                            limits.on_link_event(event);
                                          })
                  .value()),
        routes(overlay::RouteMonitor::start(io.get_executor(), [this] {
                 paths.on_routes_changed();
               }).value()) {
    database.on_change([this] {
      ++changes;
      network.follow(database.changes());
      paths.follow();
      limits.follow();
    });
    database.start();
  }

  ControlDatabase database;
  VirtualNetwork network;
  PathControllers paths;
  BulkLimits limits;
  overlay::LinkMonitor links;
  overlay::RouteMonitor routes;
  int changes = 0;
  int told = 0;  ///< that events may be others

 private:
  static DatabaseOptions options(const std::string& remote) {
    DatabaseOptions options;
    options.session.remotes = remote;
    return options;
  }
  static LocalView view() { return {.host = "hostA", .mtu_limit = 1430, .vtep = ip("192.0.2.1")}; }
  static VirtualNetwork::Devices devices() {
    return {[] { return std::set<std::string>{"app0"}; },
            [](const std::string& name) { return name == "app0"; }};
  }
};

/// Another host's controller, which follows. It has measured what the test says is true.
class Peer {
 public:
  Peer(asio::io_context& io, overlay::Authority& authority, const std::string& named,
       const std::string& vtep)
      : name(named),
        vtep(ip(vtep)),
        channels({.executor = io.get_executor(),
                  .host = named,
                  .tls = authority.context(named),
                  .peer_check = overlay::anyone(),
                  .timeouts = {},
                  .endpoints_of = [](const std::string&) { return std::vector<Endpoint>{}; },
                  .connected =
                      [this](const std::string&) {
                        tell(overlay::Connected{});
                        relaying.connected();
                      },
                  .disconnected = [](const std::string&) {},
                  .heard =
                      [this](const std::string&, overlay::PathStatement said) {
                        if (said.ends) ends_heard = *said.ends;
                        if (said.reports) reports_heard = *said.reports;
                        tell(overlay::PeerSays{std::move(said)});
                      },
                  .heard_of_relaying =
                      [this](const std::string&, overlay::RelayStatement said) {
                        relaying.heard(std::move(said), std::chrono::steady_clock::now());
                      }}),
        server(overlay::ChannelServer::listen(
                   io.get_executor(), authority.context(named),
                   {.listen = {{asio::ip::address_v4::loopback(), 0}}}, overlay::anyone(),
                   [this](overlay::Channel channel) { return channels.serve(std::move(channel)); })
                   .value()),
        negotiator(named, "hostA", 1) {}

  void offer(std::vector<policy::PathEnd> ends) { tell(overlay::OffersEnds{std::move(ends)}); }
  /// Of paths, as this host writes them: "192.0.2.1 - 192.0.2.9".
  void measure(const std::map<policy::PathId, policy::PathQuality>& seen_by_first) {
    overlay::HasMeasured measured;
    for (const auto& [path, quality] : seen_by_first) {
      measured.reports.push_back({.path = path, .quality = policy::seen_from_other_end(quality)});
    }
    tell(std::move(measured));
  }
  /// To be called again and again.
  void look() {
    const auto now = std::chrono::steady_clock::now();
    if (now >= look_again) tell(overlay::TimeHasCome{});
    if (auto statement = relaying.speak(now)) channels.say("hostA", *statement);
  }
  /// What hostA has answered about relaying to another host; empty: nothing.
  overlay::RelayAnswer answered_about(const std::string& host) const {
    return relaying.told_of(host, std::chrono::steady_clock::now(), std::chrono::seconds(45))
        .value_or(overlay::RelayAnswer());
  }
  /// As one that relays to another host: by that path, with those labels.
  void relay_to(const std::string& host, const policy::PathId& path,
                const policy::PathQuality& quality, std::map<policy::Vni, policy::Vni> labels) {
    overlay::RelayAnswer answer{.host = host, .labels = std::move(labels)};
    answer.way = policy::PathReport{.path = path, .quality = quality};
    relaying.answer({std::move(answer)}, std::chrono::steady_clock::now());
  }
  bool connected() const { return channels.connected("hostA"); }

  std::string name;
  policy::IpAddress vtep;
  std::vector<policy::PathEnd> ends_heard;        ///< what hostA offers
  std::vector<policy::PathReport> reports_heard;  ///< what it has measured
  overlay::RelayTalk relaying{1};
  PathChannels channels;
  std::unique_ptr<overlay::ChannelServer> server;

 private:
  void tell(overlay::NegotiationEvent event) {
    auto actions = negotiator.on(std::move(event), std::chrono::steady_clock::now());
    if (actions.say) channels.say("hostA", *actions.say);
    look_again = actions.look_again;
  }

  overlay::PathNegotiator negotiator;
  policy::Time look_again = policy::Time::max();
};

/// Everything of it is inside a namespace: run tests as `in_namespace([&] {...})`.
class ControlledHostTest : public testing::Test {
 protected:
  void in_namespace(const std::function<void()>& test) {
    overlay::NetNamespace inside;
    inside.run([&] {
      for (const std::string number : {"0", "1"}) {
        overlay::create_veth("eth" + number, "peer" + number);
        overlay::set_link_up("eth" + number, true).value();
        overlay::set_link_up("peer" + number, true).value();
      }
      overlay::add_address("eth0", ip("192.0.2.1"), 24);
      overlay::add_address("eth1", ip("198.51.100.1"), 24);
      io.emplace(1);
      server.emplace();
      put_network();
      test();
      agent.reset();
      peers.clear();
      server.reset();
      io.reset();
    });
  }

  void put_network() {
    server->transact(
        R"({"op":"insert","table":"Network","row":{"name":"net1","vni":100}},)"
        R"({"op":"insert","table":"Host","row":{"name":"hostA","vteps":"192.0.2.1"}},)" +
        application("app", "hostA", 1) + "," + R"({"op":"comment","comment":"begin"})");
  }
  static std::string application(const std::string& name, const std::string& host, int number) {
    return fmt::format(
        R"({{"op":"insert","table":"Application","row":{{"name":"{0}","driver":"netdev",)"
        R"("properties":["map",[["device","app0"]]]}}}},)"
        R"({{"op":"insert","table":"Binding","row":{{"name":"{0}","application":"{0}",)"
        R"("network":"net1","mac":"52:54:00:00:00:{2:02x}","location":"{1}","generation":1}}}})",
        name, host, number);
  }

  /// A host with an application in common with hostA, which offers nothing yet.
  Peer& add_peer(const std::string& name, int number) {
    return add_host(name, number, "," + application("app-" + name, name, number));
  }
  /// One that has nothing to do with hostA's applications.
  Peer& add_relay(const std::string& name, int number) {
    return add_host(name, number,
                    R"(,{"op":"update","table":"Host","where":[["name","==",")" + name +
                        R"("]],"row":{"relays":true}})");
  }
  Peer& add_host(const std::string& name, int number, const std::string& operations) {
    Peer& peer = peers.emplace_back(*io, authority, name, fmt::format("192.0.2.{}", number));
    server->transact(
        fmt::format(R"({{"op":"insert","table":"Host","row":{{"name":"{}","vteps":"{}",)"
                    R"("control_endpoints":"127.0.0.1:{}"}}}})",
                    name, peer.vtep.to_string(), peer.server->port()) +
        operations);
    return peer;
  }
  /// It offers two interfaces, and what comes by 198.51.100.0/24 is faster.
  void offer_two(Peer& peer, int number) {
    const std::string other = fmt::format("198.51.100.{}", number);
    peer.offer({policy::end_at(peer.vtep.to_string()), policy::end_at(other, "eth1")});
    carry(peer, "192.0.2.1", peer.vtep.to_string(), std::chrono::milliseconds(20));
    carry(peer, "198.51.100.1", other, std::chrono::milliseconds(2));
  }
  void carry(Peer& peer, const std::string& local, const std::string& remote,
             std::chrono::milliseconds rtt) {
    datapath.underlay.carrying[{ip(local), ip(remote)}] = rtt;
    truth[peer.name][policy::path_of(local, remote)] = policy::carrying(rtt);
    peer.measure(truth[peer.name]);
  }
  /// That the peer notices, too.
  void carry_no_more(Peer& peer, const std::string& local, const std::string& remote) {
    datapath.underlay.carrying.erase({ip(local), ip(remote)});
    truth[peer.name][policy::path_of(local, remote)] = policy::not_carrying();
    peer.measure(truth[peer.name]);
  }

  void start(const ControlledAgent::Settings& settings = {}) {
    agent.reset();
    agent.emplace(*io, server->remote(), datapath, authority.context("hostA"), settings);
  }

  void wait(const std::function<bool()>& holds, const char* what) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!holds() && std::chrono::steady_clock::now() < deadline) {
      io->restart();
      io->run_one_for(std::chrono::milliseconds(1));
      for (Peer& peer : peers) peer.look();
    }
    ASSERT_TRUE(holds()) << "waited for " << what;
  }
  /// Until hostA sends that class from `local` to `remote` of the peer.
  void wait_way(const Peer& peer, const std::string& local, const std::string& remote,
                policy::TrafficClass traffic = policy::TrafficClass::interactive) {
    const overlay::ProbePair pair{ip(local), ip(remote)};
    // Without an entry it is from VTEP to VTEP.
    const overlay::ProbePair usual{ip("192.0.2.1"), peer.vtep};
    wait([&] { return datapath.way(peer.vtep, traffic).value_or(usual) == pair; },
         (local + " - " + remote).c_str());
  }
  std::vector<std::string> offered() const {
    std::vector<std::string> names;
    for (const PathEndSnapshot& end : agent->paths.snapshot("").ends) {
      if (end.not_offered.empty()) names.push_back(end.end.interface);
    }
    return names;
  }
  std::vector<std::string> known() const {
    std::vector<std::string> names;
    for (const PeerPathsSnapshot& peer : agent->paths.snapshot("").peers)
      names.push_back(peer.peer);
    return names;
  }

  overlay::Authority authority;
  FakeDatapath datapath;
  std::optional<asio::io_context> io;
  std::optional<homeport::test::TestServer> server;
  std::map<std::string, std::map<policy::PathId, policy::PathQuality>> truth;
  std::list<Peer> peers;
  std::optional<ControlledAgent> agent;
};

}  // namespace homeport::agent::test
