#include "policy/path/loss_meter.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <utility>

namespace homeport::policy {
namespace {

constexpr double kLeastPackets = 10;          // for any estimate
constexpr double kFreshPackets = 512;         // before they are pooled
constexpr double kMostPooled = 8192;          // packets: more would be deaf
constexpr std::chrono::seconds kFreshFor{8};  // or so long
constexpr std::chrono::duration<double> kHalfLife{6};

// Of what is to be noticed: so much more than before, of which at least so much is assumed.
constexpr double kRise = 0.02;
constexpr double kLeastUsual = 0.001;
constexpr double kMostUsual = 0.5;
// The logarithm of how much likelier it has to be that more are lost than that it is as before. The
// more are lost anyway, the more often chance begins something: so that it is believed no more
// often, more is asked for there.
constexpr double kBelieved = 5.2;
constexpr double kGivenUp = 0.5;  // that part of it
constexpr double kMostDoubt = 1;  // beyond it: so that what has ended is given up soon

}  // namespace

void LossMeter::count(Time now, std::uint64_t sent, std::uint64_t received) {
  const Totals totals{sent, received};
  const bool goes_on = last_ && sent >= last_->sent && received >= last_->received;
  if (!goes_on) {
    last_ = totals;
    faded_ = fresh_since_ = now;
    return;
  }
  fade(now);
  const double came = static_cast<double>(received - last_->received);
  const double left = static_cast<double>(sent - last_->sent);
  last_ = totals;
  weigh(now, {left, left - came});
  if (doubt_ == 0) pool(now);
}

void LossMeter::weigh(Time now, const Pool& packets) {
  const double before = usual();
  const double after = before + kRise;
  doubt_ += packets.lost * std::log(after / before) +
            (packets.sent - packets.lost) * std::log((1 - after) / (1 - before));
  const double believed = kBelieved + std::log(before / kLeastUsual);
  doubt_ = std::clamp(doubt_, 0.0, believed + kMostDoubt);
  doubtful_ += packets;
  if (doubt_ >= believed) risen_ = true;
  if (doubt_ < kGivenUp * believed) risen_ = false;
  if (risen_ && doubtful_.sent >= kFreshPackets) {
    pool_ = doubtful_;
    fresh_ = doubtful_ = {};
    fresh_since_ = now;
    doubt_ = 0;
    risen_ = false;
  }
}

void LossMeter::pool(Time now) {
  fresh_ += std::exchange(doubtful_, {});
  if (fresh_.sent < kFreshPackets && now - fresh_since_ < kFreshFor) return;
  if (std::abs(fresh_.lost - expected()) > tolerance()) {
    pool_ = fresh_;
  } else {
    pool_ += fresh_;
    pool_ *= std::min(1.0, kMostPooled / pool_.sent);
  }
  fresh_ = {};
  fresh_since_ = now;
}

double LossMeter::usual() const {
  if (pool_.sent < kLeastPackets) return kLeastUsual;
  return std::clamp(pool_.lost / pool_.sent, kLeastUsual, kMostUsual);
}

// What would be lost of the fresh packets by what the pool has seen.
double LossMeter::expected() const {
  return pool_.sent < kLeastPackets ? 0 : fresh_.sent * std::max(pool_.lost, 0.0) / pool_.sent;
}

// What chance explains beyond or below that: three times the deviation that is to be expected, and
// three packets more, or two where hardly any loss is expected: then three lost ones are no chance.
double LossMeter::tolerance() const {
  if (pool_.sent < kLeastPackets) return HUGE_VAL;
  return 3 * std::sqrt(expected()) + 2 + std::min(1.0, 4 * expected());
}

// Where packets are few, old ones would outlive what they tell of. As many stay as are needed to
// tell anything.
void LossMeter::fade(Time now) {
  const double left = std::exp2(-std::chrono::duration<double>(now - faded_) / kHalfLife);
  faded_ = now;
  if (pool_.sent > kLeastPackets) pool_ *= std::max(left, kLeastPackets / pool_.sent);
  doubtful_ *= left;
  doubt_ *= left;
}

std::optional<LossPpm> LossMeter::loss() const {
  Pool all = pool_;
  all += fresh_;
  all += doubtful_;
  if (all.sent < kLeastPackets) return std::nullopt;
  double share = all.lost / all.sent;
  // The first of those packets was lost: alone it says nothing of how many are.
  if (risen_) share = std::max(share, doubtful_.lost / (doubtful_.sent + 1 / kRise));
  return static_cast<LossPpm>(std::lround(std::clamp(share, 0.0, 1.0) * kAllLost));
}

}  // namespace homeport::policy
