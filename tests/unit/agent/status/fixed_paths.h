// Paths of a snapshot with every kind of value in it, for the tests of what is made of them.
#pragma once

#include "agent/status/path_model.h"

#include <chrono>
#include <string>
#include <utility>

namespace homeport::agent::test {

inline PathSnapshot path_between(const std::string& local, const std::string& local_address,
                                 const std::string& remote, const std::string& remote_address) {
  using boost::asio::ip::make_address;
  return {{local, make_address(local_address)}, {remote, make_address(remote_address)}, ""};
}

inline policy::PathQuality quality_of(policy::Micros rtt, policy::LossPpm out, policy::LossPpm in) {
  policy::PathQuality quality{.rtt = rtt, .variation = rtt / 10};
  quality.out = {
      .reachable = policy::Reachability::yes, .loss = out, .bandwidth = 1'000'000'000, .mtu = 1500};
  quality.in = {
      .reachable = policy::Reachability::yes, .loss = in, .bandwidth = 940'000'000, .mtu = 9000};
  return quality;
}

/// Of hostA at `now`: agreed with hostB on IPv6 for interactive, something else nominated for the
/// default class, nothing usable for bulk; hostC is out of reach and has said nothing.
inline PathsSnapshot fixed_paths(SystemTime now) {
  using boost::asio::ip::make_address;
  using policy::ChoiceCause;
  using policy::Micros;
  using policy::Obstacle;
  using policy::Standing;
  using policy::TrafficClass;
  const PathSnapshot six = path_between("eth1", "2001:db8:aaaa:bbbb:cccc:dddd:1111:1",
                                        "enp130s0f1np1", "2001:db8:aaaa:bbbb:cccc:dddd:2222:2");
  const PathSnapshot four = path_between("eth0", "192.0.2.1", "eth0", "198.51.100.2");
  PathSnapshot relayed = path_between("eth0", "192.0.2.1", "", "198.51.100.3");
  relayed.relay = "hostC";

  PathsSnapshot paths;
  paths.ends = {
      {{.address = make_address("192.0.2.1"),
        .interface = "eth0",
        .speed = 10'000'000'000,
        .mtu = 1500,
        .cost = 3,
        .labels = {"fiber", "wan"},
        .default_route = true},
       ""},
      {{.address = make_address("2001:db8:aaaa:bbbb:cccc:dddd:1111:1"), .interface = "eth1"}, ""},
      {{.address = {}, .interface = "wlan0"}, "it has no address"}};

  CandidateSnapshot best;
  best.path = six;
  best.quality = quality_of(Micros(1'250), 0, 20'000);
  best.age = Micros(120'000);
  best.in_use = true;
  best.counted = Micros(22'000);
  best.why = "It comes first: an exchange counts as 22.0 ms, with the second as 40.0 ms.";
  CandidateSnapshot second;
  second.path = four;
  second.quality = quality_of(Micros(30'000), 50, 0);
  second.quality.out.reachable = policy::Reachability::unknown;
  second.age = Micros(2'000'000);
  second.standing = Standing::damped;
  second.obstacle = Obstacle::damped;
  second.damped = true;
  second.damped_until = now + std::chrono::seconds(30);
  second.preference = 10;
  second.cost = 3;
  second.counted = Micros(40'000);
  second.why = "It is damped: it has failed too often lately.";
  second.remedy = "It would have to stay up until it is no longer damped.";
  CandidateSnapshot last;
  last.path = relayed;
  last.quality.in.reachable = policy::Reachability::no;
  last.standing = Standing::excluded;
  last.obstacle = Obstacle::too_costly;
  last.figure = 30;
  last.limit = 20;
  last.cost = 30;
  last.why = "It is excluded: it costs 30, and 20 is the most allowed.";
  last.remedy = "Its ends would have to cost 20 at most, or the controller to allow 30.";

  ClassPathSnapshot interactive;
  interactive.traffic = TrafficClass::interactive;
  interactive.state = "agreed";
  interactive.path = six;
  interactive.quality = best.quality;
  interactive.since = now - std::chrono::seconds(60);
  interactive.cause = ChoiceCause::better;
  interactive.peer_path = six;
  interactive.changes = {{ChoiceCause::first, 1}, {ChoiceCause::better, 2}};
  interactive.candidates = {{Standing::good, 1}, {Standing::damped, 1}, {Standing::excluded, 1}};
  interactive.ranked = {best, second, last};
  interactive.explanation = {
      "interactive goes eth1 -> enp130s0f1np1: it was better than the one before.", best.why};
  ClassPathSnapshot fallback;
  fallback.traffic = TrafficClass::best_effort;
  fallback.state = "nominated";
  fallback.path = four;
  fallback.quality = second.quality;
  fallback.since = now - std::chrono::seconds(2);
  fallback.cause = ChoiceCause::lost;
  fallback.peer_path = relayed;
  fallback.changes = {{ChoiceCause::lost, 1}};
  fallback.candidates = {{Standing::damped, 1}};
  second.in_use = true;
  fallback.ranked = {second};
  fallback.explanation = {"default goes eth0 -> eth0."};
  ClassPathSnapshot bulk;
  bulk.traffic = TrafficClass::bulk;
  bulk.state = "idle";
  bulk.explanation = {"bulk has no path: none can be used."};

  PeerPathsSnapshot peer;
  peer.peer = "hostB";
  peer.role = "controlling";
  peer.connected = true;
  peer.since = now - std::chrono::seconds(80);
  peer.epoch = 1'767'225'598'250'000;
  peer.heard = true;
  peer.probes_sent = 1'000;
  peer.probes_answered = 990;
  peer.classes = {interactive, fallback, bulk};
  peer.ends = {{{.address = make_address("198.51.100.2"),
                 .interface = "eth0",
                 .speed = 1'000'000'000,
                 .mtu = 9000},
                ""}};
  peer.recent = {{now - std::chrono::seconds(70),
                  TrafficClass::bulk,
                  {},
                  four,
                  ChoiceCause::first,
                  "bulk goes eth0 192.0.2.1 -> eth0 198.51.100.2: there was none before."},
                 {now - std::chrono::seconds(2),
                  TrafficClass::bulk,
                  four,
                  {},
                  ChoiceCause::nothing_usable,
                  "bulk no longer goes eth0 192.0.2.1 -> eth0 198.51.100.2: that carries nothing "
                  "in either direction, and no other can be used."}};
  PeerPathsSnapshot silent;
  silent.peer = "hostC";
  silent.role = "controlling";
  for (const TrafficClass traffic : policy::kTrafficClasses) {
    silent.classes.emplace_back().traffic = traffic;
    silent.classes.back().state = "idle";
  }
  paths.peers = {peer, silent};
  paths.relaying = {.hosts = 2, .labels = 12};
  return paths;
}

/// To hostB: one that has changed, one that has gone, and one that was there before.
inline std::vector<PathEvent> fixed_path_events(SystemTime now) {
  using policy::ChoiceCause;
  using policy::TrafficClass;
  const PathSnapshot one = path_between("eth0", "192.0.2.1", "eth0", "198.51.100.2");
  PathSnapshot other = path_between("eth1", "192.0.2.65", "", "198.51.100.3");
  other.relay = "hostC";
  return {{.peer = "hostB",
           .traffic = TrafficClass::interactive,
           .state = "agreed",
           .from = one,
           .to = other,
           .cause = ChoiceCause::lost,
           .text = "interactive goes eth1 192.0.2.65 -> 198.51.100.3 through hostC instead of eth0 "
                   "192.0.2.1 -> eth0 198.51.100.2: that carries nothing in either direction.",
           .time = now - std::chrono::seconds(2)},
          {.peer = "hostB",
           .traffic = TrafficClass::best_effort,
           .state = "idle",
           .from = one,
           .to = {},
           .cause = ChoiceCause::nothing_usable,
           .text = "default no longer goes eth0 192.0.2.1 -> eth0 198.51.100.2: that carries "
                   "nothing in either direction, and no other can be used.",
           .time = now - std::chrono::seconds(1)},
          {.peer = "hostB",
           .traffic = TrafficClass::bulk,
           .state = "nominated",
           .from = {},
           .to = one,
           .cause = ChoiceCause::unchanged,
           .text = "",
           .time = {}}};
}

}  // namespace homeport::agent::test
