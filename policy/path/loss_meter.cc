#include "policy/path/loss_meter.h"

#include <algorithm>
#include <chrono>
#include <cmath>

namespace homeport::policy {
namespace {

constexpr double kLeastPackets = 10;   // for any estimate
constexpr double kFreshPackets = 512;  // before they are pooled
constexpr std::chrono::seconds kFreshFor{8};
constexpr double kDoubtful = 1;       // lost packets more than expected
constexpr double kMostPooled = 8192;  // packets: more would be deaf
constexpr std::chrono::duration<double> kHalfLife{6};

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
  fresh_.sent += static_cast<double>(sent - last_->sent);
  fresh_.lost += static_cast<double>(sent - last_->sent) - came;
  last_ = totals;

  const double surprise = fresh_.lost - expected();
  // What may be the beginning of something is given the time to show.
  const bool enough = fresh_.sent >= (surprise > kDoubtful ? 2 : 1) * kFreshPackets ||
                      now - fresh_since_ > kFreshFor;
  if (surprise > tolerance() || (enough && surprise < -tolerance())) {
    pool_ = fresh_;
    begin_anew(now);
  } else if (enough) {
    pool_.sent += fresh_.sent;
    pool_.lost += fresh_.lost;
    begin_anew(now);
    const double shrink = std::min(1.0, kMostPooled / pool_.sent);
    pool_.sent *= shrink;
    pool_.lost *= shrink;
  }
}

void LossMeter::begin_anew(Time now) {
  fresh_ = {};
  fresh_since_ = now;
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
  if (pool_.sent <= kLeastPackets) return;
  const double stay = std::max(left, kLeastPackets / pool_.sent);
  pool_.sent *= stay;
  pool_.lost *= stay;
}

std::optional<LossPpm> LossMeter::loss() const {
  const double sent = pool_.sent + fresh_.sent;
  if (sent < kLeastPackets) return std::nullopt;
  const double share = std::clamp((pool_.lost + fresh_.lost) / sent, 0.0, 1.0);
  return static_cast<LossPpm>(std::lround(share * kAllLost));
}

}  // namespace homeport::policy
