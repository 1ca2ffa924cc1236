#include "policy/path/estimate.h"

#include "tests/unit/policy/path/paths.h"

#include <gtest/gtest.h>

namespace homeport::policy {
namespace {

using namespace std::chrono_literals;

constexpr Reachability kYes = Reachability::yes;
constexpr Reachability kNo = Reachability::no;
constexpr Reachability kUnknown = Reachability::unknown;

// A path that is probed every 50 ms, and what comes back of that.
class Probed {
 public:
  explicit Probed(Micros rtt) : rtt_(rtt) {}

  void run(Micros time, bool answered, bool heard) {
    for (const Micros end = now_ + time; now_ < end; now_ += 50ms) {
      path.probe_sent(at(now_));
      if (heard) path.probe_heard(at(now_ + 1ms));
      if (answered) path.probe_answered(at(now_ + rtt_), rtt_);
    }
  }
  void wait(Micros time) { now_ += time; }
  PathQuality quality() const { return path.quality(at(now_)); }

  PathEstimator path;

 private:
  Micros rtt_;
  Micros now_{1s};
};

TEST(PathEstimator, KnowsNothingAtFirst) {
  Probed probed(10ms);
  EXPECT_EQ(probed.quality(), PathQuality());
  EXPECT_EQ(probed.path.dead_at(), Time::max());
  probed.run(100ms, false, false);
  EXPECT_EQ(probed.quality(), PathQuality()) << "an answer may be on its way";
}

TEST(PathEstimator, KnowsAPathThatCarriesByItsAnswers) {
  Probed probed(10ms);
  probed.run(5s, true, false);
  const PathQuality quality = probed.quality();
  EXPECT_TRUE(quality.measured());
  EXPECT_EQ(quality.rtt, 10ms);
  EXPECT_LT(quality.variation, 200us);
}

TEST(PathEstimator, FollowsTheRoundTripTime) {
  Probed probed(10ms);
  probed.run(5s, true, false);
  for (int i = 0; i < 20; ++i) probed.path.probe_answered(at(6s), 30ms);
  EXPECT_GT(probed.path.quality(at(6s)).rtt, 23ms) << "within a second, of 20 ms more most";
}

TEST(PathEstimator, NoticesABlackhole) {
  Probed probed(10ms);
  probed.run(1s, true, true);
  probed.run(150ms, false, false);
  EXPECT_FALSE(probed.quality().broken()) << "it might be late";
  probed.run(150ms, false, false);
  EXPECT_EQ(probed.quality().in.reachable, kNo);
  EXPECT_EQ(probed.quality().out.reachable, kUnknown) << "who can tell";
}

TEST(PathEstimator, WhatIsCarriedOtherwiseShowsThatItIsThere) {
  Probed probed(10ms);
  probed.run(1s, true, false);
  for (int i = 0; i < 20; ++i) {
    probed.run(50ms, false, false);
    probed.path.carried(at(2s + i * 50ms));
  }
  EXPECT_TRUE(probed.quality().measured()) << "answers are late, as it seems";
  EXPECT_EQ(probed.path.dead_at(), at(2950ms + 180ms));
  EXPECT_EQ(probed.path.silent_for(at(3s)), 50ms);
  probed.run(200ms, false, false);
  EXPECT_TRUE(probed.quality().broken()) << "nothing was carried lately, either";
  probed.path.carried(at(1500ms));
  EXPECT_TRUE(probed.quality().broken()) << "what is told late is no news";
}

TEST(PathEstimator, MayBeginDown) {
  Probed probed(10ms);
  probed.path.begin_down();
  EXPECT_TRUE(probed.quality().broken());
  probed.run(100ms, false, true);
  EXPECT_EQ(probed.quality().out.reachable, kNo);
  EXPECT_EQ(probed.quality().in.reachable, kYes);
  probed.run(50ms, true, true);
  EXPECT_TRUE(probed.quality().measured());
  probed.wait(1h);
  EXPECT_FALSE(probed.quality().broken()) << "once it has been answered it is like any other";
}

TEST(PathEstimator, TellsTheDirectionThatIsBroken) {
  Probed probed(10ms);
  probed.run(1s, true, true);
  probed.run(300ms, false, true);
  EXPECT_EQ(probed.quality().out.reachable, kNo);
  EXPECT_EQ(probed.quality().in.reachable, kYes);
}

TEST(PathEstimator, ForgivesTheFirstAnswerThatComesAgain) {
  Probed probed(10ms);
  probed.run(1s, true, true);
  probed.run(1s, false, false);
  probed.run(50ms, true, true);
  EXPECT_TRUE(probed.quality().measured());
}

TEST(PathEstimator, AFewLostProbesAreNoBlackhole) {
  PathEstimator path;
  path.probe_sent(at(1s));
  path.probe_answered(at(1010ms), 10ms);
  for (Micros sent = 2s; sent < 2200ms; sent += 50ms) path.probe_sent(at(sent));
  EXPECT_FALSE(path.quality(at(3s)).broken()) << "four were lost";
  path.probe_sent(at(3s));
  EXPECT_FALSE(path.quality(at(3s)).broken()) << "the last may be answered yet";
  EXPECT_EQ(path.dead_at(), at(3030ms)) << "10 ms and four times a variation of 5 ms";
  EXPECT_TRUE(path.quality(at(3030ms)).broken()) << "five were";
}

TEST(PathEstimator, AProbeThatWasAnsweredSpeaksForThoseBeforeIt) {
  PathEstimator path;
  for (Micros sent = 1s; sent < 1250ms; sent += 50ms) path.probe_sent(at(sent));
  path.probe_answered(at(1210ms), 110ms);  // what was sent at 1100 ms
  EXPECT_EQ(path.owes_since(), at(1150ms));
  EXPECT_FALSE(path.dead(at(2s))) << "two are out";
  path.probe_withdrawn();
  EXPECT_EQ(path.owes_since(), at(1150ms));
  path.probe_withdrawn();
  EXPECT_EQ(path.owes_since(), std::nullopt);
}

TEST(PathEstimator, GivesProbesTheirTimeAfterAnAbsence) {
  PathEstimator path;
  path.probe_answered(at(900ms), 1ms);
  for (Micros sent = 1s; sent < 1100ms; sent += 20ms) path.probe_sent(at(sent));
  path.stood_still(at(9s), 7900ms);
  EXPECT_EQ(path.dead_at(), at(9180ms));
  path.stood_still(at(9100ms), 80ms);
  EXPECT_EQ(path.dead_at(), at(9180ms)) << "who is late all the time is to find out, too";
  path.stood_still(at(9300ms), 100ms);
  EXPECT_TRUE(path.dead(at(9300ms))) << "it was before";
}

TEST(PathEstimator, IsAsOldAsWhatItKnows) {
  Probed probed(10ms);
  EXPECT_EQ(probed.path.age(at(1s)), 0ms);
  probed.run(1s, true, false);
  probed.wait(3s);
  EXPECT_EQ(probed.path.age(at(4960ms)), 3s);
  probed.run(1s, false, false);
  EXPECT_EQ(probed.path.age(at(6s)), 50ms) << "it is dead by what was asked last";
}

TEST(PathEstimator, WaitsLongerOnALongPath) {
  PathEstimator path;
  path.probe_sent(at(1s));
  path.probe_answered(at(1600ms), 600ms);
  for (Micros sent = 1600ms; sent < 2400ms; sent += 100ms) path.probe_sent(at(sent));
  // 600 ms and four times a variation of 300 ms (RFC 6298).
  // The fifth was sent at 2 s.
  EXPECT_FALSE(path.quality(at(3799ms)).broken());
  EXPECT_TRUE(path.quality(at(3800ms)).broken());
  EXPECT_EQ(path.dead_at(), at(3800ms));
}

TEST(PathEstimator, ForgetsWhenNobodyProbes) {
  Probed up(10ms);
  up.run(1s, true, true);
  up.wait(31s);
  EXPECT_EQ(up.quality(), PathQuality()) << "never stays up";
  Probed down(10ms);
  down.run(1s, false, false);
  EXPECT_TRUE(down.quality().broken());
  down.wait(31s);
  EXPECT_EQ(down.quality(), PathQuality()) << "nor down";
}

TEST(PathEstimator, IsNeverOfALaterTime) {
  PathEstimator path;
  path.probe_sent(at(1s));
  path.probe_answered(at(1s + 2ms), 2ms);
  EXPECT_EQ(path.age(at(1s + 1ms)), Micros(0)) << "by a clock that was looked at before";
  EXPECT_EQ(path.age(at(1s + 5ms)), Micros(3ms));
}

TEST(PathEstimator, ForgetsEachValueInItsTime) {
  Probed probed(10ms);
  probed.path.path_mtu(at(1s), 1400);
  probed.path.transferred(at(1s), Direction::in, 10'000'000, 1s, true);
  probed.path.counted(at(1s), Direction::out, 0, 0);
  probed.path.counted(at(1s), Direction::out, 100, 98);
  EXPECT_EQ(probed.quality().out.loss, 20'000u);
  probed.run(35s, true, true);
  EXPECT_EQ(probed.quality().out.loss, std::nullopt) << "counted 35 s ago";
  EXPECT_EQ(probed.quality().out.mtu, 1400u);
  EXPECT_EQ(probed.quality().in.bandwidth, 80'000'000u);
  probed.wait(90s);
  EXPECT_EQ(probed.quality().in.bandwidth, std::nullopt);
  EXPECT_EQ(probed.quality().out.mtu, 1400u);
  probed.wait(3500s);
  EXPECT_EQ(probed.quality().out.mtu, std::nullopt);
}

TEST(PathEstimator, BeginsAnewWithWhatIsForgotten) {
  PathEstimator path;
  path.probe_answered(at(1s), 100ms);
  path.transferred(at(1s), Direction::out, 1'000'000, 1s, true);
  path.probe_answered(at(200s), 10ms);
  path.transferred(at(200s), Direction::out, 10'000'000, 1s, true);
  EXPECT_EQ(path.quality(at(200s)).rtt, 10ms);
  EXPECT_EQ(path.quality(at(200s)).out.bandwidth, 80'000'000u);
}

TEST(BandwidthMeter, IsSetByTransfersThatThePathHoldsUp) {
  BandwidthMeter meter;
  meter.transferred(1'000'000, 1s, false);
  EXPECT_EQ(meter.bandwidth(), std::nullopt) << "the sender had no more to send";
  meter.transferred(1'000'000, 1s, true);
  EXPECT_EQ(meter.bandwidth(), 8'000'000u);
  meter.transferred(500'000, 1s, false);
  EXPECT_EQ(meter.bandwidth(), 8'000'000u);
  meter.transferred(2'000'000, 1s, false);
  EXPECT_EQ(meter.bandwidth(), 16'000'000u) << "it can do at least that";
  meter.transferred(1'000'000, 1s, true);
  EXPECT_EQ(meter.bandwidth(), 14'000'000u);
  meter.transferred(60'000, 100ms, true);
  meter.transferred(2'000'000, 1ms, true);
  EXPECT_EQ(meter.bandwidth(), 14'000'000u) << "bursts say nothing";
}

TEST(BandwidthMeter, SeesAPathBecomeNarrow) {
  BandwidthMeter meter;
  meter.transferred(500'000, 200ms, true);
  ASSERT_EQ(meter.bandwidth(), 20'000'000u);
  // A tenth of that, as one looks at a lane.
  for (int i = 0; i < 8; ++i) meter.transferred(62'500, 250ms, true);
  EXPECT_LT(meter.bandwidth().value(), 4'000'000u);
  meter.transferred(0, 250ms, true);
  EXPECT_GE(meter.bandwidth().value(), 2'000'000u);
  EXPECT_LT(meter.bandwidth().value(), 4'000'000u);
}

}  // namespace
}  // namespace homeport::policy
