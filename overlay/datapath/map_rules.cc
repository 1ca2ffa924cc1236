#include "overlay/datapath/map_rules.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace homeport::overlay {

namespace {

constexpr unsigned kPortBits = 16, kProtocolBits = HP_PORT_RULE_BITS - kPortBits;

hp_port_rule_key key_of(std::uint8_t protocol, const policy::PortPrefix& prefix) {
  return {kProtocolBits + prefix.bits, protocol, 0, htons(prefix.port)};
}

/// How many bits of the port count.
unsigned bits_of(const hp_port_rule_key& key) {
  return std::clamp(key.prefix, kProtocolBits, kProtocolBits + kPortBits) - kProtocolBits;
}

}  // namespace

void place_rules(std::vector<policy::PortRule> rules, MapImage& image,
                 std::vector<std::string>& problems) {
  policy::settle(rules);
  for (const policy::RuleSegment& segment : policy::segments_of(rules)) {
    const auto& [ports, traffic_class] = rules[segment.rule];
    for (const policy::PortPrefix& prefix : policy::prefixes_of(segment.first, segment.last)) {
      if (image.port_rules.size() == HP_MAX_PORT_RULES) {
        return problems.push_back(
            fmt::format("The rule for {}, and what comes behind it, is not carried whole: there is "
                        "room for {} prefixes of ports.",
                        to_string(ports), HP_MAX_PORT_RULES));
      }
      image.port_rules[key_of(ports.protocol, prefix)] = {ports.first, ports.last,
                                                          static_cast<__u32>(traffic_class)};
    }
  }
}

std::vector<policy::PortRule> rules_of(const MapImage& image) {
  std::vector<policy::PortRule> rules;
  for (const auto& [key, entry] : image.port_rules) rules.push_back(rule_of(key, entry));
  policy::settle(rules);
  return rules;
}

hp_port_rule_key rule_key(std::uint8_t protocol, std::uint16_t port) {
  return key_of(protocol, {port, kPortBits});
}

std::optional<hp_port_rule> find_rule(const MapImage& image, hp_port_rule_key key) {
  const std::uint16_t port = ntohs(key.port);
  for (unsigned bits = kPortBits + 1; bits-- > 0;) {
    const policy::PortPrefix all{port, bits};
    const policy::PortPrefix prefix{static_cast<std::uint16_t>(port & all.mask()), bits};
    auto found = image.port_rules.find(key_of(key.protocol, prefix));
    if (found != image.port_rules.end()) return found->second;
  }
  return std::nullopt;
}

std::string ports_text(const hp_port_rule_key& key) {
  const std::uint16_t first = ntohs(key.port);
  const policy::PortPrefix prefix{first, bits_of(key)};
  const auto last = static_cast<std::uint16_t>(first | ~prefix.mask());
  return to_string(policy::PortRange{key.protocol, first, last});
}

policy::PortRule rule_of(const hp_port_rule_key& key, const hp_port_rule& entry) {
  return {{key.protocol, entry.first, entry.last},
          static_cast<policy::TrafficClass>(entry.traffic_class)};
}

}  // namespace homeport::overlay
