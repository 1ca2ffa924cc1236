#include "policy/path/exchange_time.h"

#include "tests/unit/policy/path/paths.h"

#include <gtest/gtest.h>

namespace homeport::policy {
namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t kGigabit = 1'000'000'000;

TEST(ExchangeTime, OfInteractiveTrafficIsLatencyAndLoss) {
  PathQuality quality = carrying(10ms);
  quality.variation = 3ms;
  EXPECT_EQ(exchange_time(TrafficClass::interactive, quality, kGigabit),
            (ExchangeTime{.travel = 13ms, .sending = 8us, .bandwidth = kGigabit}));
  // One packet in a hundred, each way: nearly two exchanges of a hundred wait for a second.
  quality.out.loss = quality.in.loss = 10'000;
  EXPECT_EQ(exchange_time(TrafficClass::interactive, quality, kGigabit).repeats, Micros(20'304));
}

TEST(ExchangeTime, OfBulkIsBandwidth) {
  const auto time = exchange_time(TrafficClass::bulk, carrying(10ms, 0, 100'000'000), kGigabit);
  EXPECT_EQ(time.bandwidth, 100'000'000u);
  EXPECT_EQ(time.sending, Micros(5'368'709));  // 64 MiB
  // What loss leaves: 1400 bytes a round trip, times 1.22 / sqrt(0.0001).
  EXPECT_EQ(exchange_time(TrafficClass::bulk, carrying(10ms, 100), kGigabit).sending,
            Micros(std::uint64_t{64 << 20} * 8 * 1'000'000 / 136'640'000));
}

TEST(ExchangeTime, TakesTheWorseDirection) {
  PathQuality quality = carrying(10ms);
  quality.out.bandwidth = 300'000'000;
  quality.in.bandwidth = 200'000'000;
  EXPECT_EQ(exchange_time(TrafficClass::bulk, quality, 0).bandwidth, 200'000'000u);
}

TEST(ExchangeTime, TakesTheSpeedWhereNothingWasMeasured) {
  EXPECT_EQ(exchange_time(TrafficClass::bulk, carrying(1ms), kGigabit).bandwidth, kGigabit);
  const auto assumed = exchange_time(TrafficClass::bulk, carrying(1ms), 0);
  EXPECT_EQ(assumed.bandwidth, kAssumedBandwidth);
  EXPECT_TRUE(assumed.bandwidth_assumed);
}

TEST(ExchangeTime, IsFiniteWhateverIsMeasured) {
  PathQuality worst = carrying(60s, kAllLost, 1);
  worst.variation = 60s;
  for (TrafficClass traffic : kTrafficClasses) {
    const Micros total = exchange_time(traffic, worst, 1).total();
    EXPECT_GT(total, 120s);
    EXPECT_LT(total, std::chrono::hours(24 * 365));
    EXPECT_GT(exchange_time(traffic, carrying(0us, 1), 0).total(), 0us);
  }
}

}  // namespace
}  // namespace homeport::policy
