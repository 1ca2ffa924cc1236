// Paths for tests: by hand, and at random.
#pragma once

#include "policy/path/class_policy.h"
#include "policy/path/conversation.h"
#include "policy/path/quality.h"

#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <vector>

namespace homeport::policy {

/// A moment, counted from some other.
inline Time at(Micros time) {
  return Time() + time;
}

inline PathEnd end_at(const std::string& address, const std::string& interface = "eth0") {
  return {.address = *parse_address(address), .interface = interface};
}

inline PathId path_of(const std::string& first, const std::string& second,
                      const std::string& relay = "") {
  return {*parse_address(first), *parse_address(second), relay};
}

/// Of a path that carries.
inline PathQuality carrying(Micros rtt, LossPpm loss = 0,
                            std::optional<std::uint64_t> bandwidth = {}) {
  const DirectionQuality direction{
      .reachable = Reachability::yes, .loss = loss, .bandwidth = bandwidth};
  return {.rtt = rtt, .variation = Micros(0), .out = direction, .in = direction};
}

inline PathQuality not_carrying() {
  PathQuality quality;
  quality.in.reachable = Reachability::no;
  return quality;
}

using Random = std::mt19937_64;

inline bool chance(Random& random, double probability) {
  return std::bernoulli_distribution(probability)(random);
}

inline std::uint64_t between(Random& random, std::uint64_t least, std::uint64_t most) {
  return std::uniform_int_distribution<std::uint64_t>(least, most)(random);
}

/// One of few values, so that there are ties.
inline DirectionQuality random_direction(Random& random) {
  DirectionQuality quality;
  quality.reachable = chance(random, 0.8)   ? Reachability::yes
                      : chance(random, 0.5) ? Reachability::no
                                            : Reachability::unknown;
  if (chance(random, 0.5)) quality.loss = 10'000 * between(random, 0, 2);
  if (chance(random, 0.3)) quality.bandwidth = 100'000'000 * between(random, 1, 3);
  if (chance(random, 0.3)) quality.mtu = 1400 + 100 * between(random, 0, 2);
  return quality;
}

inline PathQuality random_quality(Random& random) {
  PathQuality quality{.out = random_direction(random), .in = random_direction(random)};
  if (chance(random, 0.9)) quality.rtt = Micros(10'000 * between(random, 1, 3));
  if (chance(random, 0.9)) quality.variation = Micros(2000 * between(random, 0, 2));
  return quality;
}

/// One to four, of both families: 192.0.2.x and 2001:db8::x.
inline std::vector<PathEnd> random_ends(Random& random, int host) {
  std::vector<PathEnd> ends;
  const std::uint64_t count = between(random, 1, 4);
  for (std::uint64_t i = 0; i < count; ++i) {
    const std::string number = std::to_string(10 * host + static_cast<int>(i));
    PathEnd end = end_at(chance(random, 0.3) ? "2001:db8::" + number : "192.0.2." + number,
                         "eth" + std::to_string(i));
    end.speed = 1'000'000'000 * between(random, 0, 2);
    end.mtu = static_cast<std::uint32_t>(1500 * between(random, 0, 1));
    end.cost = static_cast<std::uint32_t>(10 * between(random, 0, 1));
    if (chance(random, 0.4)) end.labels.push_back(chance(random, 0.5) ? "fiber" : "radio");
    end.default_route = chance(random, 0.3);
    ends.push_back(std::move(end));
  }
  return ends;
}

/// Between hosts A and B, with relayed paths now and then.
inline Conversation random_conversation(Random& random) {
  Conversation conversation{{"hostA", random_ends(random, 1)}, {"hostB", random_ends(random, 2)}};
  for (const PathCandidate& candidate : candidates(conversation)) {
    for (const char* relay : {"", "hostC"}) {
      for (Party* party : {&conversation.first, &conversation.second}) {
        if (!chance(random, *relay ? 0.2 : 0.9)) continue;
        PathId path = candidate.path;
        path.relay = relay;
        party->reports.push_back(
            {.path = path, .quality = random_quality(random), .damped = chance(random, 0.05)});
      }
    }
  }
  return conversation;
}

inline ClassPolicy random_policy(Random& random) {
  ClassPolicy policy;
  if (chance(random, 0.3)) policy.preferences["fiber"] = 10;
  if (chance(random, 0.3)) policy.preferences["radio"] = 20;
  if (chance(random, 0.2)) policy.forbidden.push_back({.host = "hostA", .interface = "eth0"});
  if (chance(random, 0.2)) policy.pinned.push_back({{.host = "hostB", .interface = "eth1"}, {}});
  if (chance(random, 0.2)) policy.cost_ceiling = 10;
  if (chance(random, 0.3)) policy.minimum.most_loss = 15'000;
  if (chance(random, 0.3)) policy.minimum.most_rtt = Micros(20'000);
  policy.relays = chance(random, 0.8);
  return policy;
}

}  // namespace homeport::policy
