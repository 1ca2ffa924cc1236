#include "policy/port_rule.h"

#include "policy/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <map>
#include <optional>
#include <tuple>
#include <utility>

namespace homeport::policy {
namespace {

constexpr std::array<std::pair<std::uint8_t, std::string_view>, 3> kTransports = {
    {{6, "tcp"}, {17, "udp"}, {132, "sctp"}}};
constexpr std::size_t kMostShown = 40;  // of a text that is wrong: a good one is no longer

std::optional<std::uint16_t> parse_port(std::string_view text) {
  std::uint16_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc() || end != text.data() + text.size() || port == 0) return std::nullopt;
  return port;
}

std::ptrdiff_t rank_of(TrafficClass traffic_class) {
  return std::ranges::find(kTrafficClasses, traffic_class) - kTrafficClasses.begin();
}

/// Ports that are decided for, by their first and last.
using Decided = std::map<std::uint32_t, std::uint32_t>;

/// Takes what of first..last is not decided for yet; `take` is told each piece.
template <class Take>
void take_rest(Decided& decided, std::uint32_t first, std::uint32_t last, Take take) {
  std::vector<std::pair<std::uint32_t, std::uint32_t>> rest;
  std::uint32_t next = first;
  auto range = decided.upper_bound(first);
  if (range != decided.begin()) --range;
  for (; range != decided.end() && range->first <= last; ++range) {
    if (range->second < next) continue;
    if (range->first > next) rest.emplace_back(next, range->first - 1);
    next = range->second + 1;
  }
  if (next <= last) rest.emplace_back(next, last);
  for (const auto& [from, to] : rest) {
    decided.emplace(from, to);
    take(static_cast<std::uint16_t>(from), static_cast<std::uint16_t>(to));
  }
}

}  // namespace

std::string_view transport_name(std::uint8_t protocol) {
  for (const auto& [number, name] : kTransports) {
    if (number == protocol) return name;
  }
  return {};
}

Result<PortRange> parse_ports(std::string_view text) {
  const std::size_t colon = text.find(':');
  for (const auto& [number, name] : kTransports) {
    if (colon == text.npos || text.substr(0, colon) != name) continue;
    const std::string_view ports = text.substr(colon + 1);
    const std::size_t dash = ports.find('-');
    const auto first = parse_port(ports.substr(0, dash));
    const auto last = dash == ports.npos ? first : parse_port(ports.substr(dash + 1));
    if (!first || !last || *first > *last) break;
    return PortRange{number, *first, *last};
  }
  return make_error(
      boost::system::errc::invalid_argument,
      fmt::format("\"{}\" names no ports: write tcp:PORT, udp:PORT or sctp:PORT, or FIRST-LAST "
                  "for the port, from 1 to 65535",
                  printable(text, kMostShown)));
}

std::string to_string(const PortRange& ports) {
  const std::string first = fmt::format("{}:{}", transport_name(ports.protocol), ports.first);
  return ports.first == ports.last ? first : fmt::format("{}-{}", first, ports.last);
}

bool decides_before(const PortRule& one, const PortRule& other) {
  const auto order = [](const PortRule& rule) {
    return std::tuple(rule.ports.last - rule.ports.first, rule.ports.first, rule.ports.protocol,
                      rank_of(rule.traffic_class));
  };
  return order(one) < order(other);
}

std::vector<RuleSegment> segments_of(const std::vector<PortRule>& rules) {
  std::vector<RuleSegment> segments;
  std::map<std::uint8_t, Decided> decided;
  for (std::size_t rule = 0; rule < rules.size(); ++rule) {
    const PortRange& ports = rules[rule].ports;
    take_rest(decided[ports.protocol], ports.first, ports.last,
              [&](std::uint16_t first, std::uint16_t last) {
                segments.push_back({rule, first, last});
              });
  }
  return segments;
}

void settle(std::vector<PortRule>& rules) {
  std::ranges::sort(rules, decides_before);
  std::vector<PortRule> deciding;
  for (const RuleSegment& segment : segments_of(rules)) {
    const PortRule& rule = rules[segment.rule];
    if (deciding.empty() || deciding.back() != rule) deciding.push_back(rule);
  }
  rules = std::move(deciding);
}

std::vector<PortPrefix> prefixes_of(std::uint16_t first, std::uint16_t last) {
  std::vector<PortPrefix> prefixes;
  std::uint32_t next = first;
  while (next <= last) {
    // The largest block that begins there and does not go beyond the last port.
    const auto aligned = next == 0 ? 16u : static_cast<unsigned>(std::countr_zero(next));
    const auto fits = static_cast<unsigned>(std::bit_width(last - next + 1u)) - 1;
    const unsigned free = std::min({aligned, fits, 16u});
    prefixes.push_back({static_cast<std::uint16_t>(next), 16 - free});
    next += 1u << free;
  }
  return prefixes;
}

}  // namespace homeport::policy
