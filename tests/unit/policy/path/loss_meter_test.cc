#include "policy/path/loss_meter.h"

#include "tests/unit/policy/path/paths.h"

#include <gtest/gtest.h>

namespace homeport::policy {
namespace {

using namespace std::chrono_literals;

// A direction with packets on it, some of which are lost.
class Lossy {
 public:
  explicit Lossy(unsigned seed) : random_(seed) {}

  void run(Micros time, std::uint64_t packets_per_second, double loss) {
    for (const Micros end = now_ + time; now_ < end; now_ += 50ms) {
      const std::uint64_t packets = packets_per_second / 20;
      sent_ += packets;
      received_ += packets - std::binomial_distribution<std::uint64_t>(packets, loss)(random_);
      meter.count(at(now_), sent_, received_);
    }
  }
  double loss() const { return meter.loss().value_or(kAllLost) / double{kAllLost}; }

  LossMeter meter;

 private:
  Random random_;
  Micros now_{1s};
  std::uint64_t sent_ = 0, received_ = 0;
};

TEST(LossMeter, IsUnknownUntilAFewPacketsWereCounted) {
  LossMeter meter;
  EXPECT_EQ(meter.loss(), std::nullopt);
  meter.count(at(1s), 1000, 500);
  EXPECT_EQ(meter.loss(), std::nullopt) << "nobody knows of when that is";
  meter.count(at(1s), 1009, 509);
  EXPECT_EQ(meter.loss(), std::nullopt);
  meter.count(at(1s), 1020, 518);
  EXPECT_EQ(meter.loss(), 100'000u);
}

TEST(LossMeter, IsSteady) {
  for (unsigned seed = 0; seed < 20; ++seed) {
    SCOPED_TRACE(seed);
    Lossy direction(seed);
    direction.run(30s, 1000, 0.01);
    EXPECT_NEAR(direction.loss(), 0.01, 0.005);
  }
}

TEST(LossMeter, NoticesLossWithinASecond) {
  for (unsigned seed = 0; seed < 20; ++seed) {
    SCOPED_TRACE(seed);
    Lossy direction(seed);
    direction.run(60s, 1000, 0);
    EXPECT_EQ(direction.meter.loss(), 0u);
    direction.run(800ms, 1000, 0.02);
    EXPECT_GT(direction.loss(), 0.008);
  }
}

// What packets say one by one.
class OneByOne {
 public:
  void arrive(int packets) {
    for (int i = 0; i < packets; ++i) meter.count(at(now_ += 1ms), ++sent_, ++received_);
  }
  void lose() { meter.count(at(now_ += 1ms), ++sent_, received_); }

  LossMeter meter;

 private:
  Micros now_{1s};
  std::uint64_t sent_ = 0, received_ = 0;
};

TEST(LossMeter, IsInDoubtUntilEnoughHaveArrived) {
  OneByOne direction;
  direction.arrive(5000);
  EXPECT_FALSE(direction.meter.doubtful());
  direction.lose();
  EXPECT_TRUE(direction.meter.doubtful());
  EXPECT_LT(direction.meter.loss(), 300u) << "of which the estimate takes no more notice";
  direction.arrive(100);
  EXPECT_TRUE(direction.meter.doubtful());
  direction.arrive(60);
  EXPECT_FALSE(direction.meter.doubtful());
}

TEST(LossMeter, BelievesTheSecondInAShortTimeAndForgetsItIfNoThirdFollows) {
  OneByOne direction;
  direction.arrive(5000);
  direction.lose();
  direction.arrive(30);
  direction.lose();
  EXPECT_GT(direction.meter.loss(), 20'000u);
  direction.arrive(200);
  EXPECT_LT(direction.meter.loss(), 500u);
}

TEST(LossMeter, TakesWhatLastsForWhatIsUsual) {
  OneByOne direction;
  direction.arrive(5000);
  for (int i = 0; i < 40; ++i) {
    direction.lose();
    direction.arrive(49);
  }
  EXPECT_NEAR(*direction.meter.loss(), 20'000, 3'000);
  direction.arrive(50);
  EXPECT_FALSE(direction.meter.doubtful()) << "one in 50 is no news any more";
}

TEST(LossMeter, BelievesNoMoreOftenWhereMoreIsUsual) {
  for (const double loss : {0.001, 0.01, 0.05}) {
    int steps = 0, risen = 0;
    for (unsigned seed = 0; seed < 20; ++seed) {
      Lossy direction(seed);
      direction.run(30s, 1000, loss);
      for (int i = 0; i < 100; ++i, ++steps) {
        direction.run(100ms, 1000, loss);
        risen += direction.loss() > 2 * loss + 0.004;
      }
    }
    EXPECT_LE(risen, steps / 100) << loss;
  }
}

TEST(LossMeter, ForgetsLossThatHasEndedEvenIfThereAreFewPackets) {
  Lossy direction(1);
  direction.run(30s, 1000, 0.05);
  direction.run(60s, 20, 0);
  EXPECT_LT(direction.loss(), 0.005);
}

TEST(LossMeter, TakesCountersThatBeginAnewForWhatTheyAre) {
  LossMeter meter;
  meter.count(at(1s), 0, 0);
  meter.count(at(1s), 100, 100);
  meter.count(at(1s), 5, 5);  // the sender's agent has started again
  meter.count(at(1s), 105, 105);
  EXPECT_EQ(meter.loss(), 0u);
  meter.count(at(1s), 205, 50);  // the receiver's
  meter.count(at(1s), 305, 150);
  EXPECT_EQ(meter.loss(), 0u);
  meter.count(at(1s), 405, 248);
  EXPECT_EQ(meter.loss(), 5'000u) << "2 of 400 that were counted at both ends";
}

TEST(LossMeter, APacketThatComesLateIsNotLost) {
  LossMeter meter;
  meter.count(at(1s), 0, 0);
  meter.count(at(1s), 50, 49);
  meter.count(at(1s), 100, 100);
  EXPECT_EQ(meter.loss(), 0u);
  meter.count(at(1s), 150, 151);
  EXPECT_EQ(meter.loss(), 0u);
}

}  // namespace
}  // namespace homeport::policy
