#include "overlay/probing/mtu_search.h"

#include <algorithm>

namespace homeport::overlay {
namespace {

constexpr unsigned kTries = 3;

}  // namespace

void MtuSearch::begin(std::uint32_t most, std::uint32_t least) {
  arrives_ = 0;
  least_ = std::min(least, most);
  lost_ = most + 1;
  size_ = most;
  tries_ = 0;
}

void MtuSearch::arrived() {
  arrives_ = size_;
  next();
}

void MtuSearch::unanswered() {
  if (++tries_ == kTries) too_big();
}

void MtuSearch::too_big() {
  lost_ = size_;
  next();
}

void MtuSearch::next() {
  tries_ = 0;
  const std::uint32_t low = std::max(arrives_, least_);
  if (lost_ > low + 1) {
    size_ = low + (lost_ - low) / 2;
  } else if (arrives_ == 0 && lost_ > least_) {
    size_ = least_;  // which was only assumed
  } else {
    size_ = 0;
  }
}

std::optional<std::uint32_t> MtuSearch::found() const {
  if (arrives_ == 0) return std::nullopt;
  return arrives_;
}

}  // namespace homeport::overlay
