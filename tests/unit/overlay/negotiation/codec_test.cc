#include "overlay/negotiation/codec.h"

#include "overlay/negotiation/negotiation.pb.h"
#include "tests/unit/policy/path/paths.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>

namespace homeport::overlay {
namespace {

using namespace std::chrono_literals;
using policy::TrafficClass;

policy::Result<PathStatement> decode(const std::string& bytes) {
  return overlay::decode(std::as_bytes(std::span(bytes)));
}

PathStatement statement() {
  PathStatement statement{.id = {3, 4}, .seen = {5, 6}, .wants_answer = true};
  statement.ends = {{.address = *policy::parse_address("192.0.2.1"),
                     .interface = "eth0",
                     .speed = 1'000'000'000,
                     .mtu = 1500,
                     .cost = 3,
                     .labels = {"fiber", "leased"},
                     .default_route = true},
                    policy::end_at("2001:db8::1", "eth1")};
  policy::PathReport report{.path = policy::path_of("192.0.2.1", "192.0.2.2", "hostC"),
                            .quality = policy::carrying(10ms, 0, 500),
                            .damped = true,
                            .age = 2s};
  report.quality.in = {.reachable = policy::Reachability::no, .loss = 7, .mtu = 1400};
  statement.reports = {report, {.path = policy::path_of("2001:db8::1", "2001:db8::2")}};
  statement.choices[TrafficClass::interactive] = {4, report.path};
  statement.choices[TrafficClass::best_effort] = {4, std::nullopt};
  return statement;
}

TEST(NegotiationCodec, ReadsWhatItWrites) {
  const auto read = decode(encode(statement()));
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(*read, statement());
}

TEST(NegotiationCodec, TellsWhatIsLeftOutFromWhatIsEmpty) {
  PathStatement brief{.id = {1, 1}};
  EXPECT_EQ(*decode(encode(brief)), brief);
  brief.ends.emplace();
  brief.reports.emplace();
  EXPECT_EQ(*decode(encode(brief)), brief);
}

TEST(NegotiationCodec, RandomReportsSurvive) {
  for (unsigned seed = 0; seed < 200; ++seed) {
    policy::Random random(seed);
    const policy::Conversation conversation = policy::random_conversation(random);
    PathStatement statement{.id = {1, 1}};
    statement.ends = conversation.first.ends;
    statement.reports = conversation.first.reports;
    const auto read = decode(encode(statement));
    ASSERT_TRUE(read) << read.error().message << ", seed " << seed;
    ASSERT_EQ(*read, statement) << "seed " << seed;
  }
}

TEST(NegotiationCodec, TheLongestStatementFits) {
  PathStatement longest{.id = {kMostCounted, kMostCounted}, .seen = {kMostCounted, kMostCounted}};
  longest.ends.emplace();
  longest.reports.emplace();
  const std::string name(kLongestName, 'x');
  for (std::size_t i = 0; i < policy::kMostEnds; ++i) {
    longest.ends->push_back({.address = *policy::parse_address("2001:db8::" + std::to_string(i)),
                             .interface = std::string(kLongestInterface, 'x'),
                             .speed = kMostBandwidth,
                             .mtu = kMostMtu,
                             .cost = kMostCost,
                             .labels = std::vector<std::string>(kMostLabels, name),
                             .default_route = true});
  }
  const policy::DirectionQuality most{.reachable = policy::Reachability::no,
                                      .loss = policy::kAllLost,
                                      .bandwidth = kMostBandwidth,
                                      .mtu = kMostMtu};
  for (std::size_t i = 0; i < policy::kMostPaths; ++i) {
    longest.reports->push_back(
        {.path = policy::path_of("2001:db8::" + std::to_string(i), "2001:db8:1::1", name),
         .quality = {.rtt = kLongestRtt, .variation = kLongestRtt, .out = most, .in = most},
         .damped = true,
         .age = kOldestReport});
  }
  for (TrafficClass traffic : policy::kTrafficClasses) {
    longest.choices[traffic] = {kMostCounted, longest.reports->front().path};
  }
  const auto read = decode(encode(longest));
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(*read, longest);
}

struct Bad {
  std::string name;
  std::function<void(NegotiationStatement&)> spoil;
  std::string complaint;
};
void PrintTo(const Bad& value, std::ostream* out) {
  *out << value.name;
}

class NegotiationCodecRefuses : public testing::TestWithParam<Bad> {};

NegotiationEnd& end(NegotiationStatement& message) {
  return *message.mutable_ends()->mutable_ends(0);
}
NegotiationReport& report(NegotiationStatement& message) {
  return *message.mutable_reports()->mutable_reports(0);
}

INSTANTIATE_TEST_SUITE_P(
    Statements, NegotiationCodecRefuses,
    testing::Values(
        Bad{"NoVersion", [](auto& message) { message.set_version(0); }, "upgrade one"},
        Bad{"ANewerVersion",
            [](auto& message) {
              message.set_version(9);
              message.set_oldest_version(8);
            },
            "versions 8 to 9"},
        Bad{"NoEpoch", [](auto& message) { message.set_epoch(0); }, "no epoch"},
        Bad{"AHugeEpoch", [](auto& message) { message.set_epoch(~0ull); }, "an epoch of"},
        Bad{"AHugeRevision", [](auto& message) { message.set_revision(~0ull); }, "a revision of"},
        Bad{"AHugeRevisionSeen", [](auto& message) { message.set_seen_revision(~0ull); },
            "a revision seen"},
        Bad{"TooManyEnds",
            [](auto& message) {
              for (int i = 0; i < 9; ++i) message.mutable_ends()->add_ends();
            },
            "a count of interfaces of 11"},
        Bad{"AnAddressOfFiveBytes", [](auto& message) { end(message).set_address("12345"); },
            "an address of 5 bytes"},
        Bad{"ALoopbackAddress",
            [](auto& message) { end(message).set_address(std::string("\x7f\0\0\1", 4)); },
            "127.0.0.1 is no address"},
        Bad{"TheSameEndTwice",
            [](auto& message) { *message.mutable_ends()->add_ends() = end(message); },
            "offers 192.0.2.1 twice"},
        Bad{"ALongInterface", [](auto& message) { end(message).set_interface("interface0123456"); },
            "'interface0123456' cannot be the name of an interface"},
        Bad{"NoInterface", [](auto& message) { end(message).clear_interface(); }, "an interface"},
        Bad{"AnInterfaceWithControlCharacters",
            [](auto& message) { end(message).set_interface("eth\n0"); }, "'eth?0'"},
        Bad{"AnEmptyLabel", [](auto& message) { end(message).add_labels(""); }, "a label"},
        Bad{"TooManyLabels",
            [](auto& message) {
              for (int i = 0; i < 7; ++i) end(message).add_labels("x");
            },
            "a count of labels of 9"},
        Bad{"AHugeSpeed", [](auto& message) { end(message).set_speed_bps(~0ull); }, "a speed"},
        Bad{"AHugeMtu", [](auto& message) { end(message).set_mtu(65'536); }, "an MTU"},
        Bad{"AHugeCost", [](auto& message) { end(message).set_cost(65'536); }, "a cost"},
        Bad{"TooManyReports",
            [](auto& message) {
              for (int i = 0; i < 63; ++i) message.mutable_reports()->add_reports();
            },
            "a count of reports of 65"},
        Bad{"AReportOfNoPath", [](auto& message) { report(message).clear_path(); },
            "an address of 0 bytes"},
        Bad{"APathBetweenFamilies",
            [](auto& message) {
              report(message).mutable_path()->set_second(std::string(16, '\x20'));
            },
            "in another"},
        Bad{"TheSameReportTwice",
            [](auto& message) { *message.mutable_reports()->add_reports() = report(message); },
            "reports 192.0.2.1 - 192.0.2.2 through hostC twice"},
        Bad{"ALongRelay",
            [](auto& message) { report(message).mutable_path()->set_relay(std::string(64, 'x')); },
            "a host"},
        Bad{"AHugeRoundTrip", [](auto& message) { report(message).set_rtt_us(60'000'001); },
            "a round trip"},
        Bad{"AHugeVariation", [](auto& message) { report(message).set_variation_us(~0ull); },
            "a variation"},
        Bad{"MoreThanAllLost",
            [](auto& message) { report(message).mutable_out()->set_loss_ppm(1'000'001); },
            "a loss"},
        Bad{"AHugeBandwidth",
            [](auto& message) { report(message).mutable_out()->set_bandwidth_bps(~0ull); },
            "a bandwidth"},
        Bad{"AHugePathMtu", [](auto& message) { report(message).mutable_in()->set_mtu(65'536); },
            "an MTU"},
        Bad{"AHugeAge", [](auto& message) { report(message).set_age_us(~0ull); }, "an age"},
        Bad{"TooManyChoices",
            [](auto& message) {
              for (int i = 0; i < 62; ++i) message.add_choices();
            },
            "a count of choices"},
        Bad{"AHugeNomination",
            [](auto& message) { message.mutable_choices(2)->set_nomination(~0ull); },
            "a nomination"},
        Bad{"AChoiceOfNowhere", [](auto& message) { message.mutable_choices(2)->mutable_path(); },
            "0 bytes"}),
    [](const auto& info) { return info.param.name; });

TEST_P(NegotiationCodecRefuses, WhatIsOutOfBounds) {
  NegotiationStatement message;
  ASSERT_TRUE(message.ParseFromString(encode(statement())));
  GetParam().spoil(message);
  const auto read = decode(message.SerializeAsString());
  ASSERT_FALSE(read);
  EXPECT_NE(read.error().message.find(GetParam().complaint), std::string::npos)
      << read.error().message;
}

TEST(NegotiationCodec, RefusesWhatIsNoStatement) {
  EXPECT_EQ(decode("\xff\xff\xff").error().code, boost::system::errc::bad_message);
  EXPECT_EQ(decode(std::string(kLongestStatement + 1, '\0')).error().code,
            boost::system::errc::message_size);
}

TEST(NegotiationCodec, IgnoresWhatOnlyANewerPeerKnows) {
  NegotiationStatement message;
  ASSERT_TRUE(message.ParseFromString(encode(statement())));
  message.set_version(7);
  message.set_oldest_version(1);
  auto* choice = message.add_choices();
  choice->set_traffic(static_cast<NegotiationClass>(9));
  choice->mutable_path();
  report(message).mutable_out()->set_reachable(static_cast<NegotiationReachability>(9));
  auto read = decode(message.SerializeAsString());
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->reports->front().quality.out.reachable, policy::Reachability::unknown);
  EXPECT_EQ(read->choices, statement().choices);
}

}  // namespace
}  // namespace homeport::overlay
