// Statements about relaying as bytes.
#include "overlay/datapath/datapath.h"
#include "overlay/negotiation/codec.h"
#include "overlay/negotiation/negotiation.pb.h"
#include "tests/unit/policy/path/paths.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>

namespace homeport::overlay {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

policy::Result<RelayStatement> decode(const std::string& bytes) {
  return decode_relay(std::as_bytes(std::span(bytes)));
}

RelayStatement statement() {
  RelayStatement statement{.id = {3, 4}, .seen = {5, 6}, .wants_answer = true};
  statement.asks = {{"hostB", {7, 100}}, {"hostD", {}}};
  policy::PathReport way{.path = policy::path_of("192.0.2.2", "192.0.2.3"),
                         .quality = policy::carrying(10ms, 0, 500),
                         .age = 2s};
  statement.answers = {{.host = "hostB", .way = way, .labels = {{7, kFirstLabel}, {8, kLastLabel}}},
                       {.host = "hostC", .refusal = "it does not relay"}};
  return statement;
}

TEST(RelayCodec, ReadsWhatItWrites) {
  for (const RelayStatement& each : {statement(), RelayStatement{.id = {1, 1}}}) {
    const auto read = decode(encode(each));
    ASSERT_TRUE(read) << read.error().message;
    EXPECT_EQ(*read, each);
  }
}

TEST(RelayCodec, TheLongestStatementIsNotTooLong) {
  RelayStatement longest{.id = {kMostCounted, kMostCounted}, .seen = {kMostCounted, kMostCounted}};
  for (std::size_t i = 0; i < kMostRelayedHosts; ++i) {
    std::string host(kLongestName, 'h');
    host += std::to_string(1000 + i);
    host.erase(0, 4);
    longest.asks.push_back({host, {kFirstLabel - 1}});
    RelayAnswer answer{.host = host, .refusal = std::string(kLongestRefusal, 'r')};
    policy::PathReport way{.path = policy::path_of("2001:db8::ffff:1", "2001:db8::ffff:2"),
                           .quality = policy::carrying(kLongestRtt, policy::kAllLost),
                           .age = kOldestReport};
    way.quality.out = way.quality.in = {.reachable = policy::Reachability::yes,
                                        .loss = policy::kAllLost,
                                        .bandwidth = kMostBandwidth,
                                        .mtu = kMostMtu};
    answer.way = way;
    answer.labels = {{kFirstLabel - 1, kLastLabel}};
    longest.answers.push_back(std::move(answer));
  }
  const auto read = decode(encode(longest));
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(*read, longest);
}

struct Bad {
  std::function<void(NegotiationRelayStatement&)> change;
  const char* problem;
};

TEST(RelayCodec, WhatIsNotGoodIsRefused) {
  const Bad all[] = {
      {[](auto& it) { it.set_epoch(0); }, "no epoch"},
      {[](auto& it) { it.set_version(2), it.set_oldest_version(2); }, "in versions 2 to 2"},
      {[](auto& it) { it.mutable_asks(0)->set_host(""); }, "cannot be the name of a host"},
      {[](auto& it) { it.mutable_asks(0)->set_host("a\nb"); }, "cannot be the name of a host"},
      {[](auto& it) { it.mutable_asks(1)->set_host("hostB"); }, "asks for hostB twice"},
      {[](auto& it) { it.mutable_asks(0)->add_networks(kFirstLabel); }, "a network"},
      {[](auto& it) { it.mutable_answers(1)->set_host("hostB"); }, "tells of hostB twice"},
      {[](auto& it) { it.mutable_answers(0)->mutable_labels(0)->set_label(kFirstLabel - 1); },
       "is no label"},
      {[](auto& it) { it.mutable_answers(0)->mutable_labels(0)->set_label(kLastLabel + 1); },
       "a label"},
      {[](auto& it) { it.mutable_answers(0)->mutable_way()->mutable_path()->set_first("x"); },
       "an address of 1 bytes"},
      {[](auto& it) {
         for (int i = 0; i < 256; ++i) it.add_asks()->set_host(fmt::format("host{}", i));
       },
       "a count of hosts"},
      {[](auto& it) {
         for (int i = 0; i < 257; ++i) it.mutable_asks(0)->add_networks(1 + i);
       },
       "a count of networks"},
      {[](auto& it) {
         for (int i = 0; i < 256; ++i)
           *it.mutable_answers(1)->add_labels() = it.answers(0).labels(0);
       },
       "a count of labels"},
  };
  for (const Bad& bad : all) {
    NegotiationRelayStatement message;
    ASSERT_TRUE(message.ParseFromString(encode(statement())));
    bad.change(message);
    const auto read = decode(message.SerializeAsString());
    ASSERT_FALSE(read) << bad.problem;
    EXPECT_THAT(read.error().message, HasSubstr(bad.problem));
  }
  EXPECT_FALSE(decode("\xff"));
  EXPECT_FALSE(decode(std::string(kLongestRelayStatement + 1, '\0')));
}

TEST(RelayCodec, ARefusalIsMadeFitToBePrinted) {
  RelayStatement said{.id = {1, 1}};
  said.answers = {{.host = "hostB", .refusal = "no\n" + std::string(200, '!')}};
  const auto read = decode(encode(said));
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_THAT(read->answers.at(0).refusal, testing::StartsWith("no?!"));
  EXPECT_LE(read->answers.at(0).refusal.size(), kLongestRefusal);
}

}  // namespace
}  // namespace homeport::overlay
