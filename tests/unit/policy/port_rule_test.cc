#include "policy/port_rule.h"

#include <gmock/gmock.h>

#include <array>
#include <random>

namespace homeport::policy {
namespace {

using enum TrafficClass;
using testing::ElementsAre;
using testing::IsEmpty;

PortRule rule(const char* ports, TrafficClass traffic_class) {
  return {parse_ports(ports).value(), traffic_class};
}

TEST(PortRange, IsReadAndWritten) {
  EXPECT_EQ(parse_ports("tcp:22").value(), (PortRange{6, 22, 22}));
  EXPECT_EQ(parse_ports("udp:5000-5999").value(), (PortRange{17, 5000, 5999}));
  EXPECT_EQ(parse_ports("sctp:1-65535").value(), (PortRange{132, 1, 65535}));
  EXPECT_EQ(parse_ports("tcp:7-7").value(), (PortRange{6, 7, 7}));
  for (const char* text : {"tcp:22", "udp:5000-5999", "sctp:1-65535"}) {
    EXPECT_EQ(to_string(parse_ports(text).value()), text);
  }
}

TEST(PortRange, OtherTextIsRefused) {
  for (const char* text :
       {"",          "tcp",       "tcp:",    "22",      ":22",      "icmp:8",   "TCP:22",
        "tcp:0",     "tcp:65536", "tcp:-1",  "tcp:9-8", "tcp:0-8",  "tcp:8-",   "tcp:-8",
        "tcp:1-2-3", "tcp: 22",   "tcp:22 ", "tcp:+22", "tcp:0x16", "tcp:22,23"}) {
    const auto parsed = parse_ports(text);
    ASSERT_FALSE(parsed) << text;
    EXPECT_THAT(parsed.error().message, testing::HasSubstr("names no ports: write tcp:PORT"));
  }
  EXPECT_THAT(parse_ports("tcp:\x1b[2J").error().message, testing::Not(testing::HasSubstr("\x1b")));
}

TEST(PortRules, OfFewerPortsDecideBefore) {
  const PortRule wide = rule("tcp:1-100", bulk), narrow = rule("tcp:50-59", best_effort),
                 one = rule("tcp:55", interactive), later = rule("tcp:60-69", interactive);
  EXPECT_TRUE(decides_before(one, narrow));
  EXPECT_TRUE(decides_before(narrow, wide));
  EXPECT_TRUE(decides_before(narrow, later));
  EXPECT_FALSE(decides_before(later, narrow));
  EXPECT_TRUE(decides_before(rule("tcp:55", interactive), rule("tcp:55", best_effort)));
  EXPECT_TRUE(decides_before(rule("tcp:55", best_effort), rule("tcp:55", bulk)));
  EXPECT_FALSE(decides_before(one, one));
}

TEST(PortRules, HaveThePortsThatNoneBeforeThemHas) {
  std::vector<PortRule> rules = {rule("tcp:1-100", bulk), rule("udp:50", interactive),
                                 rule("tcp:50-59", interactive), rule("tcp:55-64", best_effort),
                                 rule("tcp:1", interactive)};
  settle(rules);
  EXPECT_THAT(rules, ElementsAre(rule("tcp:1", interactive), rule("udp:50", interactive),
                                 rule("tcp:50-59", interactive), rule("tcp:55-64", best_effort),
                                 rule("tcp:1-100", bulk)));
  EXPECT_THAT(segments_of(rules),
              ElementsAre(RuleSegment{0, 1, 1}, RuleSegment{1, 50, 50}, RuleSegment{2, 50, 59},
                          RuleSegment{3, 60, 64}, RuleSegment{4, 2, 49}, RuleSegment{4, 65, 100}));
}

TEST(PortRules, ThatNeverDecideAreLeftOut) {
  std::vector<PortRule> rules = {rule("tcp:10-13", bulk),        rule("tcp:12-13", interactive),
                                 rule("tcp:10-11", interactive), rule("udp:7", bulk),
                                 rule("udp:7", interactive),     rule("udp:7", interactive)};
  settle(rules);
  EXPECT_THAT(rules, ElementsAre(rule("udp:7", interactive), rule("tcp:10-11", interactive),
                                 rule("tcp:12-13", interactive)));
  rules.clear();
  settle(rules);
  EXPECT_THAT(rules, IsEmpty());
}

TEST(PortRules, DecideForEachPortAsTheFirstThatHasIt) {
  std::mt19937 random(18545);
  std::uniform_int_distribution<int> port(1, 65535), width(0, 12), traffic_class(0, 2);
  for (int run = 0; run < 20; ++run) {
    std::vector<PortRule> rules;
    for (int i = 0; i < 40; ++i) {
      const int first = port(random);
      const int last = std::min(65535, first + (1 << width(random)) - 1);
      rules.push_back({{6, static_cast<std::uint16_t>(first), static_cast<std::uint16_t>(last)},
                       kTrafficClasses[static_cast<std::size_t>(traffic_class(random))]});
    }
    settle(rules);
    std::vector<int> decides(65536, -1);
    for (const RuleSegment& segment : segments_of(rules)) {
      for (const PortPrefix& prefix : prefixes_of(segment.first, segment.last)) {
        for (std::uint32_t at = prefix.port; at <= (prefix.port | (~prefix.mask() & 0xffffu));
             ++at) {
          ASSERT_EQ(decides[at], -1) << "two for the port " << at;
          decides[at] = static_cast<int>(segment.rule);
        }
      }
    }
    for (int at = 0; at <= 65535; ++at) {
      int first = -1;
      for (std::size_t i = 0; i < rules.size() && first < 0; ++i) {
        if (rules[i].ports.first <= at && at <= rules[i].ports.last) first = static_cast<int>(i);
      }
      ASSERT_EQ(decides[static_cast<std::size_t>(at)], first) << "port " << at;
    }
  }
}

TEST(Prefixes, AreAsFewAsThereCanBe) {
  EXPECT_THAT(prefixes_of(22, 22), ElementsAre(PortPrefix{22, 16}));
  EXPECT_THAT(prefixes_of(0, 65535), ElementsAre(PortPrefix{0, 0}));
  EXPECT_THAT(prefixes_of(5000, 5007), ElementsAre(PortPrefix{5000, 13}));
  EXPECT_THAT(prefixes_of(5, 8),
              ElementsAre(PortPrefix{5, 16}, PortPrefix{6, 15}, PortPrefix{8, 16}));
  EXPECT_THAT(prefixes_of(65535, 65535), ElementsAre(PortPrefix{65535, 16}));
  EXPECT_EQ(prefixes_of(1, 65534).size(), 30u);
  EXPECT_EQ(prefixes_of(1, 65535).size(), 16u);
  EXPECT_EQ(PortPrefix({5000, 13}).mask(), 0xfff8);
  EXPECT_EQ(PortPrefix({0, 0}).mask(), 0);
}

}  // namespace
}  // namespace homeport::policy
