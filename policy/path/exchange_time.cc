#include "policy/path/exchange_time.h"

#include <boost/multiprecision/integer.hpp>

#include <algorithm>

namespace homeport::policy {
namespace {

using std::uint64_t;

// A unit of a class.
struct Unit {
  uint64_t bytes;
  Micros lost_packet;  // what one costs beyond the bandwidth that goes with it
};

Unit unit_of(TrafficClass traffic) {
  switch (traffic) {
    case TrafficClass::interactive:
      // Somebody waits for each packet, and a small exchange has none after it to tell of a loss:
      // the least retransmission timeout of RFC 6298 (2.4). So 2% count as 20 ms.
      return {1000, Micros(1'000'000)};
    case TrafficClass::best_effort:
      // A page: what is lost at its end waits for Linux' least timeout.
      return {256 << 10, Micros(200'000)};
    case TrafficClass::bulk:
      break;
  }
  return {64 << 20, Micros(0)};
}

// Keep the figures finite.
constexpr uint64_t kMostLoss = 999'000;
constexpr uint64_t kLeastBandwidth = 1000;  // bit/s

// Of an exchange, which is lost with a packet of either direction.
uint64_t round_trip_loss(const PathQuality& quality) {
  const uint64_t out = quality.out.loss.value_or(0);
  const uint64_t in = quality.in.loss.value_or(0);
  return std::min(out + in - out * in / kAllLost, kMostLoss);
}

// What loss leaves of TCP's bandwidth (Mathis et al., 1997): segment / rtt * 1.22 / sqrt(loss).
uint64_t bandwidth_under_loss(Micros rtt, uint64_t loss) {
  constexpr uint64_t segment_bits = 1400 * 8;
  // 1.22 / sqrt(loss / 10^6) is 1220 / sqrt(loss); microseconds make seconds with another 10^6.
  const uint64_t at_rtt = segment_bits * 1'000'000 / static_cast<uint64_t>(rtt.count());
  return at_rtt * 1220 / boost::multiprecision::sqrt(loss);
}

uint64_t usual_bandwidth(const PathQuality& quality, uint64_t speed) {
  uint64_t bandwidth = speed;
  for (const DirectionQuality* direction : {&quality.out, &quality.in}) {
    const uint64_t measured = direction->bandwidth.value_or(0);
    if (measured > 0 && (bandwidth == 0 || measured < bandwidth)) bandwidth = measured;
  }
  return bandwidth;
}

}  // namespace

ExchangeTime exchange_time(TrafficClass traffic, const PathQuality& quality, uint64_t speed) {
  const Unit unit = unit_of(traffic);
  const Micros rtt = std::max(quality.rtt.value_or(Micros(0)), Micros(1));
  ExchangeTime time;
  time.travel = rtt + quality.variation.value_or(Micros(0));

  const uint64_t loss = round_trip_loss(quality);
  const auto repeats = static_cast<uint64_t>(unit.lost_packet.count()) * loss / (kAllLost - loss);
  time.repeats = Micros(repeats);

  time.bandwidth = usual_bandwidth(quality, speed);
  time.bandwidth_assumed = time.bandwidth == 0;
  if (time.bandwidth_assumed) time.bandwidth = kAssumedBandwidth;
  uint64_t effective = time.bandwidth;
  const uint64_t worse = std::max(quality.out.loss.value_or(0), quality.in.loss.value_or(0));
  if (worse > 0) effective = std::min(effective, bandwidth_under_loss(rtt, worse));
  time.sending = Micros(unit.bytes * 8 * 1'000'000 / std::max(effective, kLeastBandwidth));
  return time;
}

}  // namespace homeport::policy
