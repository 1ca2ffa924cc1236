#include "overlay/negotiation/speaker.h"

#include "tests/unit/policy/path/paths.h"

#include <gtest/gtest.h>

namespace homeport::overlay {
namespace {

using namespace std::chrono_literals;
using policy::at;
using policy::Time;
using Haste = Speaker::Haste;
using Part = Speaker::Part;

class SpeakerTest : public testing::Test {
 protected:
  // Everything said, and heard.
  void settle() {
    speaker.speak(at(0s));
    speaker.peer_has(speaker.id());
    ASSERT_TRUE(speaker.acknowledged());
  }

  Speaker speaker{7, {}};
};

TEST_F(SpeakerTest, SaysEverythingAtOnce) {
  EXPECT_EQ(speaker.due(), Time::min());
  const Speaker::Statement first = speaker.speak(at(0s));
  EXPECT_EQ(first.id, (StatementId{7, 1}));
  EXPECT_TRUE(first.ends && first.reports && first.wants_answer);
}

TEST_F(SpeakerTest, RepeatsAtGrowingIntervalsWhatIsNotAcknowledged) {
  policy::Micros now = 0s;
  speaker.speak(at(now));
  for (policy::Micros interval : {200ms, 400ms, 800ms, 1000ms, 1000ms}) {
    EXPECT_EQ(speaker.due(), at(now + interval));
    now += interval;
    EXPECT_TRUE(speaker.speak(at(now)).ends);
  }
  speaker.peer_has({7, 1});
  EXPECT_EQ(speaker.due(), at(now + 10s)) << "only to show that it is there";
}

TEST_F(SpeakerTest, SaysWhatHasChangedOnly) {
  settle();
  speaker.changed(Part::choices, Haste::urgent);
  const Speaker::Statement choices = speaker.speak(at(1s));
  EXPECT_EQ(choices.id.revision, 2u);
  EXPECT_FALSE(choices.ends || choices.reports);
  EXPECT_TRUE(choices.wants_answer);
  speaker.changed(Part::ends, Haste::urgent);
  EXPECT_TRUE(speaker.speak(at(2s)).ends);
  speaker.peer_has({7, 2});
  EXPECT_TRUE(speaker.speak(at(3s)).ends) << "it has the revision before";
}

TEST_F(SpeakerTest, UrgentChangesWaitForTheGapOnly) {
  settle();
  speaker.changed(Part::reports, Haste::urgent);
  EXPECT_EQ(speaker.due(), at(5ms));
}

TEST_F(SpeakerTest, OtherChangesWaitALittle) {
  settle();
  speaker.changed(Part::reports, Haste::soon);
  EXPECT_EQ(speaker.due(), at(200ms));
}

TEST_F(SpeakerTest, ASignOfLifeSaysWhatIsMeasured) {
  settle();
  const Speaker::Statement sign = speaker.speak(speaker.due());
  EXPECT_TRUE(sign.reports);
  EXPECT_FALSE(sign.ends);
  EXPECT_TRUE(sign.wants_answer);
}

TEST_F(SpeakerTest, AnAnswerSaysNothingNew) {
  settle();
  speaker.owes_answer();
  EXPECT_EQ(speaker.due(), at(5ms));
  const Speaker::Statement answer = speaker.speak(at(5ms));
  EXPECT_EQ(answer.id, (StatementId{7, 1}));
  EXPECT_FALSE(answer.ends || answer.reports || answer.wants_answer);
}

TEST_F(SpeakerTest, SaysEverythingToAnAgentThatHasStartedAgain) {
  for (const StatementId seen : {StatementId{}, StatementId{6, 90}}) {
    settle();
    speaker.peer_has(seen);
    EXPECT_FALSE(speaker.acknowledged());
    const Speaker::Statement all = speaker.speak(at(1s));
    EXPECT_TRUE(all.ends && all.reports);
    EXPECT_EQ(all.id.epoch, 7u);
  }
}

TEST_F(SpeakerTest, GoesBeyondWhatAnEarlierRunHasSaid) {
  for (const StatementId said : {StatementId{9, 3}, StatementId{1000, 2}}) {
    speaker.peer_has(said);
    EXPECT_GT(speaker.id().epoch, said.epoch);
    const Speaker::Statement all = speaker.speak(at(1s));
    EXPECT_TRUE(all.ends && all.reports);
  }
}

TEST_F(SpeakerTest, TwoRunsGoBeyondTheSameOneEachInItsOwnWay) {
  Speaker next(8, {});
  for (Speaker* run : {&speaker, &next}) run->peer_has({9, 3});
  EXPECT_NE(speaker.id().epoch, next.id().epoch) << "nobody need have heard the first";
}

TEST_F(SpeakerTest, TheEpochDoesNotWrapAround) {
  speaker.peer_has({kMostCounted, kMostCounted});
  EXPECT_EQ(speaker.id().epoch, 7u);
}

}  // namespace
}  // namespace homeport::overlay
