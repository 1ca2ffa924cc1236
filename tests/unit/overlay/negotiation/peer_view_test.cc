#include "overlay/negotiation/peer_view.h"

#include "tests/unit/policy/path/paths.h"

#include <gtest/gtest.h>

namespace homeport::overlay {
namespace {

using namespace std::chrono_literals;
using policy::at;
using policy::end_at;
using Taken = PeerView::Taken;

constexpr std::uint64_t kOwnEpoch = 5;

PathStatement complete(StatementId id, const std::string& address) {
  PathStatement statement{.id = id, .seen = {kOwnEpoch, 1}};
  statement.ends = {end_at(address)};
  statement.reports = {{.path = policy::path_of("192.0.2.1", "192.0.2.2"),
                        .quality = policy::carrying(1ms),
                        .age = 1s}};
  return statement;
}

class PeerViewTest : public testing::Test {
 protected:
  PeerViewTest() {
    EXPECT_EQ(peer.take(complete({3, 10}, "192.0.2.1"), kOwnEpoch, at(1s)), Taken::news);
  }
  Taken take(PathStatement statement) { return peer.take(std::move(statement), kOwnEpoch, at(2s)); }
  std::string offered() const { return peer.ends().at(0).address.to_string(); }

  PeerView peer;
};

TEST_F(PeerViewTest, KeepsWhatALaterStatementLeavesOut) {
  PathStatement brief{.id = {3, 11}, .seen = {kOwnEpoch, 1}};
  brief.choices[policy::TrafficClass::bulk].nomination = 4;
  EXPECT_EQ(take(brief), Taken::news);
  EXPECT_EQ(offered(), "192.0.2.1");
  EXPECT_EQ(peer.choices()[policy::TrafficClass::bulk].nomination, 4u);
  EXPECT_EQ(peer.last(), (StatementId{3, 11}));
}

TEST_F(PeerViewTest, TakesNothingTwiceNorLate) {
  EXPECT_EQ(take(complete({3, 10}, "192.0.2.7")), Taken::repeated);
  EXPECT_EQ(take(complete({3, 9}, "192.0.2.7")), Taken::late);
  EXPECT_EQ(take(complete({2, 90}, "192.0.2.7")), Taken::late) << "of an earlier run";
  EXPECT_EQ(offered(), "192.0.2.1");
}

TEST_F(PeerViewTest, BelievesTheLatestRunOfTheAgent) {
  EXPECT_EQ(take(complete({4, 1}, "192.0.2.7")), Taken::news);
  EXPECT_EQ(offered(), "192.0.2.7");
}

TEST_F(PeerViewTest, TakesNoStatementThatLeavesOutWhatItDoesNotKnow) {
  PathStatement brief{.id = {3, 11}, .seen = {kOwnEpoch - 1, 90}};
  EXPECT_EQ(take(brief), Taken::incomplete) << "said to an earlier run";
  brief = {.id = {4, 1}, .seen = {kOwnEpoch, 1}};
  EXPECT_EQ(take(brief), Taken::incomplete) << "by an agent that was not heard before";
  EXPECT_EQ(peer.last(), (StatementId{3, 10}));
  PeerView fresh;
  EXPECT_EQ(fresh.take({.id = {3, 11}, .seen = {kOwnEpoch, 1}}, kOwnEpoch, at(1s)),
            Taken::incomplete);
}

TEST_F(PeerViewTest, ForgetsOldReports) {
  EXPECT_TRUE(peer.reports(at(5s), 5s).at(0).quality.measured());
  EXPECT_EQ(peer.next_forgotten(at(2s), 5s), at(5s + 1us)) << "it was a second old";
  EXPECT_FALSE(peer.reports(at(5s + 1us), 5s).at(0).quality.measured());
  EXPECT_EQ(peer.next_forgotten(at(6s), 5s), policy::Time::max());
}

TEST_F(PeerViewTest, BelievesNothingToBeBrokenAnyMoreOnceThereIsNoChannel) {
  PathStatement statement = complete({3, 11}, "192.0.2.1");
  policy::PathReport broken = statement.reports->at(0);
  broken.path = policy::path_of("192.0.2.1", "192.0.2.3");
  broken.quality.out.reachable = policy::Reachability::no;
  statement.reports->push_back(broken);
  EXPECT_EQ(take(std::move(statement)), Taken::news);
  EXPECT_TRUE(peer.reports(at(2s), 5s).at(1).quality.broken());
  peer.disconnected();
  const auto reports = peer.reports(at(2s), 5s);
  EXPECT_EQ(reports.at(1).quality.out.reachable, policy::Reachability::unknown);
  EXPECT_EQ(reports.at(1).quality.in.reachable, policy::Reachability::yes);
  EXPECT_TRUE(reports.at(0).quality.measured());
}

}  // namespace
}  // namespace homeport::overlay
